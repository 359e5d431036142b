/** Turns one segment of the journal into key files. */
import { delay } from "@std/async/delay";
import { StorageFailedError } from "./errors.ts";
import type { ContentTypes, TypeChange } from "./content_type_file.ts";
import {
  type Files,
  type FileSystem,
  isDiskFull,
  isFolderInTheWay,
  type NewFile,
  type OpenFile,
  type Renaming,
} from "./files.ts";
import { failedError, writeAll } from "./journal.ts";
import type { KeyFiles } from "./key_files.ts";
import { LargeFile, type Overlay, type OverlayEntry } from "./overlay.ts";
import { DEFAULT_CONTENT_TYPE, Value } from "./store.ts";

/** On-disk name: files that become key files. */
export const SAVE_PREFIX = "save-";

// Not more than this is made together (files, bytes), so that it waits for no long time.
const MOST_MADE = 64;
const MOST_MADE_BYTES = 1024 * 1024;

// How many entries become files between two looks at who waits for their memory.
const PROGRESS_ENTRIES = 64;
// Not more files than this are flushed with one flush of the file system, so that it is a short one.
const MOST_TOGETHER = 512;

// How often to look, during a pause, whether writers still need the disk more (milliseconds).
const PAUSE_STEP_MS = 20;

const NONE: ReadonlySet<number> = new Set();

/** What a {@link SegmentWriter} works on. */
export interface SegmentParts {
  readonly folder: string;
  readonly hiddenFolder: string;
  readonly files: Files;
  readonly overlay: Overlay;
  readonly keyFiles: KeyFiles;
  readonly contentTypes: ContentTypes;
}

/** How fast, and whether at all. */
export interface SegmentPace {
  /** How many files to work on at the same time. */
  concurrency(): number;
  /** How long to leave the disk to others after work on it (both milliseconds). */
  pauseMs(workMs: number): number;
  isStopped(): boolean;
  /** Called when memory has become free. */
  progressed(): void;
}

/** Thrown when a segment was not finished because it was told to stop. */
export class StoppedError extends Error {}

/**
 * Writes segments, in this order:
 *
 * 1. the content types that change, flushed;
 * 2. for each key whose newest write is in the segment: temporary file, flush, rename; or unlink;
 * 3. flush of the folder.
 *
 * Of a key with a newer write in a later segment nothing is written: that segment brings it.
 */
export class SegmentWriter {
  readonly #parts: SegmentParts;
  readonly #pace: SegmentPace;
  /** Whether the folder of key files has changed since its last flush. */
  #isFolderDirty = false;
  #fileCount = 0;
  /** For segments with many keys, once there was one. */
  #fileSystem: FileSystem | undefined;
  #placedCount = 0;
  #blocked: OverlayEntry[] = [];

  constructor(parts: SegmentParts, pace: SegmentPace) {
    this.#parts = parts;
    this.#pace = pace;
  }

  /**
   * Writes a sealed segment; then it may be dropped, if the entries that are returned are kept: a
   * folder is in the way of their files. What was written when it rejects is not written again the
   * next time.
   *
   * @throws {StorageFailedError} If the disk failed.
   * @throws {StoppedError} If it was told to stop.
   */
  async write(segment: number): Promise<readonly OverlayEntry[]> {
    const { overlay, files, folder, contentTypes } = this.#parts;
    const entries = overlay.entriesOf(segment);
    await putTypes(contentTypes, typeChanges(entries, overlay));
    this.#blocked = [];
    await this.#writeEntries(entries);
    if (this.#isFolderDirty) {
      try {
        await files.syncFolder(folder);
      } catch (error) {
        throw failedError("Cannot flush the data directory", error);
      }
      this.#isFolderDirty = false;
    }
    return this.#blocked.filter((entry) => overlay.isNewest(entry));
  }

  /** Lets go of what it holds open. */
  close(): void {
    this.#fileSystem?.close();
    this.#fileSystem = undefined;
  }

  async #writeEntries(entries: readonly OverlayEntry[]): Promise<void> {
    const { files, hiddenFolder } = this.#parts;
    const wanted = entries.filter((entry) => this.#isWanted(entry));
    this.#fileSystem ??= files.openFileSystem(hiddenFolder, wanted.length);
    const fileSystem = this.#fileSystem;
    if (fileSystem === undefined || wanted.length < fileSystem.leastFiles) {
      return await this.#forEach(wanted, (entry) => this.#writeEntry(entry));
    }
    for (let at = 0; at < wanted.length; at += MOST_TOGETHER) {
      await this.#writeTogether(wanted.slice(at, at + MOST_TOGETHER), fileSystem);
    }
  }

