/** The file system of this machine, as {@link Files}. */
import { openDurable } from "./durable_file.ts";
import type { FileFacts, Files, OpenFile } from "./files.ts";
import { openFileSystem } from "./file_system.ts";
import { listFolder } from "./folder_listing.ts";
import { readAtOnce } from "./quick_files.ts";
import { failedError } from "./writing.ts";

class DenoFile implements OpenFile {
  readonly #file: Deno.FsFile;

  constructor(file: Deno.FsFile) {
    this.#file = file;
  }

  write(bytes: Uint8Array): Promise<number> {
    return this.#file.write(bytes);
  }

  read(buffer: Uint8Array): Promise<number | null> {
    return this.#file.read(buffer);
  }

  seek(offset: number): void {
    this.#file.seekSync(offset, Deno.SeekMode.Start);
  }

  syncData(): Promise<void> {
    return this.#file.syncData();
  }

  truncate(size: number): Promise<void> {
    return this.#file.truncate(size);
  }

  facts(): FileFacts {
    const { size, mtime, ino, isFile } = this.#file.statSync();
    return { size, modifiedMs: mtime?.getTime() ?? 0, inode: ino ?? 0, isFile };
  }

  setModified(ms: number): void {
    this.#file.utimeSync(new Date(ms), new Date(ms));
  }

  close(): void {
    this.#file.close();
  }
}

/** The file system of this machine. */
export const denoFiles: Files = {
  async create(path) {
    return new DenoFile(await Deno.open(path, { write: true, createNew: true }));
  },

  async open(path, options) {
    return new DenoFile(await Deno.open(path, { read: true, write: options?.write ?? false }));
  },

  openDurable,

  readAtOnce,

  rename: Deno.rename,

  remove(path) {
    return Deno.remove(path);
  },

  async syncFolder(path) {
    const folder = await Deno.open(path, { read: true });
    try {
      await folder.sync();
    } catch (error) {
      // Also where the system was only short of memory: a flush that was begun and failed is not repeated.
      throw failedError(`Cannot flush the folder ${path}`, error);
    } finally {
      folder.close();
    }
  },

  makeFolder(path) {
    return Deno.mkdir(path, { recursive: true });
  },

  openFileSystem,

  list: listFolder,
};
