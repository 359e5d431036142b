/**
 * The few calls of the C library that the runtime has no other way to, or none as fast: listing a
 * folder of a million files in a second, small files without a thread for each step, flushing a file
 * system once for thousands of files, sockets without a promise for each step, and ending a TLS
 * connection whose client is silent.
 */

/** The C library's functions, or `undefined` where there is none of the kind that is known. */
export type LibC = ReturnType<typeof openLibC>;

let loaded: { readonly libc: LibC; readonly errno: Int32Array } | undefined;

/**
 * Loads the library at the first call, which needs the permission to; what is loaded stays usable
 * when that is given up. `undefined` on another system, with another C library, or when refused.
 */
export function loadLibC(): LibC {
  return load().libc;
}

/** The number of the error that the call just made has failed with: errno(3). */
export function lastError(): number {
  return load().errno[0] ?? 0;
}

function load() {
  if (loaded !== undefined) return loaded;
  const libc = openLibC();
  const pointer = libc?.__errno_location() ?? null;
  const errno = pointer === null
    ? new Int32Array()
    : new Int32Array(Deno.UnsafePointerView.getArrayBuffer(pointer, Int32Array.BYTES_PER_ELEMENT));
  return loaded = { libc, errno };
}

function openLibC() {
  if (Deno.build.os !== "linux") return undefined;
  try {
    return Deno.dlopen("libc.so.6", {
      open: { parameters: ["buffer", "i32", "u32"], result: "i32" },
      write: { parameters: ["i32", "buffer", "usize"], result: "isize" },
      rename: { parameters: ["buffer", "buffer"], result: "i32" },
      unlink: { parameters: ["buffer"], result: "i32" },
      read: { parameters: ["i32", "buffer", "usize"], result: "isize" },
      getdents64: { parameters: ["i32", "buffer", "usize"], result: "isize" },
      uname: { parameters: ["buffer"], result: "i32" },
      // On another thread: it waits for the disk.
      syncfs: { parameters: ["i32"], result: "i32", nonblocking: true },
      close: { parameters: ["i32"], result: "i32" },
      dup: { parameters: ["i32"], result: "i32" },
      getsockname: { parameters: ["i32", "buffer", "buffer"], result: "i32" },
      getpeername: { parameters: ["i32", "buffer", "buffer"], result: "i32" },
      accept4: { parameters: ["i32", "pointer", "pointer", "i32"], result: "i32" },
      recv: { parameters: ["i32", "buffer", "usize", "i32"], result: "i32" },
      send: { parameters: ["i32", "buffer", "usize", "i32"], result: "i32" },
      setsockopt: { parameters: ["i32", "i32", "i32", "buffer", "u32"], result: "i32" },
      getsockopt: { parameters: ["i32", "i32", "i32", "buffer", "buffer"], result: "i32" },
      shutdown: { parameters: ["i32", "i32"], result: "i32" },
      epoll_create1: { parameters: ["i32"], result: "i32" },
      epoll_ctl: { parameters: ["i32", "i32", "i32", "buffer"], result: "i32" },
      epoll_wait: { parameters: ["i32", "buffer", "i32", "i32"], result: "i32" },
      // On another thread: it may wait for ever.
      epoll_wait_elsewhere: {
        name: "epoll_wait",
        parameters: ["i32", "buffer", "i32", "i32"],
        result: "i32",
        nonblocking: true,
      },
      eventfd: { parameters: ["u32", "i32"], result: "i32" },
      __errno_location: { parameters: [], result: "pointer" },
    }).symbols;
  } catch {
    return undefined;
  }
}
