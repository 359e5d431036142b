/**
 * The few things that the storage engine asks of a file system. The engine touches the disk through
 * this and nothing else, so that tests can put a disk under it which fails, fills up or loses power.
 */
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
  /** Time of the last change, milliseconds since 1970. */
  readonly modifiedMs: number;
  readonly inode: number;
  readonly isFile: boolean;
}

/** An open file with one position for reading and writing. */
export interface OpenFile {
  /** Writes at the position; may write less than all. */
  write(bytes: Uint8Array): Promise<number>;
  /** Reads at the position; `null` at the end. */
  read(buffer: Uint8Array): Promise<number | null>;
  /** Moves the position to `offset` bytes from the start. */
  seek(offset: number): void;
  /** Resolves when the content (not the name) would survive a power cut: fdatasync. */
  syncData(): Promise<void>;
  /** Cuts the file off behind `size` bytes. */
  truncate(size: number): Promise<void>;
  facts(): FileFacts;
  /** Sets the time of the last change, milliseconds since 1970. */
  setModified(ms: number): void;
  close(): void;
}

/** An open file for writes that are durable when they are done. */
export interface DurableFile {
  /**
   * Writes at `offset`; resolves to how many bytes would survive a power cut, -1 where that failed. Then
   * writing and flushing all of the same once more, through an {@link OpenFile} which was open before,
   * tells why, or makes up for it: the system reports what it could not write back to each that is open.
   */
  write(bytes: Uint8Array<ArrayBuffer>, offset: number): Promise<bigint>;
  close(): void;
}

/** What is to be in a new file. */
export interface NewFile {
  readonly path: string;
  /** Bytes. */
  readonly size: number;
  /** Writes it to the start of `into`, which has room for it. */
  copyTo(into: Uint8Array<ArrayBuffer>): void;
}

/** A file's path, and the one that it gets. */
export type Renaming = readonly [from: string, to: string];

/**
 * All of a file system: for many small files at once. Steps that fail are told by their index; the same
 * step on its own, as {@link Files} has it, tells what is wrong.
 */
export interface BulkFiles {
  /** Fewer files than this cost less to flush one by one. */
  readonly leastFiles: number;
  /** Creates files that must not exist. What could not be is not left behind in part. */
  create(files: readonly NewFile[]): Promise<ReadonlySet<number>>;
  /** As {@link Files.rename}. */
  rename(renamings: readonly Renaming[]): Promise<ReadonlySet<number>>;
  /** As {@link Files.remove}; one that is not there is fine. */
  remove(paths: readonly string[]): Promise<ReadonlySet<number>>;
  /**
   * Resolves when the content of all files that were written and closed since it was opened would
   * survive a power cut: syncfs. Rejects if any of that could not be written.
   */
  flush(): Promise<void>;
  close(): void;
}

/** A file system. Errors are those of Deno: `Deno.errors.NotFound`, or an `Error` with its `code`. */
export interface Files {
  /** Creates a file that must not exist, for writing. Its name is durable after `syncFolder`. */
  create(path: string): Promise<OpenFile>;
  /** Opens an existing file for reading, or for writing as well. Not to wait for its content. */
  open(path: string, options?: { readonly write?: boolean }): Promise<OpenFile>;
  /**
   * Opens an existing file once more. `undefined` where that is not possible: to write and flush in two
   * steps does the same, but takes longer.
   */
  openDurable(path: string): DurableFile | undefined;
  /**
   * The content of a file of 1 to `most` bytes, if that can be had at once without holding up the
   * event loop; `undefined` if not, and for everything else. Valid until the next call.
   */
  readAtOnce(path: string, most: number): Uint8Array<ArrayBuffer> | undefined;
  /** Renames in one step, replacing a file that is there. Durable after `syncFolder` of both folders. */
  rename(from: string, to: string): Promise<void>;
  /** Removes a file. Durable after `syncFolder`. */
  remove(path: string): Promise<void>;
  /**
   * Resolves when all names in the folder would survive a power cut. A failure that is {@link isExhausted} says
   * that the flush was not begun.
   */
  syncFolder(path: string): Promise<void>;
  /**
   * Opens the file system that `path` is on; `undefined` where that is not possible, or costs more
   * than to flush so many files one by one.
   */
  openBulkFiles(path: string, files: number): BulkFiles | undefined;
  /** Creates a folder; one that exists is fine. */
  makeFolder(path: string): Promise<void>;
  /** Calls back for each entry of a folder, in no order. A symbolic link is not a file. */
  list(path: string, entry: (name: string, isFile: boolean) => void): Promise<void>;
}

/** Whether `error` says that there is no room: ENOSPC, EDQUOT (over quota), EFBIG (file too big). */
export function isDiskFull(error: unknown): boolean {
  return hasCode(error, FULL_CODES) || hasOsError(error, /\(os error (?:28|122|27)\)/);
}

/** Whether `error` says that a file would be larger than files may be: EFBIG. */
export function isFileTooLarge(error: unknown): boolean {
  return hasCode(error, TOO_LARGE_CODES) || hasOsError(error, /\(os error 27\)/);
}

/**
 * Whether `error` says that the system has too little of something for a moment: EMFILE and ENFILE (open files),
 * ENOMEM, EAGAIN. That is no damage: what was to be done was not begun.
 */
export function isExhausted(error: unknown): boolean {
  return hasCode(error, EXHAUSTED_CODES) || hasOsError(error, /\(os error (?:24|23|12|11)\)/);
}

/** Whether `error` says that a folder is where a file should be: EISDIR, or ENOTEMPTY for a removal. */
export function isFolderInTheWay(error: unknown): boolean {
  return error instanceof Deno.errors.IsADirectory || hasOsError(error, /\(os error (?:21|39)\)/);
}

const EXHAUSTED_CODES = new Set(["EMFILE", "ENFILE", "ENOMEM", "EAGAIN"]);
const TOO_LARGE_CODES = new Set(["EFBIG"]);
const FULL_CODES = new Set(["ENOSPC", "EDQUOT", "EFBIG"]);

function hasCode(error: unknown, codes: ReadonlySet<string>): boolean {
  return error instanceof Error && "code" in error && typeof error.code === "string" &&
    codes.has(error.code);
}

function hasOsError(error: unknown, pattern: RegExp): boolean {
  return error instanceof Error && pattern.test(error.message);
}

/**
 * Turns the failure of a step that can be undone, or was not begun, into the error that says what it means for
 * the store.
 *
 * @param what What could not be done, for the case that the disk failed.
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

/** Makes the error of a step that was not begun, because the system has nothing left to begin it with. */
export function busyError(cause: unknown): StorageBusyError {
  return new StorageBusyError(
    `Busy: nothing was changed, the old value stands: ${messageOf(cause)}`,
    { cause },
  );
}

/** Makes the error after which nothing on the disk can be trusted. */
export function failedError(what: string, cause: unknown): StorageFailedError {
  if (cause instanceof StorageFailedError) return cause;
  return new StorageFailedError(`Storage failed: ${what}: ${messageOf(cause)}`, { cause });
}
