/**
 * The on-disk format of the journal. Integers are little-endian.
 *
 * A segment is a header and then frames. A frame holds all writes of one flush; the next frame is written only when
 * that flush is done. So a damaged frame with no sound frame behind it was never acknowledged: it is a torn tail. A
 * damaged frame with a sound frame behind it was acknowledged.
 *
 *     header: "kvsjrnl1" (8 bytes), salt (4; its top bit is 0), old salt (4), end of the frames of the segment
 *             before (4), CRC-32 of these 20 bytes (4)
 *     frame:  "kvsF" (4), CRC-32 of the rest of the frame, which starts from the salt (4), bytes of all records (4),
 *             number of the frame in its segment (4), records
 *     record: kind (1), bytes of the key (1), bytes of the content type (2), bytes of the value (4), key, content
 *             type, value; instead of a large value its size (8), its XXH64 (8) and the name of its file.
 *
 * The salt is random, so neither a stored value nor the old bytes of a spare file look like a sound frame. The old
 * salt is 0 in a new file. In a spare file it is the salt of the segment that the file was before, with the top bit set.
 */
import { crc32 } from "node:zlib";

/** What a record does to its key. On-disk format. */
export const RecordKind = {
  /** The key has the value in the record. */
  SET: 1,
  /** The key is gone. */
  DELETE: 2,
  /** Nothing: a write whose condition did not hold. */
  VOID: 4,
  /** The key has the value in the file that the record names. */
  LARGE: 5,
} as const;

/** Bytes before the first frame of a segment. */
export const SEGMENT_HEADER_BYTES = 24;

/** Bytes before the first record of a frame. */
export const FRAME_HEADER_BYTES = 16;

/** Bytes before the key of a record. */
export const RECORD_HEADER_BYTES = 8;

/** Bytes before the file name in a record of a large value. */
export const LARGE_HEADER_BYTES = 16;

/** The first four bytes of a frame: "kvsF". */
export const FRAME_MAGIC = 0x4673766b;

const SEGMENT_MAGIC = new TextEncoder().encode("kvsjrnl1");
const OLD_SALT_BIT = 2 ** 31;
/** Bytes of a segment's header that its checksum covers. */
const CHECKED_BYTES = 20;

/** What a segment says about itself. */
export interface SegmentHeader {
  readonly salt: number;
  /** Salt of the old frames that stand behind the frames of this segment; `undefined` in a new file. */
  readonly oldSalt: number | undefined;
  /** Where the frames of the segment before end (bytes); 0 if this is the first segment. */
  readonly previousEnd: number;
}

/** What a record says of the file with a large value. */
export interface LargeReference {
  readonly fileName: string;
  /** Bytes. */
  readonly size: number;
  /** XXH64 of the content. */
  readonly hash: bigint;
}

/** Returns a segment's header as bytes. */
export function encodeHeader(header: SegmentHeader): Uint8Array<ArrayBuffer> {
  const { salt, oldSalt, previousEnd } = header;
  const bytes = new Uint8Array(SEGMENT_HEADER_BYTES);
  const view = new DataView(bytes.buffer);
  bytes.set(SEGMENT_MAGIC);
  view.setUint32(8, salt, true);
  view.setUint32(12, oldSalt === undefined ? 0 : OLD_SALT_BIT + oldSalt, true);
  view.setUint32(16, previousEnd, true);
  view.setUint32(CHECKED_BYTES, crc32(bytes.subarray(0, CHECKED_BYTES)), true);
  return bytes;
}

/** Reads a segment's header; `undefined` if it is damaged. */
export function decodeHeader(segment: Uint8Array<ArrayBuffer>): SegmentHeader | undefined {
  if (segment.length < SEGMENT_HEADER_BYTES) return undefined;
  const view = new DataView(segment.buffer, segment.byteOffset);
  if (SEGMENT_MAGIC.some((byte, i) => segment[i] !== byte)) return undefined;
  const checksum = crc32(segment.subarray(0, CHECKED_BYTES));
  if (view.getUint32(CHECKED_BYTES, true) !== checksum) return undefined;
  const old = view.getUint32(12, true);
  return {
    salt: view.getUint32(8, true),
    oldSalt: old < OLD_SALT_BIT ? undefined : old - OLD_SALT_BIT,
    previousEnd: view.getUint32(16, true),
  };
}
