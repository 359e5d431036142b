/**
 * The on-disk format of the journal. Integers are little-endian.
 *
 * A segment is a header and then frames. A frame holds all writes that went to the disk in one
 * flush; the next frame is written only when that flush is done. So a frame that is damaged, with no
 * sound frame behind it, was never acknowledged (a torn tail); one with a sound frame behind it was.
 *
 *     header: "kvsjrnl1", salt (31 bits in 4 bytes), 0 for a new file, else the top bit and the salt that
 *             the file had as the segment before (4; 1 from an early version), where the frames of the segment before end (4), CRC-32 of the 20 bytes before
 *     frame:  "kvsF", CRC-32 of the rest of the frame (starting from salt), length of the records
 *             (4 bytes), number of the frame in its segment (4 bytes), records
 *     record: kind (1), bytes of the key (1), of the content type (2), of the value (4), then these; in the place of a
 *             large value its size (8), its XXH64 (8) and the name of its file
 *
 * The salt is random: neither a value that somebody stores nor what an earlier segment left in the
 * same file can look like a sound frame.
 */
import { crc32 } from "node:zlib";
import { Value } from "../value.ts";
import { DEFAULT_CONTENT_TYPE } from "../protocol.ts";

/** What a record does to its key. On-disk format. */
export const RecordKind = {
  /** The key has the value in the record. */
  SET: 1,
  /** The key is gone. */
  DELETE: 2,
  /** The key has the value in the temporary file that the record names; 3 was the same without size and hash. */
  LARGE: 5,
  /** Nothing: a write whose condition did not hold. */
  VOID: 4,
} as const;

/** Bytes before the first frame of a segment. */
export const SEGMENT_HEADER_BYTES = 24;
/** Bytes before the first record of a frame. */
const FRAME_HEADER_BYTES = 16;
const RECORD_HEADER_BYTES = 8;
/** Bytes before the file name in a record of a large value. */
const LARGE_HEADER_BYTES = 16;
const OLD_SALT = 2 ** 31;

const MAGIC = [..."kvsjrnl1"].map((character) => character.charCodeAt(0));
const FRAME_MAGIC = 0x4673766b; // "kvsF"

const INITIAL_BUFFER_BYTES = 256 * 1024;
// A buffer up to this is kept, and up to the other one while there is always a next frame: to make the one for 64 values
// of 64 KiB anew for each frame took a sixth of the time of such saves (measured).
const KEPT_BUFFER_BYTES = 4 * 1024 * 1024;
const MOST_BUFFER_BYTES = 16 * 1024 * 1024;

/** Strings up to this are copied by a loop, which is faster than the encoder there (measured). */
const LOOP_CHARACTERS = 64;

const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** What a segment says about itself. */
export interface SegmentHeader {
  readonly salt: number;
  /**
   * The salt of what the file held before, whose bytes follow the last frame; `undefined` for a new
   * file, -1 if it is not known.
   */
  readonly oldSalt: number | undefined;
  /** Where the frames of the segment with the number before end; 0 if there was none. */
  readonly previousEnd: number;
}

/** Returns a segment's header as bytes. */
export function encodeHeader(header: SegmentHeader): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(SEGMENT_HEADER_BYTES);
  const view = new DataView(bytes.buffer);
  bytes.set(MAGIC);
  view.setUint32(8, header.salt, true);
  view.setUint32(12, header.oldSalt === undefined ? 0 : (OLD_SALT | header.oldSalt) >>> 0, true);
  view.setUint32(16, header.previousEnd, true);
  view.setUint32(20, crc32(bytes.subarray(0, 20)), true);
  return bytes;
}

/** Reads a segment's header; `undefined` if it is damaged. */
export function decodeHeader(segment: Uint8Array<ArrayBuffer>): SegmentHeader | undefined {
  if (segment.length < SEGMENT_HEADER_BYTES) return undefined;
  const view = new DataView(segment.buffer, segment.byteOffset);
  if (MAGIC.some((byte, i) => segment[i] !== byte)) return undefined;
  if (view.getUint32(20, true) !== crc32(segment.subarray(0, 20))) return undefined;
  const old = view.getUint32(12, true);
  return {
    salt: view.getUint32(8, true),
    oldSalt: old === 0 ? undefined : old >= OLD_SALT ? old - OLD_SALT : -1,
    previousEnd: view.getUint32(16, true),
  };
}

/** A frame in the making: records are encoded into one buffer, which is used again and again. */
export class FrameBuffer {
  #bytes = new Uint8Array(INITIAL_BUFFER_BYTES);
  #view = new DataView(this.#bytes.buffer);
  #length = FRAME_HEADER_BYTES;

