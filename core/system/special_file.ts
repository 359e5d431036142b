/**
 * Files below /dev, /proc and /sys. The runtime opens them only for programs that may do everything, but users name
 * them: `/dev/stdin`, and `/dev/fd/63` where a shell puts a pipe for `<(...)`.
 */
import { StartError } from "../errors.ts";
import { cString, loadLibC, O_CLOEXEC } from "./libc.ts";

/** How much is read at once (bytes). */
const PIECE_BYTES = 65_536;

/**
 * Opens such a file for one reader, which may have to wait for what comes. Loads the C library, so before the permission
 * for it is given up; `undefined` where it cannot be had.
 *
 * @throws {StartError} If it cannot be opened; the stream fails with one where it cannot be read.
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
