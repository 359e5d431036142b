/**
 * Ends TLS connections for good. The runtime closes the socket of one only when its handshake or its last
 * write is through, so a client that is silent would keep it open for ever, be it long closed here.
 */
import { loadLibC } from "./libc.ts";
import { addressKey, addressOf } from "./socket_address.ts";

// sys/socket.h of Linux.
const SHUT_RDWR = 2;

/**
 * Shuts down the sockets of this process whose other ends are `peers`; to be called before anything is
 * awaited after they were closed. Does nothing where the C library cannot be had: there such a socket
 * stays until its client goes. Never throws.
 *
 * @param mostOpen The most files and sockets that this process has open at once.
 */
export function endSockets(peers: Iterable<Deno.NetAddr>, mostOpen: number): void {
  const wanted = new Set(Array.from(peers, ({ hostname, port }) => addressKey(hostname, port)));
  const libc = wanted.size === 0 ? undefined : loadLibC();
  if (libc === undefined) return;
  // Not those of /proc/self/fd, which Deno 2.9 shows only to who may do everything. The system gives
  // out the lowest number that is free, so what is open lies below the most that ever was.
  for (let descriptor = 0; descriptor < mostOpen; descriptor++) {
    const peer = addressOf(descriptor, libc.getpeername);
    if (peer !== undefined && wanted.has(peer)) libc.shutdown(descriptor, SHUT_RDWR);
  }
}
