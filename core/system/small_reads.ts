/**
 * Small files read without a promise, if the system has them in memory. The runtime's own functions hand each step to
 * another thread, which costs more than the system call itself.
 */
import { existsSync } from "node:fs";
import { cString, loadLibC, O_CLOEXEC } from "./libc.ts";

// open(2) of Linux. O_NONBLOCK: a pipe must not hold up the event loop. O_NOATIME: else the first load after each save
// would write the time of access to the disk.
const O_NONBLOCK = 0o4000;
const O_NOATIME = 0o1000000;
const READING = O_CLOEXEC | O_NONBLOCK;

// access(2).
const F_OK = 0;

/**
 * A read that takes longer (milliseconds) was not served from memory, or another process had its turn. If that happens
 * again and again, the disk is at work, and waiting is better left to threads.
 */
const SLOW_MS = 0.5;
const SLOW_SCORE = 2.5;
const SCORE_DECAY = 0.9;

/** How many reads are left to threads then. */
const DECLINED = 100;

const MOST_PATH_BYTES = 4096;

/** Judges by the last reads whether the disk is too slow to wait for it. */
class DiskSpeed {
  #slowness = 0;
  #left = 0;

  /** Whether the next read is to be left to threads. */
  isSlow(): boolean {
    return this.#left > 0 && this.#left-- > 0;
  }

  /** Takes the time of a read. */
  measured(ms: number): void {
    this.#slowness = SCORE_DECAY * this.#slowness + (ms > SLOW_MS ? 1 : 0);
    if (this.#slowness <= SLOW_SCORE) return;
    this.#slowness = 0;
    this.#left = DECLINED;
  }
}

const encoder = new TextEncoder();
const reading = new DiskSpeed();
const path = new Uint8Array(MOST_PATH_BYTES);
let content = new Uint8Array();

/** Writes `name` for the C library; returns `false` if it is too long. */
function put(name: string, into: Uint8Array): boolean {
  const { read, written } = encoder.encodeInto(name, into);
  if (read < name.length || written === into.length) return false;
  into[written] = 0;
  return true;
}

/**
 * Returns the content of the file `name` if it has 1 to `most` bytes, and the disk is not slow; valid until the next
 * call. `undefined` for every other file, and without the C library of Linux.
 */
export function readAtOnce(name: string, most: number): Uint8Array<ArrayBuffer> | undefined {
  const libc = reading.isSlow() ? undefined : loadLibC();
  if (libc === undefined || !put(name, path)) return undefined;
  const start = performance.now();
  let file = libc.open(path, READING | O_NOATIME, 0);
  // O_NOATIME is for the owner of the file only.
  if (file < 0) file = libc.open(path, READING, 0);
  if (file < 0) return undefined;
  // With room for one more byte a longer file is told from one of `most` bytes.
  if (content.length <= most) content = new Uint8Array(most + 1);
  const length = Number(libc.read(file, content, BigInt(most + 1)));
  libc.close(file);
  reading.measured(performance.now() - start);
  return length > 0 && length <= most ? content.subarray(0, length) : undefined;
}

/** Returns a function that tells whether `name` exists. It costs less than the runtime's, for a question of each request. */
export function existenceOf(name: string): () => boolean {
  const libc = loadLibC();
  if (libc === undefined) return () => existsSync(name);
  const bytes = cString(name);
  return () => libc.access(bytes, F_OK) === 0;
}
