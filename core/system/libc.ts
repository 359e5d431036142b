/**
 * The calls of the C library that the runtime has no function for. Each module that makes such a call says what it is
 * for, and does without it on systems other than Linux.
 */

/** A flag of open(2) on Linux: programs that this one starts do not inherit the descriptor. */
export const O_CLOEXEC = 0o2000000;

const encoder = new TextEncoder();

/** Returns `text` for the C library: UTF-8 with a zero at the end. */
export function cString(text: string): Uint8Array<ArrayBuffer> {
  return encoder.encode(text + "\0");
}

/** The functions of the C library; `undefined` without it. */
export type LibC = ReturnType<typeof openLibC>;

let loaded: { readonly libc: LibC } | undefined;

/**
 * Loads the C library at the first call. That needs a permission, which may be given up afterwards. `undefined` on a
 * system other than Linux, with a C library other than glibc, or without the permission.
 */
export function loadLibC(): LibC {
  loaded ??= { libc: openLibC() };
  return loaded.libc;
}

function openLibC() {
  if (Deno.build.os !== "linux") return undefined;
  try {
    return Deno.dlopen("libc.so.6", {
      open: { parameters: ["buffer", "i32", "u32"], result: "i32" },
      // Waits for the end of a child process.
      waitid: { parameters: ["i32", "u32", "buffer", "i32"], result: "i32" },
      read: { parameters: ["i32", "buffer", "usize"], result: "isize" },
      // On another thread, since it may wait for a pipe.
      readWaiting: {
        name: "read",
        parameters: ["i32", "buffer", "usize"],
        result: "isize",
        nonblocking: true,
      },
      access: { parameters: ["buffer", "i32"], result: "i32" },
      getdents64: { parameters: ["i32", "buffer", "usize"], result: "isize" },
      umask: { parameters: ["u32"], result: "u32" },
      uname: { parameters: ["buffer"], result: "i32" },
      // On another thread, since they wait for the disk.
      pwrite: { parameters: ["i32", "buffer", "usize", "i64"], result: "isize", nonblocking: true },
      syncfs: { parameters: ["i32"], result: "i32", nonblocking: true },
      close: { parameters: ["i32"], result: "i32" },
      getpeername: { parameters: ["i32", "buffer", "buffer"], result: "i32" },
      shutdown: { parameters: ["i32", "i32"], result: "i32" },
      getrlimit: { parameters: ["i32", "buffer"], result: "i32" },
      setrlimit: { parameters: ["i32", "buffer"], result: "i32" },
      sigaction: { parameters: ["i32", "buffer", "buffer"], result: "i32" },
    }).symbols;
  } catch {
    return undefined;
  }
}
