/** Reads the journal that a server has left behind: it crashed, or had no time or no room to make key files of all. */
import { join } from "@std/path";
import { StorageFailedError } from "../errors.ts";
import type { Log } from "../log.ts";
import { readAll } from "../system/file_steps.ts";
import type { Files, OpenFile } from "../system/files.ts";
import { decodeHeader, SEGMENT_HEADER_BYTES } from "./format.ts";
import { findFrame, frameEnd, type JournalRecord, recordsOf, tornBytes } from "./frame_reader.ts";
import { segmentName } from "./segment.ts";

/** The journal that {@link replayJournal} reads, and the log for its warnings. */
export interface ReplayOptions {
  readonly folder: string;
  readonly files: Files;
  readonly log: Log;
  /** Number of the oldest segment that is needed; by default the first of `numbers`. */
  readonly oldest?: number | undefined;
}

/**
 * Calls `visit` for each record of the segments `numbers` (ascending), oldest first. Returns where the frames of each
 * segment end. The torn tail of the last segment is cut off, durably. A last segment with a torn header holds nothing,
 * and is removed.
 *
 * @throws {StorageFailedError} If something that was acknowledged is damaged or missing; names file and offset.
 */
export async function replayJournal(
  numbers: readonly number[],
  visit: (record: JournalRecord, segment: number) => void,
  { folder, files, log, oldest = numbers[0] ?? 1 }: ReplayOptions,
): Promise<Map<number, number>> {
  const ends = new Map<number, number>();
  for (const [i, number] of numbers.entries()) {
    if (number !== oldest + i) throw missing(folder, segmentName(oldest + i), i === 0);
  }
  for (const [i, number] of numbers.entries()) {
    const isLast = i === numbers.length - 1;
    const path = join(folder, segmentName(number));
    const file = await files.open(path, { write: true });
    try {
      const bytes = await readAll(file);
      const header = decodeHeader(bytes);
      if (header === undefined) {
        // The header is flushed before the first frame is written, so a torn header has no frames behind it.
        if (!isLast || bytes.length > SEGMENT_HEADER_BYTES) throw damaged(path, 0);
        if (bytes.length > 0) logTorn(log, path, bytes.length);
        await files.remove(path);
        await files.syncFolder(folder);
        continue;
      }
      const previousEnd = ends.get(number - 1);
      if (previousEnd !== undefined && previousEnd !== header.previousEnd) {
        // Damage to the last frame of a sealed segment looks like a torn tail. Only the next header tells them apart.
        throw damaged(join(folder, segmentName(number - 1)), previousEnd);
      }
      const { end, count } = visitFrames(bytes, header.salt, path, (record) => {
        visit(record, number);
      });
      if (isLast) {
        const torn = tornBytes(bytes, end, header, count);
        if (torn > 0) logTorn(log, path, torn);
        await cutTail(file, bytes, end);
      }
      ends.set(number, end);
    } finally {
      file.close();
    }
  }
  return ends;
}

/** Visits the records of all sound frames; returns where these end, and how many they are. */
function visitFrames(
  bytes: Uint8Array<ArrayBuffer>,
  salt: number,
  path: string,
  visit: (record: JournalRecord) => void,
): { readonly end: number; readonly count: number } {
  let start = SEGMENT_HEADER_BYTES;
  for (let sequence = 0;; sequence++) {
    const end = frameEnd(bytes, start, salt, (found) => found === sequence);
    if (end === undefined) {
      if (findFrame(bytes, start, salt, sequence) !== undefined) throw damaged(path, start);
      return { end: start, count: sequence };
    }
    try {
      for (const record of recordsOf(bytes, start, end)) visit(record);
    } catch (error) {
      // The checksum is right, so a program with another format wrote the frame.
      if (error instanceof RangeError || error instanceof TypeError) throw damaged(path, start);
      throw error;
    }
    start = end;
  }
}

/**
 * Removes all bytes behind the last sound frame, and makes this frame durable: the server may have been killed before
 * the flush of the frame.
 */
async function cutTail(
  file: OpenFile,
  bytes: Uint8Array<ArrayBuffer>,
  end: number,
): Promise<void> {
  if (bytes.length > end) await file.truncate(end);
  await file.syncData();
}

function logTorn(log: Log, path: string, bytes: number): void {
  log("warn", "dropped a torn tail of the journal: these writes were never acknowledged", {
    file: path,
    bytes,
  });
}

function damaged(path: string, offset: number): StorageFailedError {
  return new StorageFailedError(
    `Storage failed: ${path} is damaged at byte ${offset}, and acknowledged writes follow: ` +
      "restore the folder from a backup, or move this file away to go on without its writes",
  );
}

function missing(folder: string, name: string, isFirst: boolean): StorageFailedError {
  const way = isFirst
    ? `remove ${join(folder, "oldest-*")} to go on without its writes`
    : "move the segments after it away to go on without its writes and theirs";
  return new StorageFailedError(
    `Storage failed: ${join(folder, name)} is missing, and acknowledged writes with it: ` +
      `restore it from a backup, or ${way}`,
  );
}
