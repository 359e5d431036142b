/**
 * The file system as the storage engine sees it. The engine touches the disk only through this interface, so tests
 * can give it a disk that fails, fills up or loses power. And which errors of a file system mean what for the store.
 */
import { constants } from "node:os";
import {
  messageOf,
  StorageBusyError,
  StorageFailedError,
  StorageFullError,
  WriteRefusedError,
} from "../errors.ts";

/** What a file system says about an open file. */
export interface FileFacts {
  /** Bytes. */
  readonly size: number;
  /** Time of the last change (milliseconds since 1970). */
  readonly modifiedMs: number;
  /** Number of the file in its file system; 0 if the system does not number its files. */
  readonly inode: number;
  /** `false` for a folder, a device and a pipe. */
  readonly isFile: boolean;
}

/** An open file. It has one position, for reading and writing. */
export interface OpenFile {
  /** Writes at the position; may write less than all. Resolves to the bytes written. */
  write(bytes: Uint8Array): Promise<number>;
  /** Reads at the position. Resolves to the bytes read; `null` at the end. */
  read(buffer: Uint8Array): Promise<number | null>;
  /** Moves the position to `offset` bytes from the start. */
  seek(offset: number): void;
  /** Flushes the content, not the name: resolves when the content would survive a power cut (fdatasync). */
  syncData(): Promise<void>;
  /** Cuts the file off behind `size` bytes. */
  truncate(size: number): Promise<void>;
  /** Returns what the file system says about the file now. */
  facts(): FileFacts;
  /** Sets the time of the last change (milliseconds since 1970). */
  setModified(ms: number): void;
  /** Closes the file; flushes nothing. */
  close(): void;
}

/** An open file whose writes are durable when they are done. */
export interface DurableFile {
  /**
   * Writes at `offset`. Resolves to the number of bytes that would survive a power cut, or to -1 after a failure.
   *
   * To learn what failed, write and flush all of the same bytes again through an {@link OpenFile}. It must have been
   * open before this call: the system reports a failed write-back once to each open file. If no error comes, all is
   * durable after all.
   */
  write(bytes: Uint8Array<ArrayBuffer>, offset: number): Promise<bigint>;
  /** Closes the file. */
  close(): void;
}

/** A file that is to be made. */
export interface NewFile {
  readonly path: string;
  /** Bytes. */
  readonly size: number;
  /** Writes the content to the start of `into`, which has room for it. */
  copyTo(into: Uint8Array<ArrayBuffer>): void;
}

/** The path of a file, and the path that it gets. */
export type Renaming = readonly [from: string, to: string];

/**
 * Makes, renames and removes many small files at once. Steps that fail are told by their index; the same step of
 * {@link Files} then tells why.
 */
export interface BulkFiles {
  /** Fewer files than this are flushed faster one by one. */
  readonly leastFiles: number;
  /** Creates files that must not exist. A file that cannot be written whole is removed. */
  create(files: readonly NewFile[]): Promise<ReadonlySet<number>>;
  /** As {@link Files.rename}. */
  rename(renamings: readonly Renaming[]): Promise<ReadonlySet<number>>;
  /** As {@link Files.remove}; a file that is not there is no error. */
  remove(paths: readonly string[]): Promise<ReadonlySet<number>>;
  /**
   * Resolves when the content of all files that were made here would survive a power cut (syncfs).
   *
   * @throws {Error} If any of that could not be written.
   */
  flush(): Promise<void>;
  /** Ends the work; steps under way count as failed. */
  close(): void;
}

