/**
 * Flushes all of a file system with one system call. The checkpoint writes thousands of small files;
 * to flush each costs the file system a transaction each time, and takes the disk away from the
 * journal for longer than all of them together.
 */
import type { FileSystem } from "./files.ts";

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
  if (files < LEAST_FILES || Deno.build.os !== "linux") return undefined;
  if (!await reportsFailures()) return undefined;
  const libc = openLibc();
  if (libc === undefined) return undefined;
  // Failures are reported from here on.
  const folder = libc.symbols.open(encoder.encode(path + "\0"), O_CLOEXEC);
  if (folder < 0) {
    libc.close();
    return undefined;
  }
  return {
    async flush() {
      const failed = await libc.symbols.syncfs(folder);
      if (failed !== 0) throw new Error("the file system could not be flushed");
    },
    close() {
      libc.symbols.close(folder);
      libc.close();
    },
  };
}

function openLibc() {
  try {
    return Deno.dlopen("libc.so.6", {
      open: { parameters: ["buffer", "i32"], result: "i32" },
      // On another thread: it waits for the disk.
      syncfs: { parameters: ["i32"], result: "i32", nonblocking: true },
      close: { parameters: ["i32"], result: "i32" },
    });
  } catch {
    return undefined;
  }
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
