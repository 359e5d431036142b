/**
 * DATA_DIR: made if missing, held by one server at a time, with one hidden folder in it for all that
 * is not a key file.
 */
import { deadline } from "@std/async/deadline";
import { ensureDir } from "@std/fs/ensure-dir";
import { dirname, join, resolve } from "@std/path";
import { denoFiles } from "../system/deno_files.ts";
import { messageOf, StartError } from "../errors.ts";
import { type Files } from "../system/files.ts";

/** The hidden folder in DATA_DIR. On-disk name. */
export const HIDDEN_DIR = ".kvs";

/** File in the hidden folder that the server holds locked; says who it is. On-disk name. */
const LOCK_FILE = "lock";

/** How long a lock may take (milliseconds): flock answers at once unless another holds it. */
const LOCK_TIMEOUT_MS = 500;

/** The same for one that only looks (milliseconds), as the hook does, which must not take long. */
const LOOK_TIMEOUT_MS = 50;

/** Who holds a data folder, as written into its lock file. */
export interface Holder {
  readonly pid: number;
  readonly host: string;
  /** Where it listens, as HOST:PORT. */
  readonly address: string;
  /** Where it tells of its health without TLS, as HOST:PORT on loopback; absent where `address` does. */
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
   * Makes the folder if it is missing and takes hold of it. The hold is a lock of the kernel
   * (flock), so it ends with the process, however that ends, and no stale file can keep it. The folder
   * itself is locked: nobody can remove that by hand and have a second server beside the first. A network file system
   * may lock files only, so one in the hidden folder is locked too.
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
   * Writes who holds the folder, for people and for the lifecycle hook. Over what is there, so that a
   * full disk does not matter from the second start on; throws what the runtime does if it does.
   */
  async announce(holder: Holder): Promise<void> {
    const bytes = new TextEncoder().encode(JSON.stringify(holder) + "\n");
    await this.#lock.seek(0, Deno.SeekMode.Start);
    for (let at = 0; at < bytes.length;) at += await this.#lock.write(bytes.subarray(at));
    await this.#lock.truncate(bytes.length);
  }

  /** Lets go of the folder. */
  close(): void {
    this.#lock.close();
    this.#folder.close();
  }
}

/**
 * Opens the folder `path`, or the nearest above that is there. The runtime lets folders be made where it opens no
 * files: that is to be found before anything is left behind.
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
      // What else is wrong is told by the step that needs it. The root is always there.
      if (!(error instanceof Deno.errors.NotFound)) return;
    }
  }
}

/**
 * Makes the names of the folder `path` and of those above it durable, up to where its file system is
 * mounted: any of them may be new. Not only when they were made just now: whoever made them may have
 * been killed before this.
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
      // Whoever may not read a folder has not made anything in it.
      if (error instanceof Deno.errors.PermissionDenied) return;
      throw error;
    }
  }
}

/**
 * Returns who holds the folder `path`, `undefined` where nobody does.
 *
 * @throws {StartError} If it cannot be told.
 */
export async function findHolder(path: string): Promise<Holder | undefined> {
  try {
    using lock = await Deno.open(join(path, HIDDEN_DIR, LOCK_FILE), { read: true });
    // One that is held by mistake for a moment is found to be so when nobody answers.
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

/** As {@link isFree}, for a folder; where folders cannot be locked it counts as free. */
async function isFolderFree(folder: Deno.FsFile, timeoutMs: number): Promise<boolean> {
  try {
    return await isFree(folder, timeoutMs);
  } catch {
    return true;
  }
}

/** Whether nobody holds the lock; if so it is ours until `lock` is closed. */
async function isFree(lock: Deno.FsFile, timeoutMs: number): Promise<boolean> {
  try {
    await deadline(lock.lock(true), timeoutMs);
    return true;
  } catch (error) {
    if (error instanceof DOMException) return false;
    throw error;
  }
}

/** Returns who last announced itself in the folder `path`, `undefined` where nobody has. */
async function readHolder(path: string): Promise<Holder | undefined> {
  try {
    const holder: unknown = JSON.parse(await Deno.readTextFile(join(path, HIDDEN_DIR, LOCK_FILE)));
    return isHolder(holder) ? holder : undefined;
  } catch (error) {
    // Not there, or a server is just writing it: nobody has announced itself.
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
