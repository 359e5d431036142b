/**
 * Files below /dev, /proc and /sys. The runtime opens them only for programs with every permission. But users name
 * them: `/dev/stdin`, or `/dev/fd/63`, which a shell passes for `<(...)`.
 */
import { StartError } from "../errors.ts";
import { cString, loadLibC, O_CLOEXEC } from "./libc.ts";

/** Bytes that one read takes at most. */
const PIECE_BYTES = 65_536;

/**
 * Opens such a file for one reader. To be called before the permission to load the C library is given up. `undefined`
 * without the C library of Linux.
 *
 * @throws {StartError} If the file cannot be opened; the stream fails with one if the file cannot be read.
 */
export function openSpecialFile(path: string): ReadableStream<Uint8Array<ArrayBuffer>> | undefined {
  const libc = loadLibC();
  if (libc === undefined) return undefined;
  const descriptor = libc.open(cString(path), O_CLOEXEC, 0);
  if (descriptor < 0) throw new StartError(`Cannot read ${path}: it cannot be opened`);
  async function* pieces(): AsyncGenerator<Uint8Array<ArrayBuffer>> {
    try {
      while (true) {
        const piece = new Uint8Array(PIECE_BYTES);
        const size = Number(await libc?.readWaiting(descriptor, piece, BigInt(piece.length)));
        if (!(size >= 0)) throw new StartError(`Cannot read ${path}: reading it failed`);
        if (size === 0) return;
        yield piece.subarray(0, size);
      }
    } finally {
      libc?.close(descriptor);
    }
  }
  return ReadableStream.from(pieces());
}
