/** The file system of this machine, as {@link Files}. */
import { openBulkFiles } from "./bulk_files.ts";
import {
  type DurableFile,
  failedError,
  type FileFacts,
  type Files,
  type OpenFile,
} from "./files.ts";
import { listFolder } from "./folder_listing.ts";
import { cString, type LibC, loadLibC, O_CLOEXEC } from "./libc.ts";
import { readAtOnce } from "./small_reads.ts";

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
      // Even if the system was only short of memory: a flush that was begun and failed must not be repeated.
      throw failedError(`Cannot flush the folder ${path}`, error);
    } finally {
      folder.close();
    }
  },

  makeFolder(path) {
    return Deno.mkdir(path, { recursive: true });
  },

  openBulkFiles,

  list: listFolder,
};

// open(2) on Linux.
const O_WRONLY = 1;

const O_DSYNC = 0o10000;

class DescriptorFile implements DurableFile {
  readonly #libc: NonNullable<LibC>;
  readonly #descriptor: number;

  constructor(libc: NonNullable<LibC>, descriptor: number) {
    this.#libc = libc;
    this.#descriptor = descriptor;
  }

  /** Returns the call's own promise: a promise around it would resolve later in the turn of the event loop. */
  write(bytes: Uint8Array<ArrayBuffer>, offset: number): Promise<bigint> {
    return this.#libc.pwrite(this.#descriptor, bytes, BigInt(bytes.length), BigInt(offset));
  }

  close(): void {
    this.#libc.close(this.#descriptor);
  }
}

/** As `Files.openDurable`: `undefined` without the C library of Linux, or if the file cannot be opened. */
export function openDurable(path: string): DurableFile | undefined {
  const libc = loadLibC();
  if (libc === undefined) return undefined;
  const descriptor = libc.open(cString(path), O_WRONLY | O_DSYNC | O_CLOEXEC, 0);
  return descriptor < 0 ? undefined : new DescriptorFile(libc, descriptor);
}
