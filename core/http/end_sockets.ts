/**
 * Ends TLS connections. The runtime closes the socket of a TLS connection only after its handshake
 * or its last write, so a silent client would keep the socket open for ever.
 */
import { loadLibC } from "../system/libc.ts";

// sys/socket.h of Linux.
const SHUT_RDWR = 2;
const AF_INET = 2;
const AF_INET6 = 10;

/** Room for an address of any family (bytes): `struct sockaddr_storage`. */
const ADDRESS_BYTES = 128;

/**
 * Shuts down the sockets of this process whose other ends are `peers`. Call it right after the
 * connections were closed, before anything is awaited. Without the C library nothing is done, and
 * such a socket stays open until its client closes it. Never throws.
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
  // Deno 2.9 shows /proc/self/fd only to programs with all permissions. The system gives out the
  // lowest free number, so no open descriptor has a number above the most that were ever open.
  for (let descriptor = 0; descriptor < mostOpen; descriptor++) {
    new DataView(length.buffer).setUint32(0, ADDRESS_BYTES, true);
    if (libc.getpeername(descriptor, bytes, length) !== 0) continue;
    const host = hostOf(address);
    if (host === undefined || !wanted.has(peerKey(host, address.getUint16(2)))) continue;
    libc.shutdown(descriptor, SHUT_RDWR);
  }
}

/** The host of a `struct sockaddr`; `undefined` if it is not an internet address. */
function hostOf(address: DataView): string | undefined {
  const family = address.getUint16(0, true);
  if (family === AF_INET) {
    return [4, 5, 6, 7].map((at) => address.getUint8(at)).join(".");
  }
  if (family !== AF_INET6) return undefined;
  return [8, 10, 12, 14, 16, 18, 20, 22].map((at) => address.getUint16(at).toString(16)).join(":");
}

/** Address and port as one text: an IPv6 address can be written in several ways. */
function peerKey(host: string, port: number): string {
  return `${host.includes(":") ? new URL(`http://[${host}]`).hostname : host}:${port}`;
}
