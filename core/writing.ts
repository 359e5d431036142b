/** What all that writes files has in common: writing all of something, and what it means when that fails. */
import { messageOf, StorageFailedError, StorageFullError } from "./errors.ts";
import { isDiskFull, type OpenFile } from "./files.ts";

/**
 * Writes all of `bytes`, in as many steps as it takes. Not synchronously, however few they are: while
 * the file system is writing to its own journal, a write may have to wait for that, for a second in
 * the worst case.
 */
export async function writeAll(file: OpenFile, bytes: Uint8Array): Promise<void> {
  for (let done = 0; done < bytes.length;) done += await file.write(bytes.subarray(done));
}

/** Turns a failed write into the error that says what it means for the store. */
export function fullError(error: unknown): StorageFullError | StorageFailedError {
  if (error instanceof StorageFullError || error instanceof StorageFailedError) return error;
  if (!isDiskFull(error)) return failedError("Cannot write", error);
  return new StorageFullError("Disk full: nothing was changed, the old value stands", {
    cause: error,
  });
}

/** Makes the error after which nothing on the disk can be trusted. */
export function failedError(what: string, cause: unknown): StorageFailedError {
  if (cause instanceof StorageFailedError) return cause;
  return new StorageFailedError(`Storage failed: ${what}: ${messageOf(cause)}`, { cause });
}