  /** Bytes of the records in it. */
  get size(): number {
    return this.#length - FRAME_HEADER_BYTES;
  }

  /** Adds a record; returns where it is, for {@link FrameBuffer.void}. */
  putValue(key: string, value: Value): number {
    const type = value.contentType;
    return this.#put(
      RecordKind.SET,
      key,
      type === DEFAULT_CONTENT_TYPE ? "" : type,
      value.body,
    );
  }

  /** Adds a record that names the temporary file with the value; returns where it is. */
  putLarge(key: string, contentType: string, { fileName, size, hash }: LargeReference): number {
    const name = encoder.encode(fileName);
    const bytes = new Uint8Array(LARGE_HEADER_BYTES + name.length);
    const view = new DataView(bytes.buffer);
    view.setBigUint64(0, BigInt(size), true);
    view.setBigUint64(8, hash, true);
    bytes.set(name, LARGE_HEADER_BYTES);
    return this.#put(RecordKind.LARGE, key, contentType, bytes);
  }

  /** Adds a record that deletes; returns where it is. */
  putDelete(key: string): number {
    return this.#put(RecordKind.DELETE, key, "", NOTHING);
  }

  /** Makes the record at `position` do nothing. */
  void(position: number): void {
    this.#bytes[position] = RecordKind.VOID;
  }

  /**
   * Moves the record at `position` and all behind it to `next`, which is empty; returns what to add to
   * their positions.
   */
  moveRest(position: number, next: FrameBuffer): number {
    const rest = this.#bytes.subarray(position, this.#length);
    const end = FRAME_HEADER_BYTES + rest.length;
    if (end > next.#bytes.length) next.#grow(2 * end);
    next.#bytes.set(rest, FRAME_HEADER_BYTES);
    next.#length = end;
    this.#length = position;
    return FRAME_HEADER_BYTES - position;
  }

  /** Returns the frame, ready to be written; valid until {@link FrameBuffer.clear}. */
  seal(salt: number, sequence: number): Uint8Array<ArrayBuffer> {
    this.#view.setUint32(0, FRAME_MAGIC, true);
    this.#view.setUint32(8, this.size, true);
    this.#view.setUint32(12, sequence, true);
    const crc = crc32(this.#bytes.subarray(8, this.#length), salt);
    this.#view.setUint32(4, crc, true);
    return this.#bytes.subarray(0, this.#length);
  }

  /** Forgets the records. */
  clear(): void {
    this.#length = FRAME_HEADER_BYTES;
    if (this.#bytes.length > MOST_BUFFER_BYTES) this.#grow(INITIAL_BUFFER_BYTES);
  }

  /** Gives memory back that is kept for the next large frame; for one without records. */
  trim(): void {
    if (this.#bytes.length > KEPT_BUFFER_BYTES) this.#grow(INITIAL_BUFFER_BYTES);
  }

  #put(kind: number, key: string, type: string, value: Uint8Array | string): number {
    const start = this.#length;
    // No UTF-8 needs more than three bytes for a UTF-16 unit.
    const most = RECORD_HEADER_BYTES + 3 * (key.length + type.length) +
      (typeof value === "string" ? 3 : 1) * value.length;
    if (start + most > this.#bytes.length) this.#grow(2 * (start + most));
    const bytes = this.#bytes;
    const keyEnd = this.#putText(key, start + RECORD_HEADER_BYTES);
    const typeEnd = type === "" ? keyEnd : this.#putText(type, keyEnd);
    const end = this.#putBody(value, typeEnd);
    bytes[start] = kind;
    bytes[start + 1] = keyEnd - start - RECORD_HEADER_BYTES;
    this.#view.setUint16(start + 2, typeEnd - keyEnd, true);
    this.#view.setUint32(start + 4, end - typeEnd, true);
    this.#length = end;
    return start;
  }

  #putBody(value: Uint8Array | string, position: number): number {
    if (typeof value === "string") return this.#putText(value, position);
    this.#bytes.set(value, position);
    return position + value.length;
  }

  #putText(text: string, position: number): number {
    const bytes = this.#bytes;
    const { length } = text;
    if (length > LOOP_CHARACTERS) return this.#encode(text, position);
    for (let i = 0; i < length; i++) {
      const unit = text.charCodeAt(i);
      if (unit >= 0x80) return this.#encode(text, position);
      bytes[position + i] = unit;
    }
    return position + length;
  }

  #encode(text: string, position: number): number {
    return position + encoder.encodeInto(text, this.#bytes.subarray(position)).written;
  }

  #grow(size: number): void {
    const bytes = new Uint8Array(size);
    bytes.set(this.#bytes.subarray(0, this.#length));
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer);
  }
}

const NOTHING = new Uint8Array(0);

