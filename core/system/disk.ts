/** The file system of a folder: its room, and its name. */
import { encodeHex } from "@std/encoding/hex";
import { statfs } from "node:fs";
import { readAtOnce } from "./small_reads.ts";

/** Room on a file system, for processes that are not root. */
export interface DiskRoom {
  /** Bytes that all its files take, also those of other programs. */
  readonly usedBytes: number;
  readonly freeBytes: number;
  /** How many files can still be made; `null` if the file system does not limit that. */
  readonly freeFiles: number | null;
  /** Each file takes whole blocks of so many bytes. */
  readonly blockBytes: number;
}

/** Asks for the room on the file system of `path`. @throws {Error} The error of the system, if it cannot tell. */
export async function diskRoom(path: string): Promise<DiskRoom> {
  const { promise, resolve, reject } = Promise.withResolvers<DiskRoom>();
  statfs(path, (error, stats) => {
    if (error !== null) return reject(error);
    const { bavail, bfree, blocks, bsize, files, ffree } = stats;
    resolve({
      usedBytes: (blocks - bfree) * bsize,
      freeBytes: bavail * bsize,
      freeFiles: files === 0 ? null : ffree,
      blockBytes: bsize,
    });
  });
  return await promise;
}

/** A random text, another one for each start of the kernel, and the same in all its containers: random(4). */
const BOOT_ID = "/proc/sys/kernel/random/boot_id";

/**
 * Returns a name of the file system of `path`, 16 hex digits: the same for all processes on this machine, and different
 * from the names on every other machine. `undefined` on a system that is not Linux. One disk behind two file systems has
 * two names: subvolumes of btrfs, thin volumes, a share that two machines mount.
 */
export async function fileSystemId(path: string): Promise<string | undefined> {
  // Through the C library: the runtime reads /proc only for programs with every permission.
  const bytes = readAtOnce(BOOT_ID, 64);
  if (bytes === undefined) return undefined;
  const boot = new TextDecoder().decode(bytes);
  const { dev } = await Deno.stat(path);
  // Hashed: the text identifies the machine, and the name is told to others.
  const text = new TextEncoder().encode(`${boot} ${dev}`);
  const hash = await crypto.subtle.digest("SHA-256", text);
  return encodeHex(hash).slice(0, 16);
}
