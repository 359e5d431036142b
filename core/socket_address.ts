/** Addresses of sockets as the C library tells them, and in one form that can be compared. */

/** Room for an address of any family (bytes): `struct sockaddr_storage`. */
const ADDRESS_BYTES = 128;

// sys/socket.h of Linux.
const AF_INET = 2;
const AF_INET6 = 10;

/** What tells the address of one end of a socket: getsockname(2) or getpeername(2). */
export type AddressCall = (
  descriptor: number,
  address: Uint8Array<ArrayBuffer>,
  length: Uint8Array<ArrayBuffer>,
) => number;

const address = new DataView(new ArrayBuffer(ADDRESS_BYTES));
const bytes = new Uint8Array(address.buffer);
const length = new Uint8Array(4);

/** Returns the address that `call` tells of `descriptor`, as {@link addressKey} has it, if it is one. */
export function addressOf(descriptor: number, call: AddressCall): string | undefined {
  new DataView(length.buffer).setUint32(0, ADDRESS_BYTES, true);
  if (call(descriptor, bytes, length) !== 0) return undefined;
  const host = hostOf();
  return host === undefined ? undefined : addressKey(host, address.getUint16(2));
}

function hostOf(): string | undefined {
  const family = address.getUint16(0, true);
  if (family === AF_INET) {
    return [4, 5, 6, 7].map((at) => address.getUint8(at)).join(".");
  }
  if (family !== AF_INET6) return undefined;
  return [8, 10, 12, 14, 16, 18, 20, 22].map((at) => address.getUint16(at).toString(16)).join(":");
}

/** Address and port in one form, of the several that an IPv6 address has. */
export function addressKey(host: string, port: number): string {
  return `${host.includes(":") ? new URL(`http://[${host}]`).hostname : host}:${port}`;
}
