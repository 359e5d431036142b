/** A disk that is really full: a small file system in memory, which only root can mount. */
import { emptyDir } from "@std/fs/empty-dir";
import { join } from "@std/path";
import { TempDir } from "./program.ts";

/** Room on the disk is taken in pages of so many bytes. */
export const PAGE_BYTES = 4096;

/** How many files a disk has room for at first whose files are counted. */
const FREE_FILES = 64;

const DISK_FULL = /os error 28\b/;

/** A file system in memory that is soon full: a data directory, and ballast beside it. */
export class SmallDisk implements AsyncDisposable {
  readonly #mountPoint: TempDir;

  private constructor(mountPoint: TempDir) {
    this.#mountPoint = mountPoint;
  }

  /** Why no file system can be mounted here; `undefined` where it can. */
  static async whyNot(): Promise<string | undefined> {
    try {
      await using _disk = await SmallDisk.mount(16 * PAGE_BYTES);
      return undefined;
    } catch (error) {
      if (error instanceof MountError) return error.message;
      throw error;
    }
  }

  /** Mounts one of so many bytes, for so many files. @throws {MountError} Where that cannot be. */
  static async mount(bytes: number, files?: number): Promise<SmallDisk> {
    const mountPoint = new TempDir();
    try {
      const options = [`size=${bytes}`, ...(files === undefined ? [] : [`nr_inodes=${files}`])];
      await run("mount", ["-t", "tmpfs", "-o", options.join(), "kvs-test", mountPoint.path]);
    } catch (error) {
      await mountPoint[Symbol.asyncDispose]();
      throw error;
    }
    const disk = new SmallDisk(mountPoint);
    await Deno.writeFile(disk.#ballast, new Uint8Array());
    // Where the number of files is what counts, most of them are ballast too.
    await Deno.mkdir(disk.#ballastFiles);
    for (let i = FREE_FILES; i < (files ?? 0); i++) {
      await Deno.writeFile(join(disk.#ballastFiles, String(i)), new Uint8Array());
    }
    return disk;
  }

  get dataDir(): string {
    return this.#mountPoint.join("data");
  }

  get #ballast(): string {
    return this.#mountPoint.join("ballast");
  }

  get #ballastFiles(): string {
    return this.#mountPoint.join("ballast-files");
  }

  /** Makes the ballast so large. */
  async fillUpTo(bytes: number): Promise<void> {
    await Deno.writeFile(this.#ballast, new Uint8Array(bytes));
  }

  /** Makes the ballast take all the room that is left. */
  async fill(): Promise<void> {
    using file = await Deno.open(this.#ballast, { append: true });
    const page = new Uint8Array(PAGE_BYTES);
    try {
      while (true) await file.write(page);
    } catch (error) {
      if (!(error instanceof Error && DISK_FULL.test(error.message))) throw error;
    }
  }

  /** Makes the ballast smaller. */
  async shrink(bytes: number): Promise<void> {
    const { size } = await Deno.stat(this.#ballast);
    await Deno.truncate(this.#ballast, Math.max(0, size - bytes));
  }

  /** Takes the ballast away. */
  async free(): Promise<void> {
    await Deno.truncate(this.#ballast, 0);
    await emptyDir(this.#ballastFiles);
  }

  /** Makes the disk so large, as one expands a volume. */
  async grow(bytes: number): Promise<void> {
    await run("mount", ["-o", `remount,size=${bytes}`, this.#mountPoint.path]);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await run("umount", [this.#mountPoint.path]);
    await this.#mountPoint[Symbol.asyncDispose]();
  }
}

/** Mounting needs a program and rights that are not there everywhere. */
class MountError extends Error {}

async function run(command: string, args: readonly string[]): Promise<void> {
  let output: Deno.CommandOutput;
  try {
    output = await new Deno.Command(command, { args: [...args] }).output();
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) throw new MountError(error.message);
    throw error;
  }
  const lines = new TextDecoder().decode(output.stderr).trim().split("\n");
  if (!output.success) throw new MountError(lines.join("; "));
}
