/** Steps on {@link Files} that more than one part of the program takes. */
import { join } from "@std/path";
import { busyError, failedError, type Files, isExhausted, type OpenFile } from "./files.ts";

/** Opens a file as {@link Files.open}; resolves to `undefined` if there is no such file. */
export async function openIfThere(
  files: Files,
  path: string,
  options?: { readonly write?: boolean },
): Promise<OpenFile | undefined> {
  try {
    return await files.open(path, options);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw error;
  }
}

/** Removes a file as {@link Files.remove}; a file that is not there is no error. */
export async function removeIfThere(files: Files, path: string): Promise<void> {
  try {
    await files.remove(path);
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
}

/** Renames a file as {@link Files.rename}; resolves to `false` if the file is not there. */
export async function renameIfThere(files: Files, path: string, to: string): Promise<boolean> {
  try {
    await files.rename(path, to);
    return true;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}

/**
 * Reads from the position of `file` to its end.
 *
 * @param mostBytes The most bytes to read; by default as many as the file has.
 */
export async function readAll(
  file: OpenFile,
  mostBytes: number = file.facts().size,
): Promise<Uint8Array<ArrayBuffer>> {
  const bytes = new Uint8Array(mostBytes);
  let length = 0;
  while (length < bytes.length) {
    const read = await file.read(bytes.subarray(length));
    if (read === null) break;
    length += read;
  }
  return length === bytes.length ? bytes : bytes.slice(0, length);
}

/**
 * Writes all of `bytes` at the position of `file`, in as many calls as it takes. Never synchronously, not even a
 * few bytes: a write may have to wait while the file system writes its own journal.
 */
export async function writeAll(file: OpenFile, bytes: Uint8Array): Promise<void> {
  for (let done = 0; done < bytes.length;) done += await file.write(bytes.subarray(done));
}

/** Suffix of the temporary file of {@link replaceFile}. On-disk name. */
const NEW_SUFFIX = ".new";

/** Removes the temporary file of a {@link replaceFile} of the file `path`, if that was cut short. */
export function removeUnfinished(files: Files, path: string): Promise<void> {
  return removeIfThere(files, path + NEW_SUFFIX);
}

/**
 * Makes `bytes` the content of the small file `name` in `folder`, whether or not there is such a file. Writes and
 * flushes a temporary file, then renames it. Durable once resolved. After a failure the file has the old content or
 * the new one.
 */
export async function replaceFile(
  files: Files,
  { folder, name, bytes }: {
    readonly folder: string;
    readonly name: string;
    readonly bytes: Uint8Array;
  },
): Promise<void> {
  const path = join(folder, name);
  const temporary = path + NEW_SUFFIX;
  await removeUnfinished(files, path);
  const file = await files.create(temporary);
  try {
    try {
      await writeAll(file, bytes);
      await file.syncData();
    } finally {
      file.close();
    }
    await files.rename(temporary, path);
  } catch (error) {
    await files.remove(temporary).catch(() => {});
    throw error;
  }
  await files.syncFolder(folder);
}

/**
 * Flushes the names in `folder` as {@link Files.syncFolder}, with the errors of the store.
 *
 * @param what What cannot be done, if the disk fails.
 * @throws {StorageBusyError} If the folder cannot be opened for now: the flush was not begun.
 * @throws {StorageFailedError} If the flush failed.
 */
export async function flushFolder(files: Files, folder: string, what: string): Promise<void> {
  try {
    await files.syncFolder(folder);
  } catch (error) {
    throw isExhausted(error) ? busyError(error) : failedError(what, error);
  }
}
