/** What the file system of a folder holds, and what room it has for more. */
import { encodeHex } from "@std/encoding/hex";
import { statfs } from "node:fs";
import { readAtOnce } from "./small_reads.ts";

/** Room on a file system, as those who are not root may use it. */
export interface DiskRoom {
  /** What all its files take, those of others included. */
  readonly usedBytes: number;
  readonly freeBytes: number;
  /** How many files can still be made; `null` where the file system does not count them. */
  readonly freeFiles: number | null;
  /** A file takes room in blocks of so many bytes. */
  readonly blockBytes: number;
}

/** Looks up the room for more beside `path`. @throws What the system says, if it cannot tell. */
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

/** One for each start of the kernel, the same in all its containers; random(4). */
const BOOT_ID = "/proc/sys/kernel/random/boot_id";

/**
 * Returns a name of the file system that `path` is on: the same for everyone on this machine, and
 * another one on every other machine. `undefined` where the system does not tell of itself (not
 * Linux). What is one disk behind two file systems (subvolumes of btrfs, thin volumes, a share mounted by
 * two machines) has two names.
 */
export async function fileSystemId(path: string): Promise<string | undefined> {
  // Through the C library: the runtime keeps /proc from those who may not do everything.
  const bytes = readAtOnce(BOOT_ID, 64);
  if (bytes === undefined) return undefined;
  const boot = new TextDecoder().decode(bytes);
  const { dev } = await Deno.stat(path);
  // Hashed, since it names the machine to others.
  const text = new TextEncoder().encode(`${boot} ${dev}`);
  const hash = await crypto.subtle.digest("SHA-256", text);
  return encodeHex(hash).slice(0, 16);
}
