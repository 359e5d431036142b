/**
 * The few calls of the C library that the runtime has no other way to. The module that makes such a call
 * says what the call is for, and does without it on other systems than Linux.
 */

/** A flag of open(2) on Linux: programs that this one starts do not inherit the descriptor. */
export const O_CLOEXEC = 0o2000000;

const encoder = new TextEncoder();

/** Returns `text` as the C library takes it: UTF-8, and a zero at its end. */
export function cString(text: string): Uint8Array<ArrayBuffer> {
  return encoder.encode(text + "\0");
}

/** The C library's functions, or `undefined` where there is none of the kind that is known. */
export type LibC = ReturnType<typeof openLibC>;

let loaded: { readonly libc: LibC } | undefined;

/**
 * Loads the library at the first call, which needs the permission to; what is loaded stays usable
 * when that is given up. `undefined` on another system, with another C library, or when refused.
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
      // The end of a process, if the kernel names this one as its parent.
      waitid: { parameters: ["i32", "u32", "buffer", "i32"], result: "i32" },
      read: { parameters: ["i32", "buffer", "usize"], result: "isize" },
      // On another thread: it waits for what comes through a pipe.
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
      // On another thread: they wait for the disk.
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
