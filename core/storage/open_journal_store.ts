/** Opens the store of a shard: lists the keys, replays the journal, and removes files that are left over. */
import { join } from "@std/path";
import { messageOf, StartError, StorageFailedError } from "../errors.ts";
import { type FoundSegments, Journal } from "../journal/journal.ts";
import { markName, type OldestMark, oldestMark, OldestSegment } from "../journal/oldest_segment.ts";
import { replayJournal, type ReplayOptions } from "../journal/replay.ts";
import { segmentName, segmentNumber } from "../journal/segment.ts";
import { isSpareName } from "../journal/spare_files.ts";
import type { Log } from "../log.ts";
import { denoFiles } from "../system/deno_files.ts";
import { failedError, type Files, isDiskFull, isExhausted } from "../system/files.ts";
import { ContentTypes } from "./content_types.ts";
import { HIDDEN_DIR } from "./data_dir.ts";
import { JournalStore } from "./journal_store.ts";
import { SAVE_PREFIX } from "./key_file_writer.ts";
import { KeyFiles } from "./key_files.ts";
import { LARGE_PREFIX } from "./large_value.ts";
import { Overlay } from "./overlay.ts";
import { Recovery } from "./recovery.ts";
import { Reserve } from "./reserve.ts";
import { ValueCache } from "./value_cache.ts";

/** How a store is opened. */
export interface JournalStoreOptions {
  /** Bytes of memory for values that are in key files as well; 64 MiB by default, 0 for none. */
  readonly cacheBytes?: number;
  /**
   * Bytes that the journal may have on the disk, and that writes which are not yet in files may take in memory;
   * 256 MiB by default. When either is full, writers are slowed to the pace at which files are made.
   */
  readonly journalBytes?: number;
  /** Bytes of the disk that are kept for deletes; none by default. */
  readonly reserveBytes?: number;
  /**
   * How long `close` may take to let in waiting writes and to turn the journal into key files (milliseconds), by
   * default as long as it needs. Then the rest stays in the journal.
   */
  readonly closeTimeoutMs?: number;
  readonly log: Log;
  /** Called once when the disk failed: the process has to end. */
  readonly onFatal: (error: StorageFailedError) => void;
  /** The file system; that of this machine by default. */
  readonly files?: Files;
}

const MEBIBYTE = 1024 * 1024;

// So many segments below the mark are left by a power cut at most: the segment that was being dropped, and the one that
// was dropped before. The mark is flushed before each removal, which covers all earlier removals.
const MOST_BROUGHT_BACK = 2;

/**
 * Opens the store in the folder `path`, which exists and which the caller holds locked. All files that are no key
 * files are kept in the folder `.kvs` in it. Resolves when all keys can be served.
 *
 * @throws {StorageFailedError} If acknowledged writes in the journal are damaged or missing.
 * @throws {StartError} If the system has no open files to spare.
 */
export async function openJournalStore(
  path: string,
  options: JournalStoreOptions,
): Promise<JournalStore> {
  const { log, onFatal, files = denoFiles, cacheBytes = 64 * MEBIBYTE } = options;
  const { journalBytes = 256 * MEBIBYTE, closeTimeoutMs = Infinity } = options;
  const { reserveBytes = 0 } = options;
  const hiddenFolder = join(path, HIDDEN_DIR);
  await makeHidden(files, path, hiddenFolder);
  const keyFiles = new KeyFiles(path);
  const [index, hidden] = await Promise.all([
    keyFiles.load(files, log),
    listHidden(files, hiddenFolder),
  ]);
  const contentTypes = await ContentTypes.open(hiddenFolder, {
    files,
    log,
    isNew: hidden.mark === undefined,
  });
  const cache = new ValueCache(cacheBytes);
  const overlay = new Overlay(cache);
  const recovery = new Recovery(hiddenFolder, hidden.large, index, overlay);
  const found = await replayJournal(
    hidden.segments,
    (record, segment) => recovery.visit(record, segment),
    { folder: hiddenFolder, files, log, oldest: hidden.oldest },
  );
  await recovery.finish(files, keyFiles, log);
  for (const name of [...hidden.leftOver, ...recovery.leftOver()]) {
    await files.remove(join(hiddenFolder, name));
  }
  // Otherwise a power cut could bring these segments back, together with the next ones that are dropped.
  if (hidden.leftOver.some((name) => segmentNumber(name) !== undefined)) {
    await flushAtStart(files, hiddenFolder);
  }
  // After the removal of marks that are left over: the new mark may get the name of one of them.
  const oldest = await openOldest(hidden, found, { folder: hiddenFolder, files, log });
  return new JournalStore({
    folder: path,
    hiddenFolder,
    files,
    journal: new Journal(hiddenFolder, {
      files,
      found,
      oldest,
      spares: { leastBytes: journalBytes / 16, mostBytes: journalBytes / 2 },
    }),
    reserve: await Reserve.open(hiddenFolder, files, reserveBytes),
    overlay,
    cache,
    keyFiles,
    contentTypes,
    index,
    log,
    journalBytes,
    closeTimeoutMs,
    onFatal,
  });
}

