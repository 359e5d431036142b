/**
 * DATA_DIR is made if it is missing and held by one server at a time. All files that are no key files are in one hidden
 * folder in it.
 */
import { deadline } from "@std/async/deadline";
import { ensureDir } from "@std/fs/ensure-dir";
import { dirname, join, resolve } from "@std/path";
import { denoFiles } from "../system/deno_files.ts";
import { messageOf, StartError } from "../errors.ts";
import { type Files } from "../system/files.ts";

/** The hidden folder in DATA_DIR. On-disk name. */
export const HIDDEN_DIR = ".kvs";

/** File in the hidden folder that the server holds locked, and that says which server it is. On-disk name. */
const LOCK_FILE = "lock";

/** How long a lock may take (milliseconds): flock answers at once unless another process holds it. */
const LOCK_TIMEOUT_MS = 500;

/** The same for a process that only looks (milliseconds), as the hook, which must not take long. */
const LOOK_TIMEOUT_MS = 50;

/** Who holds a data folder, as written into its lock file. */
export interface Holder {
  readonly pid: number;
  readonly host: string;
  /** Where it listens, as HOST:PORT. */
  readonly address: string;
  /** Where it tells of its health without TLS, as HOST:PORT on loopback; absent if `address` does that. */
  readonly health?: string;
  /** ISO 8601, UTC. */
  readonly since: string;
}

/** A data folder that this process holds. */
export class DataDir {
  readonly path: string;
  readonly hiddenPath: string;
  readonly #folder: Deno.FsFile;
  readonly #lock: Deno.FsFile;

  private constructor(path: string, folder: Deno.FsFile, lock: Deno.FsFile) {
    this.path = path;
    this.hiddenPath = join(path, HIDDEN_DIR);
    this.#folder = folder;
    this.#lock = lock;
  }

  /**
   * Makes the folder if it is missing, and locks it. The lock is one of the kernel (flock), so it ends with the
   * process, and no stale file can keep a server from starting. The folder itself is locked, since a lock file could be
   * removed by hand. A network file system may lock files only, so a file in the hidden folder is locked as well.
   *
   * @throws {StartError} If it cannot be made or written, or another server holds it.
   */
  static async open(path: string, files: Pick<Files, "syncFolder"> = denoFiles): Promise<DataDir> {
    try {
      await checkOpens(join(path, HIDDEN_DIR));
      await ensureDir(join(path, HIDDEN_DIR));
      await flushNames(path, files);
      const folder = await Deno.open(path);
      if (!await isFolderFree(folder, LOCK_TIMEOUT_MS)) throw await heldError(path);
      const lock = await Deno.open(join(path, HIDDEN_DIR, LOCK_FILE), {
        read: true,
        write: true,
        create: true,
      });
      if (!await isFree(lock, LOCK_TIMEOUT_MS)) throw await heldError(path);
      return new DataDir(path, folder, lock);
    } catch (error) {
      if (error instanceof StartError) throw error;
      throw new StartError(`Cannot use data directory ${path}: ${messageOf(error)}`, {
        cause: error,
      });
    }
  }

  /**
   * Writes who holds the folder, for people and for the lifecycle hook. It is written over the last holder, so a full
   * disk matters at the first start only.
   *
   * @throws What the runtime throws if the file cannot be written.
   */
  async announce(holder: Holder): Promise<void> {
    const bytes = new TextEncoder().encode(JSON.stringify(holder) + "\n");
    await this.#lock.seek(0, Deno.SeekMode.Start);
    for (let at = 0; at < bytes.length;) at += await this.#lock.write(bytes.subarray(at));
    await this.#lock.truncate(bytes.length);
  }

  /** Gives up the locks. */
  close(): void {
    this.#lock.close();
    this.#folder.close();
  }
}

/**
 * Opens the folder `path`, or the nearest folder above that exists. In some places the runtime makes folders and
 * opens no files, which has to be noticed before anything is made.
 *
 * @throws {Deno.errors.NotCapable} Below /dev, /proc and /sys, also by a symbolic link.
 */