/** What a record says of the file with a large value. */
export interface LargeReference {
  readonly fileName: string;
  /** Bytes. */
  readonly size: number;
  /** XXH64 of the content. */
  readonly hash: bigint;
}

/** Reads what {@link FrameBuffer.putLarge} wrote. @throws {RangeError} If it is too short. */
export function decodeLarge(bytes: Uint8Array<ArrayBuffer>): LargeReference {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  return {
    size: Number(view.getBigUint64(0, true)),
    hash: view.getBigUint64(8, true),
    fileName: decoder.decode(bytes.subarray(LARGE_HEADER_BYTES)),
  };
}

/** One record as it is read back. */
export interface JournalRecord {
  readonly kind: number;
  readonly key: string;
  readonly contentType: string;
  /** The value, or what {@link decodeLarge} reads. A part of the segment: to be copied. */
  readonly value: Uint8Array<ArrayBuffer>;
}

/** Returns where the frame at `start` ends if it is sound and carries this number. */
export function frameEnd(
  segment: Uint8Array<ArrayBuffer>,
  start: number,
  salt: number,
  accept: (sequence: number) => boolean,
): number | undefined {
  if (start + FRAME_HEADER_BYTES > segment.length) return undefined;
  const view = new DataView(segment.buffer, segment.byteOffset + start);
  if (view.getUint32(0, true) !== FRAME_MAGIC) return undefined;
  const end = start + FRAME_HEADER_BYTES + view.getUint32(8, true);
  if (end > segment.length || !accept(view.getUint32(12, true))) return undefined;
  if (view.getUint32(4, true) !== crc32(segment.subarray(start + 8, end), salt)) return undefined;
  return end;
}

/** Returns where the first sound frame behind `start` with at least this number is, if any. */
export function findFrame(
  segment: Uint8Array<ArrayBuffer>,
  start: number,
  salt: number,
  leastSequence: number,
): number | undefined {
  const first = FRAME_MAGIC & 0xff;
  for (let at = segment.indexOf(first, start); at >= 0; at = segment.indexOf(first, at + 1)) {
    const end = frameEnd(segment, at, salt, (sequence) => sequence >= leastSequence);
    if (end !== undefined) return at;
  }
  return undefined;
}

// Far fewer than by chance, and more than a disk flips.
const MOST_FLIPPED_BITS = 4;

/**
 * Returns how many bytes of a frame that is not sound stand at `start`, 0 if none was begun there: in
 * a file that was used before, what follows the last frame is old and of no interest. Of a frame of
 * which less than four bytes were written there is no sign.
 */
export function tornBytes(
  segment: Uint8Array<ArrayBuffer>,
  start: number,
  { oldSalt }: SegmentHeader,
  sequence: number,
): number {
  const rest = segment.length - start;
  if (oldSalt === undefined) return rest;
  if (rest < FRAME_HEADER_BYTES) return 0;
  // Where all frames are of one size, an old one stands just here.
  if (oldSalt >= 0 && frameEnd(segment, start, oldSalt, () => true) !== undefined) return 0;
  const view = new DataView(segment.buffer, segment.byteOffset + start);
  const wrong = bitsOf(view.getUint32(0, true) ^ FRAME_MAGIC);
  const isFrame = wrong === 0 ||
    wrong + bitsOf(view.getUint32(12, true) ^ sequence) <= MOST_FLIPPED_BITS;
  return isFrame ? Math.min(rest, FRAME_HEADER_BYTES + view.getUint32(8, true)) : 0;
}

function bitsOf(word: number): number {
  let count = 0;
  for (let rest = word; rest !== 0; rest &= rest - 1) count++;
  return count;
}

/** Yields the records of a sound frame. @throws {RangeError} If they are not well-formed. */
export function* recordsOf(
  segment: Uint8Array<ArrayBuffer>,
  start: number,
  end: number,
): Generator<JournalRecord> {
  const view = new DataView(segment.buffer, segment.byteOffset);
  let at = start + FRAME_HEADER_BYTES;
  while (at < end) {
    const keyStart = at + RECORD_HEADER_BYTES;
    if (keyStart > end) throw new RangeError("Record is cut off");
    const typeStart = keyStart + view.getUint8(at + 1);
    const valueStart = typeStart + view.getUint16(at + 2, true);
    const next = valueStart + view.getUint32(at + 4, true);
    if (next > end) throw new RangeError("Record is cut off");
    yield {
      kind: view.getUint8(at),
      key: decoder.decode(segment.subarray(keyStart, typeStart)),
      contentType: typeStart === valueStart
        ? DEFAULT_CONTENT_TYPE
        : decoder.decode(segment.subarray(typeStart, valueStart)),
      value: segment.subarray(valueStart, next),
    };
    at = next;
  }
}
