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
