/** Connections that end by a reset, which the runtime has no way to make: by the C library. */

const AF_INET = 2;
const SOCK_STREAM = 1;
const SOL_SOCKET = 1;
const SO_LINGER = 13;

/** Connects to a port of loopback so many times, and resets each connection at once. */
export function resetConnections(port: number, count: number): void {
  const libc = Deno.dlopen("libc.so.6", {
    socket: { parameters: ["i32", "i32", "i32"], result: "i32" },
    connect: { parameters: ["i32", "buffer", "u32"], result: "i32" },
    setsockopt: { parameters: ["i32", "i32", "i32", "buffer", "u32"], result: "i32" },
    close: { parameters: ["i32"], result: "i32" },
  });
  const { socket, connect, setsockopt, close } = libc.symbols;
  // struct sockaddr_in, struct linger: to linger for no time is to reset.
  const address = new Uint8Array([AF_INET, 0, port >> 8, port & 0xff, 127, 0, 0, 1, ...Array(8)]);
  const linger = new Uint8Array([1, 0, 0, 0, 0, 0, 0, 0]);
  try {
    for (let i = 0; i < count; i++) {
      const descriptor = socket(AF_INET, SOCK_STREAM, 0);
      const failed = setsockopt(descriptor, SOL_SOCKET, SO_LINGER, linger, linger.length) !== 0 ||
        connect(descriptor, address, address.length) !== 0 || close(descriptor) !== 0;
      if (failed) throw new Error("Cannot connect");
    }
  } finally {
    libc.close();
  }
}
