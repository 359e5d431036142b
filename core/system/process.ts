/** This process: how many files and sockets it may have open, who may read its files, its signals. */
import { loadLibC } from "./libc.ts";

// sys/resource.h of Linux. A struct rlimit has two numbers: the limit (soft), and how far it may be raised (hard).
const RLIMIT_NOFILE = 7;

/** Descriptors that no connection may take: for the runtime, listening sockets, the journal and the checkpoint. */
const RESERVED = 64;

/** Descriptors of a connection: its socket, and the file of a large value that it receives or sends. */
const PER_CONNECTION = 2;

/**
 * Raises the limit of open files and sockets as far as the process may, and returns it. `undefined` if there is no
 * limit, or without the C library of Linux.
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

/** Returns for how many connections `limit` descriptors suffice; at least 1. */
export function connectionsWithin(limit: number): number {
  return Math.max(1, Math.floor((limit - RESERVED) / PER_CONNECTION));
}

/** Bits of a mode, and of the umask: all that the group may do, and all that others may do. */
const GROUP = 0o070;
const OTHERS = 0o007;

/**
 * Lets only this user read and write the files that the process makes from now on. If the group may do everything in
 * the data directory `path`, as in a volume with `fsGroup`, these files are for the group, too. The umask does this, so
 * it holds for every way to make a file. Without the C library of Linux the umask stays what it was.
 */
export async function keepFilesPrivate(path: string): Promise<void> {
  loadLibC()?.umask(await isOfGroup(path) ? OTHERS : GROUP | OTHERS);
}

async function isOfGroup(path: string): Promise<boolean> {
  try {
    const { mode } = await Deno.stat(path);
    return mode !== null && (mode & GROUP) === GROUP;
  } catch {
    // The folder does not exist yet, or the step that opens it says what is wrong.
    return false;
  }
}

// signal.h of Linux.
const SIGHUP = 1;

const SIG_IGN = 1n;

/** More than the bytes of a `struct sigaction`, which begins with the handler. */
const SIGACTION_BYTES = 256;

/**
 * Whether the process ignores SIGHUP, as nohup(1) starts it: listening to the signal would undo that. `false` without
 * the C library of Linux.
 */
export function ignoresHangup(): boolean {
  const action = new Uint8Array(SIGACTION_BYTES);
  if (loadLibC()?.sigaction(SIGHUP, null, action) !== 0) return false;
  return new DataView(action.buffer).getBigUint64(0, true) === SIG_IGN;
}
