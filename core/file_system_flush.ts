/**
 * Flushes all of a file system with one system call. The checkpoint writes thousands of small files;
 * to flush each costs the file system a transaction each time, and takes the disk away from the
 * journal for longer than all of them together.
 */
import type { FileSystem } from "./files.ts";
import { loadLibC } from "./libc.ts";

/** The first Linux whose syncfs(2) reports that something could not be written. */
const LEAST_LINUX = [5, 8] as const;

// From so many files on it costs less than to flush each.
const LEAST_FILES = 32;

// open(2) on Linux.
const O_CLOEXEC = 0o2000000;

const encoder = new TextEncoder();

/**
 * Opens the file system that the folder `path` is on, to flush `files` files. Resolves to `undefined`
 * where these are few, where it cannot be flushed as a whole, or where failures would go unnoticed:
 * another system, an older Linux, another C library, no permission to call it.
 */
export async function openFileSystem(
  path: string,
  files: number,
): Promise<FileSystem | undefined> {
  if (files < LEAST_FILES) return undefined;
  const libc = loadLibC();
  if (libc === undefined || !await reportsFailures()) return undefined;
  // Failures are reported from here on.
  const folder = libc.open(encoder.encode(path + "\0"), O_CLOEXEC, 0);
  if (folder < 0) return undefined;
  return {
    async flush() {
      const failed = await libc.syncfs(folder);
      if (failed !== 0) throw new Error("the file system could not be flushed");
    },
    close() {
      libc.close(folder);
    },
  };
}

let reports: boolean | undefined;

async function reportsFailures(): Promise<boolean> {
  if (reports !== undefined) return reports;
  try {
    const release = await Deno.readTextFile("/proc/sys/kernel/osrelease");
    const [major = 0, minor = 0] = release.split(".").map(Number);
    reports = major > LEAST_LINUX[0] || major === LEAST_LINUX[0] && minor >= LEAST_LINUX[1];
  } catch {
    reports = false;
  }
  return reports;
}
