/** Turns one segment of the journal into key files. */
import { StoppedError, StorageFailedError } from "../errors.ts";
import type { ContentTypes, TypeChange } from "./content_types.ts";
import { flushFolder, removeIfThere, writeAll } from "../system/file_steps.ts";
import {
  type BulkFiles,
  type Files,
  isFolderInTheWay,
  type OpenFile,
  refusedOr,
} from "../system/files.ts";
import type { KeyFiles } from "./key_files.ts";
import { LargeValueFile, type Overlay, type OverlayEntry } from "./overlay.ts";
import { KeyFileGroup, type KeyFileGroupHost } from "./key_file_group.ts";
import { type Value } from "../value.ts";
import { DEFAULT_CONTENT_TYPE } from "../protocol.ts";

/** On-disk name: files that become key files. */
export const SAVE_PREFIX = "save-";

// After so many entries became files, writers that wait for memory are let in.
const PROGRESS_ENTRIES = 64;
// Files that share one flush of the file system at most, so that it is a short one.
const MOST_TOGETHER = 512;

/** What a {@link KeyFileWriter} works on. */
export interface KeyFileWriterParts {
  readonly folder: string;
  readonly hiddenFolder: string;
  readonly files: Files;
  readonly overlay: Overlay;
  readonly keyFiles: KeyFiles;
  readonly contentTypes: ContentTypes;
}

/** How fast to write, and whether at all. */
export interface WritePace {
  /** How many files to work on at the same time. */
  concurrency(): number;
  /** How long to leave the disk to others after work on it (both milliseconds). */
  pauseMs(workMs: number): number;
  /** Whether to stop before the next file. */
  isStopped(): boolean;
  /** To be called before a file is made. @throws {StorageFullError} If there is no room that it may have. */
  checkRoom(): void;
  /** Called when memory has become free for writers. */
  progressed(): void;
}

/**
 * Writes segments, in this order:
 *
 * 1. the content types that change, flushed;
 * 2. for each key whose newest write is in the segment: temporary file, flush, rename; or unlink;
 * 3. flush of the folder.
 *
 * A key with a newer write in a later segment is passed over: that segment brings its file.
 */
export class KeyFileWriter {
  readonly #parts: KeyFileWriterParts;
  readonly #pace: WritePace;
  /** Whether the folder of key files has changed since its last flush. */
  #isFolderDirty = false;
  #fileCount = 0;
  /** For segments with many keys; made with the first of them. */
  #bulkFiles: BulkFiles | undefined;
  #placedCount = 0;
  #blocked: OverlayEntry[] = [];

  constructor(parts: KeyFileWriterParts, pace: WritePace) {
    this.#parts = parts;
    this.#pace = pace;
  }

  /**
   * Writes a sealed segment. When resolved the segment may be dropped, if the entries that are returned are kept: a
   * folder is in the way of their files. After a failure the next call writes only what is still missing.
   *
   * @throws {StorageFailedError} If the disk failed.
   * @throws {StoppedError} If it was told to stop.
   */
  async write(segment: number): Promise<readonly OverlayEntry[]> {
    const { overlay, files, folder, contentTypes } = this.#parts;
    const entries = overlay.entriesOf(segment);
    await putTypes(contentTypes, typeChanges(entries));
    this.#blocked = [];
    await this.#writeEntries(entries);
    if (this.#isFolderDirty) {
      // A folder that cannot be opened is flushed by the next attempt: none of these files is written again.
      await flushFolder(files, folder, "Cannot flush the data directory");
      this.#isFolderDirty = false;
    }
    return this.#blocked.filter((entry) => entry.isPending);
  }

