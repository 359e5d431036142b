/** Descriptors: the system lets a process have only so many files and sockets open at once. */
import { loadLibC } from "./libc.ts";

// sys/resource.h of Linux: struct rlimit is the limit that counts, and how far it may be raised.
const RLIMIT_NOFILE = 7;

/**
 * Descriptors that no connection may take: those of the runtime, of what listens, and of the journal and
 * the files that are being made of it.
 */
const RESERVED = 64;

/** A connection's socket, and the file of the large value that is on its way there. */
const PER_CONNECTION = 2;

/**
 * Raises the limit of open files and sockets as far as the process may, and returns it. `undefined` where
 * there is none, or the C library cannot be had.
 */
export function raiseDescriptorLimit(): number | undefined {
  const libc = loadLibC();
  const limits = new BigUint64Array(2);
  const bytes = new Uint8Array(limits.buffer);
  if (libc?.getrlimit(RLIMIT_NOFILE, bytes) !== 0) return undefined;
  const [soft = 0n, hard = 0n] = limits;
  limits[0] = hard;
  const limit = libc.setrlimit(RLIMIT_NOFILE, bytes) === 0 ? hard : soft;
  return limit > BigInt(Number.MAX_SAFE_INTEGER) ? undefined : Number(limit);
}

/** The most connections for which `limit` descriptors suffice; at least one. */
export function connectionsWithin(limit: number): number {
  return Math.max(1, Math.floor((limit - RESERVED) / PER_CONNECTION));
}

const GROUP = 0o070;

const OTHERS = 0o007;

/**
 * Has the files that this process makes from now on be for its user alone; for the group too if the data
 * directory `path` is there and the group may do everything in it, as in a volume with `fsGroup`. By the umask, so
 * that no way to make a file can be forgotten. What is there keeps what it has. On another system than Linux, or
 * with another C library, the umask stays what it was.
 */
export async function keepFilesPrivate(path: string): Promise<void> {
  loadLibC()?.umask(await isOfGroup(path) ? OTHERS : GROUP | OTHERS);
}

async function isOfGroup(path: string): Promise<boolean> {
  try {
    const { mode } = await Deno.stat(path);
    return mode !== null && (mode & GROUP) === GROUP;
  } catch {
    // It is to be made, or whoever needs it says what is wrong.
    return false;
  }
}

// signal.h of Linux.
const SIGHUP = 1;

const SIG_IGN = 1n;

/** Room for a `struct sigaction` (bytes), whose handler stands first. */
const SIGACTION_BYTES = 256;

/**
 * Whether the process ignores SIGHUP, as one that was started by nohup(1); to listen to the signal would
 * undo that. `false` where the C library cannot be had.
 */
export function ignoresHangup(): boolean {
  const action = new Uint8Array(SIGACTION_BYTES);
  if (loadLibC()?.sigaction(SIGHUP, null, action) !== 0) return false;
  return new DataView(action.buffer).getBigUint64(0, true) === SIG_IGN;
}
