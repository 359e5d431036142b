/** Files in memory: what {@link Files} needs for small files that are replaced whole. */
import { type Files, type OpenFile } from "../../core/system/files.ts";

/** The content of files by path; it outlives a crash. */
export type Contents = Map<string, Uint8Array>;

/** @param pause Resolves when a flush is done; never again after a crash. */
export function memoryFiles(contents: Contents, pause: () => Promise<void>): Files {
  const at = (path: string) => {
    const bytes = contents.get(path);
    if (bytes === undefined) throw new Deno.errors.NotFound(path);
    return bytes;
  };
  // Async, so that what goes wrong rejects.
  return {
    create: async (path) => {
      await Promise.resolve();
      contents.set(path, new Uint8Array());
      return openFile(contents, path, pause);
    },
    open: async (path) => {
      await Promise.resolve();
      at(path);
      return openFile(contents, path, pause);
    },
    openDurable: () => undefined,
    readAtOnce: () => undefined,
    rename: async (from, to) => {
      await Promise.resolve();
      contents.set(to, at(from));
      contents.delete(from);
    },
    remove: async (path) => {
      await Promise.resolve();
      at(path);
      contents.delete(path);
    },
    syncFolder: pause,
    openBulkFiles: () => undefined,
    makeFolder: async () => {},
    list: async () => {},
  };
}

function openFile(contents: Contents, path: string, pause: () => Promise<void>): OpenFile {
  let position = 0;
  const bytes = () => contents.get(path) ?? new Uint8Array();
  return {
    write(added) {
      const old = bytes().slice(0, position);
      const whole = new Uint8Array(old.length + added.length);
      whole.set(old);
      whole.set(added, old.length);
      contents.set(path, whole);
      position = whole.length;
      return Promise.resolve(added.length);
    },
    read(buffer) {
      const part = bytes().subarray(position, position + buffer.length);
      buffer.set(part);
      position += part.length;
      return Promise.resolve(part.length === 0 ? null : part.length);
    },
    seek(offset) {
      position = offset;
    },
    syncData: pause,
    truncate: async () => {},
    facts: () => ({ size: bytes().length, modifiedMs: 0, inode: 0, isFile: true }),
    setModified() {},
    close() {},
  };
}
