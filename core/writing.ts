/** What all that writes files has in common: writing all of something, and what it means when that fails. */
import {
  messageOf,
  StorageBusyError,
  StorageFailedError,
  StorageFullError,
  WriteRefusedError,
} from "./errors.ts";
import { isDiskFull, isExhausted, type OpenFile } from "./files.ts";

/**
 * Writes all of `bytes`, in as many steps as it takes. Not synchronously, however few they are: while
 * the file system is writing to its own journal, a write may have to wait for that, for a second in
 * the worst case.
 */
export async function writeAll(file: OpenFile, bytes: Uint8Array): Promise<void> {
  for (let done = 0; done < bytes.length;) done += await file.write(bytes.subarray(done));
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