  /**
   * Removes the files of deleted keys, also of segments whose turn has not come: on a full disk the segments before
   * may need this room. A file that cannot be removed holds up no other. Resolves to whether any was removed.
   *
   * @throws {StorageFailedError} If the disk failed.
   * @throws {StoppedError} If it was told to stop.
   */
  async removeDeleted(): Promise<boolean> {
    const deleted = this.#parts.overlay.deletes();
    await this.#forEach(deleted, async (entry) => {
      try {
        await this.#writeEntry(entry);
      } catch (error) {
        // `write` meets every other error again, when it is the turn of the segment.
        if (error instanceof StorageFailedError) throw error;
      }
    });
    return deleted.some((entry) => !entry.isPending);
  }

  /** Ends the thread for many files, if there is one; the next segment may begin another. */
  close(): void {
    this.#bulkFiles?.close();
    this.#bulkFiles = undefined;
  }

  async #writeEntries(entries: readonly OverlayEntry[]): Promise<void> {
    const { files, hiddenFolder } = this.#parts;
    const wanted = entries.filter((entry) => entry.isPending);
    this.#bulkFiles ??= files.openBulkFiles(hiddenFolder, wanted.length);
    const bulkFiles = this.#bulkFiles;
    if (bulkFiles === undefined || wanted.length < bulkFiles.leastFiles) {
      return await this.#forEach(wanted, (entry) => this.#writeEntry(entry));
    }
    for (let at = 0; at < wanted.length; at += MOST_TOGETHER) {
      await this.#writeTogether(wanted.slice(at, at + MOST_TOGETHER), bulkFiles);
    }
  }

  /** Writes many entries with few calls. */
  async #writeTogether(entries: readonly OverlayEntry[], bulkFiles: BulkFiles): Promise<void> {
    const { files } = this.#parts;
    const group = new KeyFileGroup(entries, bulkFiles, this.#groupHost());
    const { written } = group;
    this.#isFolderDirty = true;
    try {
      await group.write();
      // An entry that could not be done with the others is done alone, which tells why.
      await this.#forEach(entries, async (entry) => {
        await this.#writeEntry(entry, written.get(entry));
        written.delete(entry);
      });
    } finally {
      // These were replaced meanwhile, or could not be renamed.
      for (const temporary of written.values()) await files.remove(temporary).catch(() => {});
    }
  }

  /**
   * Calls `work` for each entry that is still to be written, several at a time. After a failure it waits for the
   * calls under way, then rejects with the failure.
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
        if (!entry.isPending) continue;
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

  /** Writes one entry; `temporary` is the path of a flushed file with its value, if there is one. */
  async #writeEntry(entry: OverlayEntry, temporary?: string): Promise<void> {
    const { keyFiles, files } = this.#parts;
    const { key, state } = entry;
    const path = keyFiles.pathToWrite(key);
    this.#isFolderDirty = true;
    try {
      if (state === undefined) await removeIfThere(files, path);
      else if (state instanceof LargeValueFile) await this.#placeLarge(entry, state, path);
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
    this.#pace.checkRoom();
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

  async #placeLarge(entry: OverlayEntry, large: LargeValueFile, path: string): Promise<void> {
    const { files } = this.#parts;
    if (large.isPlaced) return;
    const from = large.path;
    large.isPlaced = true;
    try {
      await files.rename(from, path);
    } catch (error) {
      large.isPlaced = false;
      // A newer write has replaced the value meanwhile, and its file was left to be removed here.
      if (!entry.isPending) return await files.remove(from).catch(() => {});
      throw error;
    }
    large.path = path;
  }

  #groupHost(): KeyFileGroupHost {
    const { keyFiles } = this.#parts;
    return {
      temporaryPath: () => this.#temporaryPath(),
      pathOf: ({ key }) => keyFiles.pathToWrite(key),
      placed: (entry) => this.#placed(entry),
      pace: this.#pace,
    };
  }

  #temporaryPath(): string {
    return `${this.#parts.hiddenFolder}/${SAVE_PREFIX}${this.#fileCount++}`;
  }
}

function* typeChanges(entries: readonly OverlayEntry[]): Generator<TypeChange> {
  for (const entry of entries) {
    if (!entry.isPending) continue;
    yield [entry.key, entry.state?.contentType ?? DEFAULT_CONTENT_TYPE];
  }
}

async function putTypes(contentTypes: ContentTypes, changes: Iterable<TypeChange>): Promise<void> {
  try {
    await contentTypes.put(changes);
  } catch (error) {
    throw refusedOr("Cannot write the content types", error);
  }
}

async function syncFile(file: OpenFile): Promise<void> {
  try {
    await file.syncData();
  } catch (error) {
    // Without room or memory the file is written again later: the journal still has the value.
    throw refusedOr("Cannot flush a key file", error);
  }
}

function mostSevere(failures: readonly unknown[]): unknown {
  return failures.find((failure) => failure instanceof StorageFailedError) ?? failures[0];
}