  /** Writes many temporary files, flushes all of them at once, and renames them; or removes files. */
  async #writeTogether(entries: readonly OverlayEntry[], fileSystem: FileSystem): Promise<void> {
    const { files } = this.#parts;
    const written = new Map<OverlayEntry, string>();
    try {
      await this.#create(entries, written, fileSystem);
      if (written.size > 0) await flush(fileSystem);
      await this.#place(entries, written, fileSystem);
      // What could not be done together: on its own it tells why.
      await this.#forEach(entries, async (entry) => {
        await this.#writeEntry(entry, written.get(entry));
        written.delete(entry);
      });
    } finally {
      // Of those that were replaced meanwhile, or could not be renamed.
      for (const temporary of written.values()) await files.remove(temporary).catch(() => {});
    }
  }

  async #create(
    entries: readonly OverlayEntry[],
    written: Map<OverlayEntry, string>,
    fileSystem: FileSystem,
  ): Promise<void> {
    let group: { readonly entry: OverlayEntry; readonly file: NewFile }[] = [];
    let bytes = 0;
    const make = () =>
      this.#inTurn(async () => {
        const failed = await fileSystem.create(group.map(({ file }) => file));
        group.forEach(({ entry, file }, index) => {
          if (!failed.has(index)) written.set(entry, file.path);
        });
        group = [];
        bytes = 0;
      });
    for (const entry of entries) {
      // It may be replaced meanwhile.
      const { state } = entry;
      if (!(state instanceof Value) || !this.#isWanted(entry)) continue;
      const path = this.#temporaryPath();
      const { size } = state;
      group.push({ entry, file: { path, size, copyTo: (into) => state.copyTo(into) } });
      bytes += size;
      if (group.length >= MOST_MADE || bytes >= MOST_MADE_BYTES) await make();
    }
    if (group.length > 0) await make();
  }

  /** Gives files their names, or removes those of deleted keys, as far as that is possible. */
  async #place(
    entries: readonly OverlayEntry[],
    written: Map<OverlayEntry, string>,
    fileSystem: FileSystem,
  ): Promise<void> {
    const { keyFiles } = this.#parts;
    for (let at = 0; at < entries.length; at += MOST_MADE) {
      const group = entries.slice(at, at + MOST_MADE).filter((entry) => {
        return (entry.state === undefined || written.has(entry)) && this.#isWanted(entry);
      });
      const renamed = group.filter((entry) => written.has(entry));
      const removed = group.filter((entry) => !written.has(entry));
      if (group.length === 0) continue;
      this.#isFolderDirty = true;
      await this.#inTurn(async () => {
        const renamings = renamed.map((entry): Renaming => {
          return [written.get(entry) ?? "", keyFiles.pathToWrite(entry.key)];
        });
        const paths = removed.map(({ key }) => keyFiles.pathToWrite(key));
        const notRenamed = renamings.length > 0 ? await fileSystem.rename(renamings) : NONE;
        const notRemoved = paths.length > 0 ? await fileSystem.remove(paths) : NONE;
        for (const [index, entry] of renamed.entries()) {
          if (notRenamed.has(index)) continue;
          written.delete(entry);
          await this.#placed(entry).catch(() => {});
        }
        for (const [index, entry] of removed.entries()) {
          if (!notRemoved.has(index)) await this.#placed(entry).catch(() => {});
        }
      });
    }
  }

  /** Does some of the work, and leaves the disk to others afterwards. */
  async #inTurn(work: () => Promise<void>): Promise<void> {
    if (this.#pace.isStopped()) throw new StoppedError("Stopped");
    const start = performance.now();
    await work();
    const workMs = performance.now() - start;
    const restedMs = performance.now();
    // On a slow disk it is a long one, and it is not to hold up an end, or writers who need memory.
    while (true) {
      const ms = this.#pace.pauseMs(workMs) - (performance.now() - restedMs);
      if (ms <= 0) return;
      await delay(Math.min(ms, PAUSE_STEP_MS));
    }
  }

  /** Whether the file of an entry is still to be made. */
  #isWanted(entry: OverlayEntry): boolean {
    return !entry.isFile && this.#parts.overlay.isNewest(entry);
  }

  /**
   * Calls `work` for each entry that is to be written, several at a time. After a failure those under
   * way are finished, then it is thrown.
   */
  #forEach(
    entries: readonly OverlayEntry[],
    work: (entry: OverlayEntry) => Promise<void>,
  ): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const failures: unknown[] = [];
    let next = 0;
    let active = 0;
    const fill = (): void => {
      while (active < this.#pace.concurrency() && failures.length === 0) {
        if (this.#pace.isStopped()) failures.push(new StoppedError("Stopped"));
        const entry = entries[next++];
        if (entry === undefined) break;
        if (!this.#isWanted(entry)) continue;
        active++;
        work(entry).catch((error) => {
          // One key whose file cannot be written must not hold up the others.
          if (isFolderInTheWay(error)) this.#blocked.push(entry);
          else failures.push(error);
        }).finally(() => {
          active--;
          fill();
        });
      }
      if (active > 0) return;
      if (failures.length > 0) reject(mostSevere(failures));
      else resolve();
    };
    fill();
    return promise;
  }

  /** Writes one entry; `temporary` is a file with its value that is flushed already. */
  async #writeEntry(entry: OverlayEntry, temporary?: string): Promise<void> {
    const { keyFiles, files } = this.#parts;
    const { key, state } = entry;
    const path = keyFiles.pathToWrite(key);
    this.#isFolderDirty = true;
    try {
      if (state === undefined) await removeIfThere(files, path);
      else if (state instanceof LargeFile) await this.#placeLarge(entry, state, path);
      else if (temporary !== undefined) await files.rename(temporary, path);
      else await this.#save(state, path);
    } catch (error) {
      if (isFolderInTheWay(error)) keyFiles.setBlocked(key, true);
      throw error;
    }
    await this.#placed(entry);
  }

  /** Records that the file of an entry is there, or gone. */
  async #placed(entry: OverlayEntry): Promise<void> {
    const { keyFiles, files, overlay } = this.#parts;
    const { key } = entry;
    keyFiles.setBlocked(key, false);
    const odd = keyFiles.oddPath(key);
    if (odd !== undefined) {
      await removeIfThere(files, odd);
      keyFiles.oddRemoved(key);
    }
    overlay.placed(entry);
    if (++this.#placedCount % PROGRESS_ENTRIES === 0) this.#pace.progressed();
  }

  async #save(value: Value, path: string): Promise<void> {
    const { files } = this.#parts;
    const temporary = this.#temporaryPath();
    const file = await files.create(temporary);
    try {
      try {
        await writeAll(file, value.bytes);
        await syncFile(file);
      } finally {
        file.close();
      }
      await files.rename(temporary, path);
    } catch (error) {
      await files.remove(temporary).catch(() => {});
      throw error;
    }
  }

  async #placeLarge(entry: OverlayEntry, large: LargeFile, path: string): Promise<void> {
    const { files, overlay } = this.#parts;
    if (large.isPlaced) return;
    const from = large.path;
    large.isPlaced = true;
    try {
      await files.rename(from, path);
    } catch (error) {
      large.isPlaced = false;
      // Whoever replaced it meanwhile has left the file to us.
      if (!overlay.isNewest(entry)) return await files.remove(from).catch(() => {});
      throw error;
    }
    large.path = path;
  }

  #temporaryPath(): string {
    return `${this.#parts.hiddenFolder}/${SAVE_PREFIX}${this.#fileCount++}`;
  }
}

