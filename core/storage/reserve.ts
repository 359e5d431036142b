/**
 * Room on the disk that is kept for deletes. Only deletes can free a full disk, and each of them needs room in the
 * journal first.
 */
import { join } from "@std/path";
import { StorageFullError } from "../errors.ts";
import {
  busyError,
  type Files,
  isExhausted,
  isFileTooLarge,
  type OpenFile,
} from "../system/files.ts";
import { writeAll } from "../system/file_steps.ts";

/** On-disk name in the hidden folder. */
const FILE_NAME = "reserve";

// Enough for many deletes (bytes), which soon make room themselves.
const MOST_BYTES = 1024 * 1024;
// At most one byte in so many bytes of the disk.
const DISK_PART = 32;

// So many random bytes are written at a time. For other bytes a file system that compresses would keep no room.
const CHUNK_BYTES = 64 * 1024;

// The least time between two attempts to make the reserve (milliseconds).
const RETRY_MS = 250;

/** Returns how many bytes to keep on a disk of `diskBytes` bytes. */
export function reserveBytesOf(diskBytes: number): number {
  return Math.min(MOST_BYTES, Math.floor(diskBytes / DISK_PART));
}

/**
 * A file that takes room. The file is removed when a delete finds the disk full. Until the file is made again all saves
 * are refused, so that the room is for deletes alone.
 */
export class Reserve {
  readonly #path: string;
  readonly #files: Files;
  #bytes: number;
  #isGivenUp = false;
  /** Why the last attempt to make the file failed; `undefined` if none has failed since the file was given up. */
  #failure: unknown;
  #making: Promise<boolean> | undefined;
  #triedMs = -Infinity;

  private constructor(folder: string, files: Files, bytes: number) {
    this.#path = join(folder, FILE_NAME);
    this.#files = files;
    this.#bytes = bytes;
  }

  /** Makes the file in `folder`, of `bytes` bytes, unless the file is there; with 0 bytes no reserve is made. */
  static async open(folder: string, files: Files, bytes: number): Promise<Reserve> {
    const reserve = new Reserve(folder, files, bytes);
    if (await reserve.#size() >= Math.max(bytes, 1)) return reserve;
    if (bytes > 0) {
      reserve.#isGivenUp = true;
      await reserve.restore();
    }
    return reserve;
  }

  /** Whether the room is for deletes alone. */
  get isGivenUp(): boolean {
    return this.#isGivenUp;
  }

  /**
   * @throws {StorageFullError} While the room is for deletes alone.
   * @throws {StorageBusyError} While the file cannot be made for want of open files.
   */
  checkSave(): void {
    if (!this.#isGivenUp) return;
    // While all saves are refused, no checkpoint may run for a long time, so a save has to look for room.
    if (performance.now() - this.#triedMs >= RETRY_MS) void this.restore();
    if (isExhausted(this.#failure)) throw busyError(this.#failure);
    throw new StorageFullError("Disk full: nothing was changed, the old value stands");
  }

  /** Gives the room up for deletes; resolves to whether there may be more room now. */
  async giveUp(): Promise<boolean> {
    if (this.#bytes === 0) return false;
    // A file that is being made takes room as well, until the attempt fails.
    const isMaking = this.#making !== undefined;
    await this.#making;
    if (this.#isGivenUp) return isMaking;
    this.#isGivenUp = true;
    this.#failure = undefined;
    return await this.#remove();
  }

  /** Makes the file again if the room was given up and there is room for the file; never rejects. */
  async restore(): Promise<void> {
    if (!this.#isGivenUp) return;
    this.#triedMs = performance.now();
    this.#making ??= this.#make().finally(() => this.#making = undefined);
    if (await this.#making) this.#isGivenUp = false;
  }

  async #make(): Promise<boolean> {
    let file: OpenFile | undefined;
    try {
      // A server that was killed may have left a part of the file.
      await this.#remove();
      file = await this.#files.create(this.#path);
      const chunk = new Uint8Array(CHUNK_BYTES);
      for (let made = 0; made < this.#bytes; made += chunk.length) {
        crypto.getRandomValues(chunk);
        await writeAll(file, chunk.subarray(0, this.#bytes - made));
      }
      // Some file systems find only now that there is no room.
      await file.syncData();
      file.close();
      return true;
    } catch (error) {
      file?.close();
      this.#failure = error;
      await this.#remove();
      if (!isFileTooLarge(error)) return false;
      // The process has a limit of file sizes, but the disk is not full: saves go on without a reserve.
      this.#bytes = 0;
      return true;
    }
  }

  async #remove(): Promise<boolean> {
    try {
      await this.#files.remove(this.#path);
      return true;
    } catch {
      // There was no file, or the next attempt removes it.
      return false;
    }
  }

  async #size(): Promise<number> {
    try {
      const file = await this.#files.open(this.#path);
      const { size } = file.facts();
      file.close();
      return size;
    } catch {
      return 0;
    }
  }
}