/** A file system. Its errors are those of Deno: `Deno.errors.NotFound`, or an `Error` with its `code`. */
export interface Files {
  /** Creates a file that must not exist, for writing. Its name is durable after `syncFolder`. */
  create(path: string): Promise<OpenFile>;
  /** Opens an existing file for reading, with `write` for writing too. */
  open(path: string, options?: { readonly write?: boolean }): Promise<OpenFile>;
  /**
   * Opens an existing file for durable writes. `undefined` if the system has none: writing and flushing in two steps
   * does the same, but takes longer.
   */
  openDurable(path: string): DurableFile | undefined;
  /**
   * Reads a file of 1 to `most` bytes without a promise, if that does not hold up the event loop; else returns
   * `undefined`, and also for every other file. The bytes are valid until the next call.
   */
  readAtOnce(path: string, most: number): Uint8Array<ArrayBuffer> | undefined;
  /** Renames in one step, over a file that is there. Durable after `syncFolder` of both folders. */
  rename(from: string, to: string): Promise<void>;
  /** Removes a file. Durable after `syncFolder`. */
  remove(path: string): Promise<void>;
  /**
   * Resolves when all names in the folder would survive a power cut. An error for which {@link isExhausted} is true
   * says that the flush was not begun.
   */
  syncFolder(path: string): Promise<void>;
  /**
   * Begins work on `files` small files in the file system of `path`. `undefined` if the system has no way to do that,
   * or if so few files are flushed faster one by one.
   */
  openBulkFiles(path: string, files: number): BulkFiles | undefined;
  /** Creates a folder; a folder that exists is no error. */
  makeFolder(path: string): Promise<void>;
  /** Calls `entry` for each entry of a folder, in no order. A symbolic link is not a file. */
  list(path: string, entry: (name: string, isFile: boolean) => void): Promise<void>;
}

/** Whether `error` says that there is no room: on the disk, in a quota, or in a file of the largest size. */
export function isDiskFull(error: unknown): boolean {
  return isOneOf(error, ["ENOSPC", "EDQUOT", "EFBIG"]);
}

/** Whether `error` says that a file would be larger than files may be. */
export function isFileTooLarge(error: unknown): boolean {
  return isOneOf(error, ["EFBIG"]);
}

/**
 * Whether `error` says that the system has no open files or no memory to spare for a moment. That is no damage: the
 * step was not begun.
 */
export function isExhausted(error: unknown): boolean {
  return isOneOf(error, ["EMFILE", "ENFILE", "ENOMEM", "EAGAIN"]);
}

/** Whether `error` says that a folder is in the place of a file. */
export function isFolderInTheWay(error: unknown): boolean {
  return isOneOf(error, ["EISDIR", "ENOTEMPTY"]);
}

/** Whether `error` is one of these errors of errno(3). */
function isOneOf(error: unknown, names: readonly (keyof typeof constants.errno)[]): boolean {
  if (!(error instanceof Error)) return false;
  const code = "code" in error ? error.code : undefined;
  // Some errors of the runtime, such as EFBIG, have no code but only their number.
  const number = Number(/\(os error (\d+)\)/.exec(error.message)?.[1]);
  return names.some((name) => name === code || constants.errno[name] === number);
}

/**
 * Returns the error of the store for the failure of a step that was not begun, or that can be undone.
 *
 * @param what What cannot be done, if the disk has failed.
 */
export function refusedOr(what: string, error: unknown): WriteRefusedError | StorageFailedError {
  if (error instanceof WriteRefusedError || error instanceof StorageFailedError) return error;
  if (isDiskFull(error)) {
    return new StorageFullError("Disk full: nothing was changed, the old value stands", {
      cause: error,
    });
  }
  return isExhausted(error) ? busyError(error) : failedError(what, error);
}

/** Returns the error of a step that was not begun, because the system has no open files or no memory to spare. */
export function busyError(cause: unknown): StorageBusyError {
  return new StorageBusyError(
    `Busy: nothing was changed, the old value stands: ${messageOf(cause)}`,
    { cause },
  );
}

/** Returns the error after which nothing on the disk can be trusted. */
export function failedError(what: string, cause: unknown): StorageFailedError {
  if (cause instanceof StorageFailedError) return cause;
  return new StorageFailedError(`Storage failed: ${what}: ${messageOf(cause)}`, { cause });
}
