/** Makes the key files of many entries with few calls. */
import { delay } from "@std/async/delay";
import { StoppedError } from "../errors.ts";
import type { BulkFiles, NewFile, Renaming } from "../system/files.ts";
import type { OverlayEntry } from "./overlay.ts";
import { Value } from "../value.ts";
import { failedError } from "../system/files.ts";

// What one call makes at most (files, bytes), so that it is a short one.
const MOST_MADE = 64;
const MOST_MADE_BYTES = 1024 * 1024;

// How often to look, during a pause, whether writers still need the disk more (milliseconds).
const PAUSE_STEP_MS = 20;

const NONE: ReadonlySet<number> = new Set();

/** What a group needs of the writer of the segment. */
export interface KeyFileGroupHost {
  /** A path that no file has yet. */
  temporaryPath(): string;
  /** The path of the file of an entry's key. */
  pathOf(entry: OverlayEntry): string;
  /** Records that the file of an entry is there, or gone; rejects if more has to be done for it. */
  placed(entry: OverlayEntry): Promise<void>;
  readonly pace: {
    /** How long to leave the disk to others after work on it (both milliseconds). */
    pauseMs(workMs: number): number;
    isStopped(): boolean;
    /** To be called before files are made. @throws {StorageFullError} If there is no room that they may have. */
    checkRoom(): void;
  };
}

/** Entries that are done together, if they are small values or deletes; large values stay as they are. */
export class KeyFileGroup {
  /** The paths of temporary files that are flushed and not yet renamed, by entry. */
  readonly written = new Map<OverlayEntry, string>();
  readonly #entries: readonly OverlayEntry[];
  readonly #bulkFiles: BulkFiles;
  readonly #host: KeyFileGroupHost;

  constructor(entries: readonly OverlayEntry[], bulkFiles: BulkFiles, host: KeyFileGroupHost) {
    this.#entries = entries;
    this.#bulkFiles = bulkFiles;
    this.#host = host;
  }

  /**
   * Writes the values to temporary files, flushes all of these at once, and renames them; removes the files of
   * deleted keys. An entry that could not be done stays pending, so that it can be done alone.
   *
   * @throws {StorageFailedError} If the disk failed.
   * @throws {StorageFullError} If there is no room that its files may have.
   * @throws {StoppedError} If it was told to stop.
   */
  async write(): Promise<void> {
    await this.#create();
    if (this.written.size > 0) await this.#flush();
    await this.#place();
  }

  async #flush(): Promise<void> {
    try {
      await this.#bulkFiles.flush();
    } catch (error) {
      throw failedError("Cannot flush key files", error);
    }
  }

  async #create(): Promise<void> {
    let group: { readonly entry: OverlayEntry; readonly file: NewFile }[] = [];
    let bytes = 0;
    const make = () =>
      this.#inTurn(async () => {
        this.#host.pace.checkRoom();
        const failed = await this.#bulkFiles.create(group.map(({ file }) => file));
        group.forEach(({ entry, file }, index) => {
          if (!failed.has(index)) this.written.set(entry, file.path);
        });
        group = [];
        bytes = 0;
      });
    for (const entry of this.#entries) {
      // A newer write may have replaced it meanwhile.
      const { state } = entry;
      if (!(state instanceof Value) || !entry.isPending) continue;
      const path = this.#host.temporaryPath();
      const { size } = state;
      group.push({ entry, file: { path, size, copyTo: (into) => state.copyTo(into) } });
      bytes += size;
      if (group.length >= MOST_MADE || bytes >= MOST_MADE_BYTES) await make();
    }
    if (group.length > 0) await make();
  }

  /** Renames the temporary files, and removes the files of deleted keys, as far as that is possible. */
  async #place(): Promise<void> {
    for (let at = 0; at < this.#entries.length; at += MOST_MADE) {
      const group = this.#entries.slice(at, at + MOST_MADE).filter((entry) => {
        return (entry.state === undefined || this.written.has(entry)) &&
          entry.isPending;
      });
      const renamed = group.filter((entry) => this.written.has(entry));
      const removed = group.filter((entry) => !this.written.has(entry));
      if (group.length === 0) continue;
      await this.#inTurn(async () => {
        const renamings = renamed.map((entry): Renaming => {
          return [this.written.get(entry) ?? "", this.#host.pathOf(entry)];
        });
        const paths = removed.map((entry) => this.#host.pathOf(entry));
        const notRenamed = renamings.length > 0 ? await this.#bulkFiles.rename(renamings) : NONE;
        const notRemoved = paths.length > 0 ? await this.#bulkFiles.remove(paths) : NONE;
        for (const [index, entry] of renamed.entries()) {
          if (notRenamed.has(index)) continue;
          this.written.delete(entry);
          await this.#host.placed(entry).catch(() => {});
        }
        for (const [index, entry] of removed.entries()) {
          if (!notRemoved.has(index)) await this.#host.placed(entry).catch(() => {});
        }
      });
    }
  }

  /** Does some of the work, then leaves the disk to others for a while. */
  async #inTurn(work: () => Promise<void>): Promise<void> {
    if (this.#host.pace.isStopped()) throw new StoppedError("Stopped");
    const start = performance.now();
    await work();
    const workMs = performance.now() - start;
    const restedMs = performance.now();
    // On a slow disk the pause is a long one. It ends when the store closes, or when writers need memory.
    while (true) {
      const ms = this.#host.pace.pauseMs(workMs) - (performance.now() - restedMs);
      if (ms <= 0) return;
      await delay(Math.min(ms, PAUSE_STEP_MS));
    }
  }
}
