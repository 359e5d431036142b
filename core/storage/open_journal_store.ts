/** Opens the store of a shard: lists the keys, replays the journal, clears away what is left over. */
import { join } from "@std/path";
import type { Parting } from "./commit_queue.ts";
import { ContentTypes } from "./content_types.ts";
import { HIDDEN_DIR } from "./data_dir.ts";
import { denoFiles } from "../system/deno_files.ts";
import { StorageFailedError } from "../errors.ts";
import { openIfThere } from "../system/file_steps.ts";
import { failedError, type Files, isDiskFull } from "../system/files.ts";
import { Journal } from "../journal/journal.ts";
import { type LargeReference, RecordKind } from "../journal/format.ts";
import { decodeLarge, type JournalRecord } from "../journal/frame_reader.ts";
import { replayJournal, type ReplayOptions } from "../journal/replay.ts";
import { segmentName, segmentNumber } from "../journal/segment.ts";
import { JournalStore } from "./journal_store.ts";
import { KeyFiles } from "./key_files.ts";
import type { KeyIndex } from "./key_index.ts";
import { etagOfFile, LARGE_PREFIX } from "./large_value.ts";
import type { Log } from "../log.ts";
import { LargeValueFile, Overlay } from "./overlay.ts";
import { type OldestMark, oldestMark, OldestSegment } from "../journal/oldest_segment.ts";
import { Reserve } from "./reserve.ts";
import { SAVE_PREFIX } from "./key_file_writer.ts";
import { isSpareName } from "../journal/spare_files.ts";
import { LARGE_VALUE_BYTES } from "../protocol.ts";
import { Value } from "../value.ts";
import { startHash } from "../etag.ts";
import { ValueCache } from "./value_cache.ts";

/** How a store is opened. */
export interface JournalStoreOptions {
  /** Bytes of memory for values that are on the disk as well; 64 MiB by default, 0 for none. */
  readonly cacheBytes?: number;
  /**
   * Bytes that the journal may have on the disk, and about the memory for what is in it and not yet
   * in files; 256 MiB by default. Writers are slowed to the pace of the files when either is full.
   */
  readonly journalBytes?: number;
  /** Bytes that are kept for deletes on a disk that is full otherwise; none by default. */
  readonly reserveBytes?: number;
  /**
   * How long `close` may take to let in what waits and to turn the journal into key files
   * (milliseconds), by default as long as it needs. What is left then stays in the journal.
   */
  readonly closeTimeoutMs?: number;
  /** When batches are written in two parts; by default where a flush is quick, which no two runs agree on. */
  readonly parting?: Parting;
  readonly log: Log;
  /** Called once when the disk failed: the process has to end. */
  readonly onFatal: (error: StorageFailedError) => void;
  /** The file system; that of this machine by default. */
  readonly files?: Files;
}

const MEBIBYTE = 1024 * 1024;

/**
 * Opens the store in the folder `path`, which exists and which the caller holds locked. All that is
 * not a key file is kept in the folder `.kvs` in it. Resolves when all keys can be served.
 *
 * @throws {StorageFailedError} If the journal is damaged where writes were acknowledged.
 */
export async function openJournalStore(
  path: string,
  options: JournalStoreOptions,
): Promise<JournalStore> {
  const { log, onFatal, files = denoFiles, cacheBytes = 64 * MEBIBYTE } = options;
  const { journalBytes = 256 * MEBIBYTE, closeTimeoutMs = Infinity, parting } = options;
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
  const replay = new Replay(hiddenFolder, hidden.large, index, overlay);
  const found = await replayJournal(
    hidden.segments,
    (record, segment) => replay.visit(record, segment),
    { folder: hiddenFolder, files, log, oldest: hidden.mark?.number },
  );
  const oldest = await openOldest(hidden, { folder: hiddenFolder, files, log });
  await replay.finish(files, keyFiles, log);
  for (const name of [...hidden.leftOver, ...replay.leftOver()]) {
    await files.remove(join(hiddenFolder, name));
  }
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
    parting,
    onFatal,
  });
}

/**
 * Makes the hidden folder, durably: also where the server that made it was killed before that. And what that
 * one did in it: else a segment that it removed could come back beside the first one that this one begins.
 */
async function makeHidden(files: Files, path: string, hiddenFolder: string): Promise<void> {
  await files.makeFolder(hiddenFolder);
  try {
    await files.syncFolder(path);
    await files.syncFolder(hiddenFolder);
  } catch (error) {
    throw failedError("Cannot flush the data directory", error);
  }
}

interface HiddenFiles {
  /** Numbers of the journal's segments, ascending. */
  readonly segments: readonly number[];
  readonly large: ReadonlySet<string>;
  /** Which segment is the oldest that is needed. */
  readonly mark: OldestMark | undefined;
  /** What nothing can name any more. */
  readonly leftOver: readonly string[];
}

async function listHidden(files: Files, hiddenFolder: string): Promise<HiddenFiles> {
  const all: number[] = [];
  let mark: OldestMark | undefined;
  const large = new Set<string>();
  const leftOver: string[] = [];
  await files.list(hiddenFolder, (name, isFile) => {
    if (!isFile) return;
    const number = segmentNumber(name);
    if (number !== undefined) all.push(number);
    else if (name.startsWith(LARGE_PREFIX)) large.add(name);
    else if (name.startsWith(SAVE_PREFIX) || isSpareName(name)) leftOver.push(name);
    else mark = oldestMark(name) ?? mark;
  });
  all.sort((a, b) => a - b);
  const first = mark?.number ?? 0;
  // Those before were dropped: their writes are in plain files.
  for (const number of all) if (number < first) leftOver.push(segmentName(number));
  return { segments: all.filter((number) => number >= first), large, mark, leftOver };
}

