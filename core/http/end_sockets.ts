/**
 * Ends TLS connections for good. The runtime closes the socket of one only when its handshake or its last
 * write is through, so a client that is silent would keep it open for ever, be it long closed here.
 */
import { loadLibC } from "../system/libc.ts";

// sys/socket.h of Linux.
const SHUT_RDWR = 2;
const AF_INET = 2;
const AF_INET6 = 10;

/** Room for an address of any family (bytes): `struct sockaddr_storage`. */
const ADDRESS_BYTES = 128;

/**
 * Shuts down the sockets of this process whose other ends are `peers`; to be called before anything is
 * awaited after they were closed. Does nothing where the C library cannot be had: there such a socket
 * stays until its client goes. Never throws.
 *
 * @param mostOpen The most files and sockets that this process has open at once.
 */
export function endSockets(peers: Iterable<Deno.NetAddr>, mostOpen: number): void {
  const wanted = new Set(Array.from(peers, ({ hostname, port }) => peerKey(hostname, port)));
  const libc = wanted.size === 0 ? undefined : loadLibC();
  if (libc === undefined) return;
  const address = new DataView(new ArrayBuffer(ADDRESS_BYTES));
  const bytes = new Uint8Array(address.buffer);
  const length = new Uint8Array(4);
  // Not those of /proc/self/fd, which Deno 2.9 shows only to who may do everything. The system gives
  // out the lowest number that is free, so what is open lies below the most that ever was.
  for (let descriptor = 0; descriptor < mostOpen; descriptor++) {
    new DataView(length.buffer).setUint32(0, ADDRESS_BYTES, true);
    if (libc.getpeername(descriptor, bytes, length) !== 0) continue;
    const host = hostOf(address);
    if (host === undefined || !wanted.has(peerKey(host, address.getUint16(2)))) continue;
    libc.shutdown(descriptor, SHUT_RDWR);
  }
}

/** The host of a `struct sockaddr`, as far as it has one. */
function hostOf(address: DataView): string | undefined {
  const family = address.getUint16(0, true);
  if (family === AF_INET) {
    return [4, 5, 6, 7].map((at) => address.getUint8(at)).join(".");
  }
  if (family !== AF_INET6) return undefined;
  return [8, 10, 12, 14, 16, 18, 20, 22].map((at) => address.getUint16(at).toString(16)).join(":");
}

/** Address and port in one form, of the several that an IPv6 address has. */
function peerKey(host: string, port: number): string {
  return `${host.includes(":") ? new URL(`http://[${host}]`).hostname : host}:${port}`;
}
