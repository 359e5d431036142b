/** One segment of the journal: the name of its file, and its beginning. */
import { join } from "@std/path";
import { StorageFailedError, StorageFullError } from "../errors.ts";
import { flushFolder, openIfThere, writeAll } from "../system/file_steps.ts";
import {
  type DurableFile,
  failedError,
  type Files,
  type OpenFile,
  refusedOr,
} from "../system/files.ts";
import { encodeHeader, SEGMENT_HEADER_BYTES } from "./format.ts";
import type { OldestSegment } from "./oldest_segment.ts";
import { type SpareFile, type SpareFiles } from "./spare_files.ts";

/** On-disk name: `journal-` and eight or more digits. */
const SEGMENT_NAME = /^journal-(\d{8,})$/;

/** Returns the number of the segment with this file name; `undefined` if it is the name of another file. */
export function segmentNumber(name: string): number | undefined {
  const digits = SEGMENT_NAME.exec(name)?.[1];
  return digits === undefined ? undefined : Number(digits);
}

/** Returns the file name of a segment. */
export function segmentName(number: number): string {
  return `journal-${String(number).padStart(8, "0")}`;
}

/** The segment to which frames are appended. */
export interface ActiveSegment {
  readonly number: number;
  readonly file: OpenFile;
  /** The same file, opened for durable writes; `undefined` if the system has no such writes. */
  readonly durable: DurableFile | undefined;
  readonly salt: number;
  /** Where the old bytes of the spare file end (bytes); 0 if none are left, or in a new file. */
  oldBytes: number;
  /** Whether a frame is being written or ever was, even a frame that was refused. */
  isUsed: boolean;
  /** Where the next frame goes (bytes). */
  end: number;
  /** Number of the next frame. */
  sequence: number;
}

/** The folder in which segments are begun, with its spare files and its mark. */
export interface SegmentFolder {
  readonly folder: string;
  readonly files: Files;
  readonly spares: SpareFiles;
  readonly oldest: OldestSegment;
}

/** The place of a new segment in the journal. */
export interface SegmentPosition {
  readonly number: number;
  /** Where the frames of the segment before end (bytes); 0 if this is the first segment. */
  readonly previousEnd: number;
}

/**
 * Begins a segment, in a spare file if there is one. That takes two flushes: of the header, and of the name.
 *
 * @throws {StorageFullError} If there is no room, even without spare files; nothing is left behind.
 * @throws {StorageBusyError} If files cannot be opened for now; nothing is left behind.
 * @throws {StorageFailedError} If the disk failed.
 */
export async function beginSegment(
  place: SegmentFolder,
  position: SegmentPosition,
): Promise<ActiveSegment> {
  while (true) {
    const spare = place.spares.take();
    try {
      const segment = await beginIn(spare, place, position);
      if (segment !== undefined) return segment;
    } catch (error) {
      // Some file systems need room to write over a file, too. `beginIn` has removed the spare file: that made room.
      if (spare === undefined || !(error instanceof StorageFullError)) throw error;
    }
  }
}

/** Begins a segment in `spare`, or in a new file; resolves to `undefined` if the spare file is gone. */
async function beginIn(
  spare: SpareFile | undefined,
  { folder, files, spares, oldest }: SegmentFolder,
  { number, previousEnd }: SegmentPosition,
): Promise<ActiveSegment | undefined> {
  const path = join(folder, segmentName(number));
  let what = "Cannot begin a journal segment";
  let file: OpenFile | undefined;
  try {
    file = spare === undefined
      ? await files.create(path)
      : await openIfThere(files, spare.path, { write: true });
  } catch (error) {
    if (spare !== undefined) spares.put(spare);
    throw refusedOr(what, error);
  }
  // Somebody removed the spare file by hand.
  if (file === undefined) return undefined;
  const salt = randomSalt();
  let currentPath = spare?.path ?? path;
  try {
    // Only the frames with the old salt that the header names may stand behind those of this segment.
    if (spare !== undefined && file.facts().size > spare.end) await file.truncate(spare.end);
    await writeAll(file, encodeHeader({ salt, oldSalt: spare?.salt, previousEnd }));
    what = "Cannot flush a new journal segment";
    await file.syncData();
    if (spare !== undefined) await files.rename(spare.path, path);
    currentPath = path;
    await oldest.recordNewest(number);
    // A write in the segment is acknowledged only if the segment's name is durable.
    await flushFolder(files, folder, "Cannot flush the folder of the journal");
  } catch (error) {
    file.close();
    const refusal = refusedOr(what, error);
    if (!(refusal instanceof StorageFailedError)) {
      await oldest.recordNewest(number - 1);
      // The file holds no frame of this segment. It would be in the way of the next attempt.
      await discard(files, currentPath);
    }
    throw refusal;
  }
  return {
    number,
    file,
    durable: files.openDurable(path),
    salt,
    oldBytes: spare?.end ?? 0,
    isUsed: false,
    end: SEGMENT_HEADER_BYTES,
    sequence: 0,
  };
}

/** Closes both open files of a segment. */
export function closeFiles({ file, durable }: ActiveSegment): void {
  durable?.close();
  file.close();
}

/**
 * Returns a random number of 31 bits. Not of 32: `crc32` of Deno 2.4.2 has a wrong result for start values from 2^31
 * on, once the calling function is optimized.
 */
function randomSalt(): number {
  return (crypto.getRandomValues(new Uint32Array(1))[0] ?? 0) >>> 1;
}

async function discard(files: Files, path: string): Promise<void> {
  try {
    await files.remove(path);
  } catch (error) {
    throw failedError("Cannot remove a journal segment that was not begun", error);
  }
}