/** Has the record of the oldest segment say that a server runs; tells where none of its segments was found. */
async function openOldest(
  { mark, segments }: HiddenFiles,
  { folder, files, log }: ReplayOptions,
): Promise<OldestSegment> {
  const oldest = new OldestSegment(folder, files, mark);
  const [first = oldest.number] = segments;
  if (mark !== undefined && !mark.isClean && segments.length === 0) {
    log(
      "warn",
      "the journal is gone: if it was removed, so are the writes that were no plain files yet",
      {
        file: join(folder, segmentName(first)),
      },
    );
  }
  try {
    await oldest.advance(first);
  } catch (error) {
    // Without it the next start cannot notice that the first segment was removed.
    if (!isDiskFull(error)) throw error;
  }
  return oldest;
}

/** What the journal says of a large value. */
interface NamedLarge extends LargeReference {
  readonly contentType: string;
  readonly segment: number;
}

/** Brings the records of the journal into overlay and index. */
class Replay {
  readonly #hiddenFolder: string;
  readonly #largeNames: ReadonlySet<string>;
  readonly #index: KeyIndex;
  readonly #overlay: Overlay;
  /** The newest write of a key, where that is a large value, by key. */
  readonly #large = new Map<string, NamedLarge>();

  constructor(
    hiddenFolder: string,
    largeNames: ReadonlySet<string>,
    index: KeyIndex,
    overlay: Overlay,
  ) {
    this.#hiddenFolder = hiddenFolder;
    this.#largeNames = largeNames;
    this.#index = index;
    this.#overlay = overlay;
  }

  visit({ kind, key, contentType, value }: JournalRecord, segment: number): void {
    if (kind === RecordKind.VOID) return;
    if (kind === RecordKind.LARGE) {
      this.#large.set(key, { ...decodeLarge(value), contentType, segment });
      this.#put(key, new Value(new Uint8Array(0), contentType), segment);
      return;
    }
    this.#large.delete(key);
    if (kind === RecordKind.DELETE) {
      this.#overlay.put(key, undefined, segment);
      this.#index.delete(key);
    } else if (kind === RecordKind.SET) {
      this.#put(key, Value.copyOf(value, contentType), segment);
    } else {
      throw new RangeError(`Unknown kind of record: ${kind}`);
    }
  }

  /**
   * Finds the files of large values. One that is not there any more was renamed to the key's file: a
   * file is removed otherwise only when a newer write of its key is durable in the journal.
   *
   * @throws {StorageFailedError} If a file is not what was written, or another one is where it should be.
   */
  async finish(files: Files, keyFiles: KeyFiles, log: Log): Promise<void> {
    for (const [key, named] of this.#large) {
      const { fileName, segment } = named;
      const isPlaced = !this.#largeNames.has(fileName);
      const ownPath = join(this.#hiddenFolder, fileName);
      const path = isPlaced ? keyFiles.pathToWrite(key) : ownPath;
      const large = await openLarge(files, path, named);
      // To read all of one that was not renamed, too, would take long at a start where there are many.
      if (large !== undefined && isPlaced) {
        const isOther = large.size !== named.size || await hashOf(files, path) !== named.hash;
        if (isOther) throw missing(ownPath, key, path);
      } else if (large !== undefined && large.size !== named.size) {
        throw cutShort(path, key, large.size, named.size);
      }
      if (large === undefined) {
        log("warn", "a key is gone: its file was removed by hand", { key });
        this.#overlay.put(key, undefined, segment);
        this.#index.delete(key);
      } else {
        large.isPlaced = isPlaced;
        this.#overlay.put(key, large, segment);
      }
    }
  }

  /** Files of large values that are not the newest of any key. */
  leftOver(): string[] {
    const named = new Set(Array.from(this.#large.values(), ({ fileName }) => fileName));
    return [...this.#largeNames].filter((name) => !named.has(name));
  }

  #put(key: string, value: Value, segment: number): void {
    value.compact();
    this.#overlay.put(key, value, segment);
    this.#index.add(key);
  }
}

async function openLarge(
  files: Files,
  path: string,
  { contentType, hash }: NamedLarge,
): Promise<LargeValueFile | undefined> {
  const file = await openIfThere(files, path);
  if (file === undefined) return undefined;
  try {
    const facts = file.facts();
    return new LargeValueFile(path, {
      size: facts.size,
      contentType,
      etag: etagOfFile(facts),
      hash,
    });
  } finally {
    file.close();
  }
}

async function hashOf(files: Files, path: string): Promise<bigint> {
  const file = await files.open(path);
  try {
    const content = startHash();
    const buffer = new Uint8Array(LARGE_VALUE_BYTES);
    for (let read = await file.read(buffer); read !== null; read = await file.read(buffer)) {
      content.update(buffer.subarray(0, read));
    }
    return content.digest();
  } finally {
    file.close();
  }
}

function cutShort(path: string, key: string, size: number, expected: number): StorageFailedError {
  return new StorageFailedError(
    `Storage failed: ${path} is damaged, it has ${size} of ${expected} bytes: restore it from a backup, or ` +
      `remove it to go on without the last value of ${JSON.stringify(key)}`,
  );
}

function missing(path: string, key: string, keyPath: string): StorageFailedError {
  return new StorageFailedError(
    `Storage failed: ${path} is missing, and ${keyPath} is another value: restore it from a backup, or ` +
      `remove ${keyPath} to go on without ${JSON.stringify(key)}`,
  );
}