/**
 * Makes the hidden folder, and flushes it: an earlier server may have been killed before its last flush. Without the
 * flush, a segment which that server removed could come back beside the first segment of this one.
 */
async function makeHidden(files: Files, path: string, hiddenFolder: string): Promise<void> {
  await files.makeFolder(hiddenFolder);
  await flushAtStart(files, path);
  await flushAtStart(files, hiddenFolder);
}

async function flushAtStart(files: Files, folder: string): Promise<void> {
  try {
    await files.syncFolder(folder);
  } catch (error) {
    const what = "Cannot flush the data directory";
    // Without open files the flush was not begun, which says nothing of the disk.
    throw isExhausted(error)
      ? new StartError(`${what}: ${messageOf(error)}`)
      : failedError(what, error);
  }
}

interface HiddenFiles {
  /** Numbers of the journal's segments that are needed, ascending. */
  readonly segments: readonly number[];
  /** Names of the files of large values. */
  readonly large: ReadonlySet<string>;
  /** The mark of the oldest segment; `undefined` in a folder without a mark. */
  readonly mark: OldestMark | undefined;
  /** Number of the oldest segment that has to be there; `undefined` if that is not known. */
  readonly oldest: number | undefined;
  /** Names of files that no server needs any more. */
  readonly leftOver: readonly string[];
}

/** Lists the hidden folder. @throws {StorageFailedError} If no power cut explains a segment below the mark. */
async function listHidden(files: Files, hiddenFolder: string): Promise<HiddenFiles> {
  const segments: number[] = [];
  const marks: OldestMark[] = [];
  const large = new Set<string>();
  const leftOver: string[] = [];
  await files.list(hiddenFolder, (name, isFile) => {
    if (!isFile) return;
    const number = segmentNumber(name);
    const mark = oldestMark(name);
    if (number !== undefined) segments.push(number);
    else if (mark !== undefined) marks.push(mark);
    else if (name.startsWith(LARGE_PREFIX)) large.add(name);
    else if (name.startsWith(SAVE_PREFIX) || isSpareName(name)) leftOver.push(name);
  });
  segments.sort((a, b) => a - b);
  // A folder that was copied over another one has two marks. The lower one leaves out fewer segments.
  marks.sort((a, b) => a.number - b.number || Number(a.isClean) - Number(b.isClean));
  const [mark, ...others] = marks;
  leftOver.push(...others.map(markName));
  // An orderly end leaves no segment. A segment beside a clean mark was written later, by a version that knows no marks.
  // Or the segment has no frames, and could not be removed at the end.
  if (mark === undefined || mark.isClean) {
    return { segments, large, mark, oldest: segments[0], leftOver };
  }
  const [lowest = mark.number] = segments;
  if (others.length === 0 && lowest >= mark.number - MOST_BROUGHT_BACK) {
    while (segments[0] !== undefined && segments[0] < mark.number) {
      leftOver.push(segmentName(segments[0]));
      segments.shift();
    }
  }
  const [first = mark.number] = segments;
  if (first < mark.number) throw tooOld(hiddenFolder, segmentName(first), markName(mark));
  return { segments, large, mark, oldest: mark.number, leftOver };
}

function tooOld(folder: string, segment: string, mark: string): StorageFailedError {
  const path = join(folder, segment);
  return new StorageFailedError(
    `Storage failed: ${path} is older than ${mark} says, and may hold acknowledged writes: ` +
      `remove ${mark} to bring them back, or move the segment away to go on without them`,
  );
}

/** Records that a server runs. Warns if the last one did not end in order, and its newest segment is not there. */
async function openOldest(
  { mark, segments }: HiddenFiles,
  found: FoundSegments,
  { folder, files, log }: ReplayOptions,
): Promise<OldestSegment> {
  const oldest = new OldestSegment(folder, files, mark);
  const [first = oldest.number] = segments;
  if (mark !== undefined && !mark.isClean && segments.length === 0) {
    log(
      "warn",
      "the journal is gone: if it was removed, so are the writes that were no plain files yet",
      { file: join(folder, segmentName(first)) },
    );
  }
  const newest = mark?.newest ?? 0;
  const last = segments.at(-1);
  if (last !== undefined && last < newest) {
    log("warn", "the newest segment of the journal is gone: if it was removed, so are its writes", {
      file: join(folder, segmentName(newest)),
    });
  }
  try {
    await oldest.advance(first);
    await oldest.recordNewest([...found.keys()].at(-1) ?? 0);
  } catch (error) {
    // Without the mark the next start only cannot notice that the first segment was removed.
    if (!isDiskFull(error)) throw error;
  }
  return oldest;
}
