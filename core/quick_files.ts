/**
 * Small files read, written and renamed at once, where the system has them in memory. The runtime's
 * own calls hand each step to another thread and resolve the path anew: for a value of 100 bytes that
 * takes several times what the system calls do, and more of the event loop's time than these.
 *
 * Nothing here flushes. Each function says when it could not do its work, and has left nothing behind
 * then: the caller does it in the other way, which also tells what is wrong.
 */
import { type LibC, loadLibC } from "./libc.ts";

// open(2) on Linux. What is no file must not hold us up.
const O_CLOEXEC = 0o2000000;
const O_NONBLOCK = 0o4000;
const O_WRONLY = 0o1;
const O_CREAT = 0o100;
const O_EXCL = 0o200;

/** Permissions of a new file, as the runtime has them; the process's mask takes from these. */
const FILE_MODE = 0o666;

/**
 * What takes longer (ms) was not done in memory, or another process had its turn meanwhile. Where
 * that happens again and again the disk is at work, and threads are better at waiting.
 */
const SLOW_MS = 0.5;
const SLOW_SCORE = 2.5;
const SCORE_DECAY = 0.9;

/** How many calls are declined then. */
const DECLINED = 100;

const MOST_PATH_BYTES = 4096;

/** Decides whether the disk answers fast enough to be waited for. */
class Haste {
  #slowness = 0;
  #declining = 0;

  isDeclining(): boolean {
    return this.#declining > 0 && this.#declining-- > 0;
  }

  took(ms: number): void {
    this.#slowness = SCORE_DECAY * this.#slowness + (ms > SLOW_MS ? 1 : 0);
    if (this.#slowness <= SLOW_SCORE) return;
    this.#slowness = 0;
    this.#declining = DECLINED;
  }
}

const encoder = new TextEncoder();
const reading = new Haste();
const writing = new Haste();
const path = new Uint8Array(MOST_PATH_BYTES);
const otherPath = new Uint8Array(MOST_PATH_BYTES);
let content = new Uint8Array();

/** Writes `name` as the C library takes it; `false` if it is too long. */
function put(name: string, into: Uint8Array): boolean {
  const { read, written } = encoder.encodeInto(name, into);
  if (read < name.length || written === into.length) return false;
  into[written] = 0;
  return true;
}

function library(haste: Haste): LibC {
  return haste.isDeclining() ? undefined : loadLibC();
}

/** Returns the content of the file at `name` if it has from 1 to `most` bytes. */
export function readAtOnce(name: string, most: number): Uint8Array<ArrayBuffer> | undefined {
  const libc = library(reading);
  if (libc === undefined || !put(name, path)) return undefined;
  const start = performance.now();
  const file = libc.open(path, O_CLOEXEC | O_NONBLOCK, 0);
  if (file < 0) return undefined;
  // One more than may be there tells whether there is more.
  if (content.length <= most) content = new Uint8Array(most + 1);
  const length = Number(libc.read(file, content, BigInt(most + 1)));
  libc.close(file);
  reading.took(performance.now() - start);
  return length > 0 && length <= most ? content.slice(0, length) : undefined;
}

/** Creates the file `name`, which must not exist, with `bytes` in it; returns whether it did. */
export function createAtOnce(name: string, bytes: Uint8Array<ArrayBuffer>): boolean {
  const libc = library(writing);
  if (libc === undefined || !put(name, path)) return false;
  const start = performance.now();
  const file = libc.open(path, O_CLOEXEC | O_WRONLY | O_CREAT | O_EXCL, FILE_MODE);
  if (file < 0) return false;
  const written = Number(libc.write(file, bytes, BigInt(bytes.length)));
  const isWhole = libc.close(file) === 0 && written === bytes.length;
  if (!isWhole) libc.unlink(path);
  writing.took(performance.now() - start);
  return isWhole;
}

/** Renames a file, replacing one that is there; returns whether it did. */
export function renameAtOnce(from: string, to: string): boolean {
  const libc = library(writing);
  if (libc === undefined || !put(from, path) || !put(to, otherPath)) return false;
  const start = performance.now();
  const isDone = libc.rename(path, otherPath) === 0;
  writing.took(performance.now() - start);
  return isDone;
}