function* typeChanges(entries: readonly OverlayEntry[], overlay: Overlay): Generator<TypeChange> {
  for (const entry of entries) {
    if (entry.isFile || !overlay.isNewest(entry)) continue;
    yield [entry.key, entry.state?.contentType ?? DEFAULT_CONTENT_TYPE];
  }
}

async function putTypes(contentTypes: ContentTypes, changes: Iterable<TypeChange>): Promise<void> {
  try {
    await contentTypes.put(changes);
  } catch (error) {
    throw isDiskFull(error) ? error : failedError("Cannot write the content types", error);
  }
}

async function syncFile(file: OpenFile): Promise<void> {
  try {
    await file.syncData();
  } catch (error) {
    // Without room the file is written again later: the journal still has the value.
    throw isDiskFull(error) ? error : failedError("Cannot flush a key file", error);
  }
}

async function flush(fileSystem: FileSystem): Promise<void> {
  try {
    await fileSystem.flush();
  } catch (error) {
    throw failedError("Cannot flush key files", error);
  }
}

async function removeIfThere(files: Files, path: string): Promise<void> {
  try {
    await files.remove(path);
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
}

function mostSevere(failures: readonly unknown[]): unknown {
  return failures.find((failure) => failure instanceof StorageFailedError) ?? failures[0];
}
