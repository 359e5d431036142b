/**
 * DATA_DIR: made if missing, held by one server at a time, with one hidden folder in it for all that
 * is not a key file.
 */
import { deadline } from "@std/async/deadline";
import { ensureDir } from "@std/fs/ensure-dir";
import { join } from "@std/path";
import { messageOf, StartError } from "./errors.ts";

/** The hidden folder in DATA_DIR. On-disk name. */
export const HIDDEN_DIR = ".kvs";

/** File in the hidden folder that the server holds locked; says who it is. On-disk name. */
const LOCK_FILE = "lock";

/** How long a lock may take (milliseconds): flock answers at once unless another holds it. */
const LOCK_TIMEOUT_MS = 500;

/** Who holds a data folder, as written into its lock file. */
export interface Holder {
  readonly pid: number;
  readonly host: string;
  /** Where it listens, as HOST:PORT. */
  readonly address: string;
  /** ISO 8601, UTC. */
  readonly since: string;
}

/** A data folder that this process holds. */
export class DataDir {
  readonly path: string;
  readonly hiddenPath: string;
  readonly #lock: Deno.FsFile;

  private constructor(path: string, lock: Deno.FsFile) {
    this.path = path;
    this.hiddenPath = join(path, HIDDEN_DIR);
    this.#lock = lock;
  }

  /**
   * Makes the folder if it is missing and takes hold of it. The hold is a lock of the kernel
   * (flock), so it ends with the process, however that ends, and no stale file can keep it.
   *
   * @throws {StartError} If it cannot be made or written, or another server holds it.
   */
  static async open(path: string): Promise<DataDir> {
    let lock: Deno.FsFile;
    try {
      await ensureDir(join(path, HIDDEN_DIR));
      lock = await Deno.open(join(path, HIDDEN_DIR, LOCK_FILE), {
        read: true,
        write: true,
        create: true,
      });
    } catch (error) {
      throw new StartError(`Cannot use data directory ${path}: ${messageOf(error)}`, {
        cause: error,
      });
    }
    try {
      await deadline(lock.lock(true), LOCK_TIMEOUT_MS);
    } catch (error) {
      throw new StartError(
        `Cannot use data directory ${path}: held by ${await describeHolder(path)}`,
        { cause: error },
      );
    }
    return new DataDir(path, lock);
  }

  /** Writes who holds the folder, for people and for the lifecycle hook. */
  async announce(holder: Holder): Promise<void> {
    await this.#lock.truncate();
    await this.#lock.seek(0, Deno.SeekMode.Start);
    await this.#lock.write(new TextEncoder().encode(JSON.stringify(holder) + "\n"));
  }

  /** Lets go of the folder. */
  async close(): Promise<void> {
    await this.#lock.truncate();
    this.#lock.close();
  }
}

/** Returns who last announced itself in the folder `path`, `undefined` where nobody has. */
export async function readHolder(path: string): Promise<Holder | undefined> {
  try {
    const holder: unknown = JSON.parse(await Deno.readTextFile(join(path, HIDDEN_DIR, LOCK_FILE)));
    return isHolder(holder) ? holder : undefined;
  } catch (error) {
    // Not there, or a server is just writing it: nobody has announced itself.
    if (error instanceof Deno.errors.NotFound || error instanceof SyntaxError) return undefined;
    throw error;
  }
}

async function describeHolder(path: string): Promise<string> {
  const holder = await readHolder(path);
  return holder === undefined
    ? "another server that is just starting or stopping"
    : `the kvs server with pid ${holder.pid} on ${holder.host} at ${holder.address} since ${holder.since}`;
}

function isHolder(value: unknown): value is Holder {
  return typeof value === "object" && value !== null &&
    "pid" in value && typeof value.pid === "number" &&
    "host" in value && typeof value.host === "string" &&
    "address" in value && typeof value.address === "string" &&
    "since" in value && typeof value.since === "string";
}
