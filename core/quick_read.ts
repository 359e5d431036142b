/**
 * Reads small files at once, where the system has them in memory. The runtime's own calls hand each
 * step to another thread and resolve the path anew, which for a value of 100 bytes costs five times
 * what the three system calls do.
 */
import { loadLibC } from "./libc.ts";

// open(2) on Linux. What is no file must not hold us up.
const O_CLOEXEC = 0o2000000;
const O_NONBLOCK = 0o4000;

/**
 * A read that takes longer (ms) was not from memory, or another process had its turn meanwhile.
 * Where such reads come close together the disk is at work, and threads are better at waiting.
 */
const SLOW_MS = 0.5;
const SLOW_SCORE = 2.5;
const SCORE_DECAY = 0.9;

/** How many reads are declined then. */
const DECLINED = 100;

const MOST_PATH_BYTES = 4096;

const encoder = new TextEncoder();
const path = new Uint8Array(MOST_PATH_BYTES);
let content = new Uint8Array();
let slowness = 0;
let declining = 0;

/**
 * Returns the content of the file at `name` if it has from 1 to `most` bytes and can be had at once;
 * `undefined` in every other case, which another way of reading then has to tell apart.
 */
export function readAtOnce(name: string, most: number): Uint8Array<ArrayBuffer> | undefined {
  if (declining > 0) {
    declining--;
    return undefined;
  }
  const libc = loadLibC();
  if (libc === undefined) return undefined;
  const { read, written } = encoder.encodeInto(name, path);
  if (read < name.length || written === MOST_PATH_BYTES) return undefined;
  path[written] = 0;
  const start = performance.now();
  const file = libc.open(path, O_CLOEXEC | O_NONBLOCK);
  if (file < 0) return undefined;
  // One more than may be there tells whether there is more.
  if (content.length <= most) content = new Uint8Array(most + 1);
  const length = Number(libc.read(file, content, BigInt(most + 1)));
  libc.close(file);
  slowness = SCORE_DECAY * slowness + (performance.now() - start > SLOW_MS ? 1 : 0);
  if (slowness > SLOW_SCORE) {
    slowness = 0;
    declining = DECLINED;
  }
  return length > 0 && length <= most ? content.slice(0, length) : undefined;
}
