/** What the file system of a folder holds, and what room it has for more. */
import { statfs } from "node:fs";

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
