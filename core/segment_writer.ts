/** Turns one segment of the journal into key files. */
import { StorageFailedError } from "./errors.ts";
import type { ContentTypes, TypeChange } from "./content_type_file.ts";
import {
  type Files,
  type FileSystem,
  isDiskFull,
  isFolderInTheWay,
  type OpenFile,
} from "./files.ts";
import { failedError, writeAll } from "./journal.ts";
import type { KeyFiles } from "./key_files.ts";
import { LargeFile, type Overlay, type OverlayEntry } from "./overlay.ts";
import { DEFAULT_CONTENT_TYPE, Value } from "./store.ts";

/** On-disk name: files that become key files. */
export const SAVE_PREFIX = "save-";

// How long files may be written at once before others have their turn (milliseconds).
const TURN_MS = 2;

// How many entries become files between two looks at who waits for their memory.
const PROGRESS_ENTRIES = 64;
// Not more files than this are flushed with one flush of the file system, so that it is a short one.
const MOST_TOGETHER = 512;

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
  /** How long to leave the event loop to others after each turn (milliseconds). */
  pauseMs(): number;
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
  /** For how long files have been written at once since others had their turn. */
  #atOnceMs = 0;
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

  async #writeEntries(entries: readonly OverlayEntry[]): Promise<void> {
    const { files, hiddenFolder } = this.#parts;
    const fileSystem = await files.openFileSystem(hiddenFolder, entries.length);
    if (fileSystem === undefined) {
      return await this.#forEach(entries, (entry) => this.#writeEntry(entry));
    }
    try {
      for (let at = 0; at < entries.length; at += MOST_TOGETHER) {
        await this.#writeTogether(entries.slice(at, at + MOST_TOGETHER), fileSystem);
      }
    } finally {
      fileSystem.close();
    }
  }

  /** Writes many temporary files, flushes all of them at once, and renames them. */
  async #writeTogether(entries: readonly OverlayEntry[], fileSystem: FileSystem): Promise<void> {
    const { files } = this.#parts;
    const written = new Map<OverlayEntry, string>();
    try {
      await this.#forEach(entries, async (entry) => {
        // It may be replaced meanwhile.
        const { state } = entry;
        if (!(state instanceof Value)) return;
        const temporary = this.#temporaryPath();
        if (this.#isDoneAtOnce(() => files.createAtOnce(temporary, state.bytes))) {
          written.set(entry, temporary);
          return;
        }
        const file = await files.create(temporary);
        written.set(entry, temporary);
        try {
          await writeAll(file, state.bytes);
        } finally {
          file.close();
        }
      });
      if (written.size > 0) await flush(fileSystem);
      await this.#forEach(entries, async (entry) => {
        await this.#writeEntry(entry, written.get(entry));
        written.delete(entry);
      });
    } finally {
      // Of those that were replaced meanwhile, or could not be renamed.
      for (const temporary of written.values()) await files.remove(temporary).catch(() => {});
    }
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
    let isPausing = false;
    const fill = (): void => {
      while (active < this.#pace.concurrency() && failures.length === 0) {
        if (this.#pace.isStopped()) failures.push(new StoppedError("Stopped"));
        const entry = entries[next++];
        if (entry === undefined) break;
        if (entry.isFile || !this.#parts.overlay.isNewest(entry)) continue;
        active++;
        work(entry).catch((error) => {
          // One key whose file cannot be written must not hold up the others.
          if (isFolderInTheWay(error)) this.#blocked.push(entry);
          else failures.push(error);
        }).finally(() => {
          active--;
          if (this.#atOnceMs < TURN_MS) return fill();
          // What was done at once kept the event loop: others have to be let in.
          if (isPausing) return;
          isPausing = true;
          setTimeout(() => {
            isPausing = false;
            this.#atOnceMs = 0;
            fill();
          }, this.#pace.pauseMs());
        });
      }
      if (active > 0) return;
      if (failures.length > 0) reject(mostSevere(failures));
      else resolve();
    };
    fill();
    return promise;
  }

  #isDoneAtOnce(work: () => boolean): boolean {
    const start = performance.now();
    const isDone = work();
    this.#atOnceMs += performance.now() - start;
    return isDone;
  }

  /** Writes one entry; `temporary` is a file with its value that is flushed already. */
  async #writeEntry(entry: OverlayEntry, temporary?: string): Promise<void> {
    const { keyFiles, files, overlay } = this.#parts;
    const { key, state } = entry;
    const path = keyFiles.pathToWrite(key);
    this.#isFolderDirty = true;
    try {
      if (state === undefined) await removeIfThere(files, path);
      else if (state instanceof LargeFile) await this.#placeLarge(entry, state, path);
      else if (temporary !== undefined) {
        const isDone = this.#isDoneAtOnce(() => files.renameAtOnce(temporary, path));
        if (!isDone) await files.rename(temporary, path);
      } else await this.#save(state, path);
    } catch (error) {
      if (isFolderInTheWay(error)) keyFiles.setBlocked(key, true);
      throw error;
    }
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
