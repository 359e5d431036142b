/** Reads frames of the journal, and tells sound ones from the damage that a crash or a bad disk has left. */
import { crc32 } from "node:zlib";
import { DEFAULT_CONTENT_TYPE } from "../protocol.ts";
import {
  FRAME_HEADER_BYTES,
  FRAME_MAGIC,
  LARGE_HEADER_BYTES,
  type LargeReference,
  RECORD_HEADER_BYTES,
  type SegmentHeader,
} from "./format.ts";

const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** Reads the value of a `LARGE` record. @throws {RangeError} If the value is too short. */
export function decodeLarge(bytes: Uint8Array<ArrayBuffer>): LargeReference {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  return {
    size: Number(view.getBigUint64(0, true)),
    hash: view.getBigUint64(8, true),
    fileName: decoder.decode(bytes.subarray(LARGE_HEADER_BYTES)),
  };
}

/** A record as it is read back. */
export interface JournalRecord {
  /** One of `RecordKind`, unless the disk holds another number. */
  readonly kind: number;
  readonly key: string;
  readonly contentType: string;
  /** The value, or the bytes for {@link decodeLarge}. A part of the segment: to be copied. */
  readonly value: Uint8Array<ArrayBuffer>;
}

/** Returns where the frame at `start` ends, if it is sound and `accept` takes its number. */
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

/**
 * Returns where the first sound frame at or behind `start` begins whose number is at least `leastSequence`; `undefined`
 * if there is none.
 */
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

/** A damaged header differs from a sound one in so many bits at most; random bytes differ in far more. */
const MOST_FLIPPED_BITS = 4;

/**
 * Returns how many bytes of a torn frame stand at `start`, to be told in the log; 0 if no frame was begun there. In a
 * spare file old bytes follow the last frame, and they are no torn frame. There a frame of which fewer than four bytes
 * were written leaves no sign.
 *
 * @param sequence Number that the frame would have.
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
  // An old frame stands just here if all frames are of one size.
  if (frameEnd(segment, start, oldSalt, () => true) !== undefined) return 0;
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

/**
 * Yields the records of the sound frame from `start` to `end`.
 *
 * @throws {RangeError} If a record is not well-formed.
 * @throws {TypeError} If a text is not UTF-8.
 */
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
