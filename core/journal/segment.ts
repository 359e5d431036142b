/** One segment of the journal: how its file is named, and how it is begun. */
import { join } from "@std/path";
import { StorageFailedError } from "../errors.ts";
import { flushFolder, openIfThere, writeAll } from "../system/file_steps.ts";
import {
  type DurableFile,
  failedError,
  type Files,
  isDiskFull,
  type OpenFile,
  refusedOr,
} from "../system/files.ts";
import { encodeHeader, SEGMENT_HEADER_BYTES } from "./record.ts";

/** On-disk name: `journal-` and eight or more digits. */
const SEGMENT_NAME = /^journal-(\d{8,})$/;

/** Returns the number of the segment that a file name stands for, if it does. */
export function segmentNumber(name: string): number | undefined {
  const digits = SEGMENT_NAME.exec(name)?.[1];
  return digits === undefined ? undefined : Number(digits);
}

/** Returns the file name of a segment. */
export function segmentName(number: number): string {
  return `journal-${String(number).padStart(8, "0")}`;
}

/** A segment that frames are appended to. */
export interface ActiveSegment {
  readonly number: number;
  readonly file: OpenFile;
  /** The same file, where its system has that. */
  readonly durable: DurableFile | undefined;
  readonly salt: number;
  /** Bytes that its file had before. */
  oldBytes: number;
  /** Whether a frame was ever to be written. */
  isUsed: boolean;
  /** Where the next frame goes. */
  end: number;
  /** Number of the next frame. */
  sequence: number;
}

/** Where segments are begun. */
export interface SegmentFolder {
  readonly folder: string;
  readonly files: Files;
  /** Files to write over. */
  readonly spares: SpareFiles;
}

/**
 * Begins segment `number`, in a spare file if there is one: two flushes, one of its header and one of its name.
 *
 * @param previousEnd Where the frames of the segment before end; 0 if there was none.
 * @throws {StorageFullError} If there is no room, without spare files either; nothing is left behind.
 * @throws {StorageBusyError} If files cannot be opened for now; nothing is left behind.
 * @throws {StorageFailedError} If the disk failed.
 */
export async function beginSegment(
  place: SegmentFolder,
  number: number,
  previousEnd: number,
): Promise<ActiveSegment> {
  const { folder, files, spares } = place;
  const path = join(folder, segmentName(number));
  const old = spares.take();
  let file: OpenFile | undefined;
  try {
    file = old === undefined
      ? await files.create(path)
      : await openIfThere(files, old.path, { write: true });
  } catch (error) {
    if (old !== undefined) spares.put(old);
    throw refusedOr("Cannot begin a journal segment", error);
  }
  // Removed by hand, as to make room.
  if (file === undefined) return await beginSegment(place, number, previousEnd);
  const salt = randomSalt();
  const header = { salt, oldSalt: old?.salt, previousEnd };
  try {
    // What is behind its frames was left by a segment before that one.
    if (old !== undefined && file.facts().size > old.end) await file.truncate(old.end);
    await writeAll(file, encodeHeader(header));
  } catch (error) {
    file.close();
    if (old === undefined) await discard(files, path);
    else spares.put(old);
    // On some file systems it takes room to write over something, too.
    if (isDiskFull(error) && await spares.removeAll()) {
      return await beginSegment(place, number, previousEnd);
    }
    throw refusedOr("Cannot begin a journal segment", error);
  }
  let name = old?.path ?? path;
  try {
    await file.syncData();
    if (old !== undefined) await files.rename(old.path, path);
    name = path;
  } catch (error) {
    file.close();
    const refusal = refusedOr("Cannot flush a new journal segment", error);
    if (refusal instanceof StorageFailedError) throw refusal;
    // Some file systems find that there is no room only now. What was not flushed is nobody's.
    await discard(files, name);
    if (isDiskFull(error) && await spares.removeAll()) {
      return await beginSegment(place, number, previousEnd);
    }
    throw refusal;
  }
  try {
    // Before a write in it is acknowledged its name has to be durable.
    await flushFolder(files, folder, "Cannot flush the folder of the journal");
  } catch (error) {
    file.close();
    if (!(error instanceof StorageFailedError)) await discard(files, path);
    throw error;
  }
  const durable = files.openDurable(path);
  const oldBytes = old?.end ?? 0;
  const end = SEGMENT_HEADER_BYTES;
  return { number, file, durable, salt, oldBytes, isUsed: false, end, sequence: 0 };
}

/** Closes the files of a segment. */
export function closeFiles({ file, durable }: ActiveSegment): void {
  durable?.close();
  file.close();
}

/**
 * Returns a random number of 31 bits. Not 32: `crc32` of Deno 2.4.2 gives another result for a start
 * value from 2^31 on once the calling function has been optimized.
 */
function randomSalt(): number {
  return (crypto.getRandomValues(new Uint32Array(1))[0] ?? 0) >>> 1;
}

/** Removes what nothing was written to: it would be in the way of the next attempt. */
async function discard(files: Files, path: string): Promise<void> {
  try {
    await files.remove(path);
  } catch (error) {
    throw failedError("Cannot remove a journal segment that was not begun", error);
  }
}

/**
 * Files of segments that were dropped, kept to become segments again: to write over a file costs a flush
 * less than to make one grow.
 */

/** On-disk name: `spare-` and the number that the segment had; an early version had one, without. */
const NAME = /^spare(-\d+)?$/;

/** Whether a file name is that of a file which waits to become a segment. */
export function isSpareName(name: string): boolean {
  return NAME.test(name);
}

/** A file that waits to become a segment, and what it holds. */
export interface SpareFile {
  readonly path: string;
  readonly salt: number;
  /** Where its frames end. */
  readonly end: number;
  /** Bytes that the file may have; more than its frames where it was used before. */
  readonly size: number;
}

/** What is kept. */
export interface SpareLimits {
  /** Only files of so many bytes: they come from a server that is busy. */
  readonly leastBytes: number;
  /** No more than this together, with the segments that there are (bytes). */
  readonly mostBytes: number;
}

/** The files that are kept. What a server leaves behind is removed by the next one. */
export class SpareFiles {
  readonly #folder: string;
  readonly #files: Files;
  readonly #limits: SpareLimits;
  readonly #kept: SpareFile[] = [];

  constructor(folder: string, files: Files, limits: SpareLimits) {
    this.#folder = folder;
    this.#files = files;
    this.#limits = limits;
  }

  /** How many are kept. */
  get count(): number {
    return this.#kept.length;
  }

  /**
   * Where to move the file of segment `number` to be kept, or `undefined` if it is not to be.
   *
   * @param segmentBytes Bytes of all other segments.
   */
  place(
    number: number,
    segment: Omit<SpareFile, "path">,
    segmentBytes: number,
  ): SpareFile | undefined {
    let bytes = segmentBytes + segment.size;
    for (const { size } of this.#kept) bytes += size;
    const { leastBytes, mostBytes } = this.#limits;
    return segment.end >= leastBytes && bytes <= mostBytes
      ? { path: join(this.#folder, `spare-${number}`), ...segment }
      : undefined;
  }

  /** Keeps a file that has been moved, durably. */
  put(file: SpareFile): void {
    this.#kept.push(file);
  }

  /** Returns a file that is not kept any more from now on, if there is one. */
  take(): SpareFile | undefined {
    return this.#kept.pop();
  }

  /** Removes all of them, and tells whether there were any. Never rejects: the next start tries again. */
  async removeAll(): Promise<boolean> {
    const kept = this.#kept.splice(0);
    for (const { path } of kept) await this.#files.remove(path).catch(() => {});
    return kept.length > 0;
  }
}