async function checkOpens(path: string): Promise<void> {
  for (let folder = resolve(path);; folder = dirname(folder)) {
    try {
      (await Deno.open(folder)).close();
      return;
    } catch (error) {
      if (error instanceof Deno.errors.NotCapable) throw error;
      // Other faults are told by the step that needs the folder. The root always exists.
      if (!(error instanceof Deno.errors.NotFound)) return;
    }
  }
}

/**
 * Makes the names of the folder `path` and of the folders above it durable, up to the mount point of its file system.
 * They need not be new: the server that made them may have been killed before it did this.
 */
async function flushNames(path: string, files: Pick<Files, "syncFolder">): Promise<void> {
  const { dev } = await Deno.stat(path);
  let folder = resolve(path);
  for (let above = dirname(folder); above !== folder; above = dirname(folder)) {
    folder = above;
    try {
      if ((await Deno.stat(folder)).dev !== dev) return;
      await files.syncFolder(folder);
    } catch (error) {
      // A user who may not read a folder has made nothing in it.
      if (error instanceof Deno.errors.PermissionDenied) return;
      throw error;
    }
  }
}

/**
 * Returns which server holds the folder `path`; `undefined` if none does.
 *
 * @throws {StartError} If it cannot be told.
 */
export async function findHolder(path: string): Promise<Holder | undefined> {
  try {
    using lock = await Deno.open(join(path, HIDDEN_DIR, LOCK_FILE), { read: true });
    // Another process that looks holds the lock for a moment; then the holder turns out not to answer.
    if (await isFree(lock, LOOK_TIMEOUT_MS)) return undefined;
    return await readHolder(path);
  } catch (error) {
    const isThere = !(error instanceof Deno.errors.NotFound);
    if (!isThere && !await isLocked(path)) return undefined;
    const why = isThere ? messageOf(error) : "its lock file was removed";
    throw new StartError(`Cannot tell who holds ${path}: ${why}`, { cause: error });
  }
}

/** Whether a server holds the folder itself. */
async function isLocked(path: string): Promise<boolean> {
  try {
    using folder = await Deno.open(path);
    return !await isFolderFree(folder, LOOK_TIMEOUT_MS);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}

/** As {@link isFree}, for a folder; it counts as free if folders cannot be locked. */
async function isFolderFree(folder: Deno.FsFile, timeoutMs: number): Promise<boolean> {
  try {
    return await isFree(folder, timeoutMs);
  } catch {
    return true;
  }
}

/** Whether no other process holds the lock; then this process holds it until `lock` is closed. */
async function isFree(lock: Deno.FsFile, timeoutMs: number): Promise<boolean> {
  try {
    await deadline(lock.lock(true), timeoutMs);
    return true;
  } catch (error) {
    if (error instanceof DOMException) return false;
    throw error;
  }
}

/** Returns which server last announced itself in the folder `path`; `undefined` if none has. */
async function readHolder(path: string): Promise<Holder | undefined> {
  try {
    const holder: unknown = JSON.parse(await Deno.readTextFile(join(path, HIDDEN_DIR, LOCK_FILE)));
    return isHolder(holder) ? holder : undefined;
  } catch (error) {
    // There is no file, or a server is just writing it.
    if (error instanceof Deno.errors.NotFound || error instanceof SyntaxError) return undefined;
    throw error;
  }
}

async function heldError(path: string): Promise<StartError> {
  const holder = await readHolder(path);
  const who = holder === undefined
    ? "another server, which does not say who it is: it is just starting, or its lock file was removed"
    : `the kvs server with pid ${holder.pid} on ${holder.host} at ${holder.address} since ${holder.since}`;
  return new StartError(`Cannot use data directory ${path}: held by ${who}`);
}

function isHolder(value: unknown): value is Holder {
  return typeof value === "object" && value !== null &&
    "pid" in value && typeof value.pid === "number" &&
    "host" in value && typeof value.host === "string" &&
    "address" in value && typeof value.address === "string" &&
    "since" in value && typeof value.since === "string" &&
    (!("health" in value) || typeof value.health === "string");
}
