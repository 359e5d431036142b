/** How each store is spoken to: the bytes of a load and of a save. */
import type { Dialect, Operation, Template } from "./types.ts";
import { KEY_DIGITS } from "./types.ts";

/** The value that is saved everywhere: printable, so that it can stand in a URL. */
export function valueOf(bytes: number): string {
  return "v".repeat(bytes);
}

/** The longest value that goes into a URL. */
const MAX_URL_VALUE = 2048;

function get(path: string, rest = ""): Template {
  return { before: `GET ${path}`, after: `${rest} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n` };
}

function put(path: string, body: string): Template {
  return {
    before: `PUT ${path}`,
    after: ` HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: ${body.length}\r\n\r\n${body}`,
  };
}

/** A dialect of HTTP with the key at the end of one path, for loads by GET and saves by PUT. */
function plainHttp(path: string): Dialect {
  return {
    framing: "http",
    template: (operation, prefix, bytes) =>
      operation === "load" ? get(path + prefix) : put(path + prefix, valueOf(bytes)),
  };
}

export const KVS_V1 = plainHttp("/v1/keys/");

export const KVS_BOOK: Dialect = {
  framing: "http",
  template(operation, prefix, bytes) {
    if (operation === "load") return get(`/load/${prefix}`);
    return bytes > MAX_URL_VALUE ? undefined : get(`/save/${prefix}`, `/${valueOf(bytes)}`);
  },
};

export const FILES = plainHttp("/");

/** Flask's own server (Werkzeug) says `Connection: close` in every answer. */
export const FILES_CLOSING: Dialect = { ...FILES, closes: true };

/** Both operations by GET: what a bare server has to do for a save of the book's protocol. */
export const ALL_GET: Dialect = {
  framing: "http",
  template: (operation, prefix, bytes) =>
    bytes > MAX_URL_VALUE
      ? undefined
      : get(`/${prefix}`, operation === "load" ? "" : `/${valueOf(bytes)}`),
};

export const WEBDIS: Dialect = {
  framing: "http",
  template: (operation, prefix, bytes) =>
    operation === "load" ? get(`/GET/${prefix}`, ".txt") : put(`/SET/${prefix}`, valueOf(bytes)),
};

export const RESP: Dialect = {
  framing: "resp",
  template(operation, prefix, bytes) {
    const keyLength = prefix.length + KEY_DIGITS;
    return operation === "load"
      ? { before: `*2\r\n$3\r\nGET\r\n$${keyLength}\r\n${prefix}`, after: "\r\n" }
      : {
        before: `*3\r\n$3\r\nSET\r\n$${keyLength}\r\n${prefix}`,
        after: `\r\n$${bytes}\r\n${valueOf(bytes)}\r\n`,
      };
  },
};

export const MEMCACHED: Dialect = {
  framing: "memcached",
  template: (operation, prefix, bytes) =>
    operation === "load"
      ? { before: `get ${prefix}`, after: "\r\n" }
      : { before: `set ${prefix}`, after: ` 0 0 ${bytes}\r\n${valueOf(bytes)}\r\n` },
};

/** The largest value that fits HTTP/2's first flow-control window together with its frame. */
const MAX_GRPC_VALUE = 16_000;

/** etcd's own protocol, gRPC over HTTP/2. Generators put the stream's number in (RFC 9113, 4.1). */
export const ETCD: Dialect = {
  framing: "grpc",
  // The preface, empty SETTINGS, the acknowledgement of the server's, and a receive window for the
  // connection so wide that it is never used up (RFC 9113, sections 3.4, 6.5 and 6.9).
  greeting: "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(0x4, 0, "") + frame(0x4, 0x1, "") +
    frame(0x8, 0, int32(0x7fff0000)),
  template(operation, prefix, bytes) {
    if (bytes > MAX_GRPC_VALUE) return undefined;
    const method = operation === "load" ? "Range" : "Put";
    const keyField = "\x0a" + varint(prefix.length + KEY_DIGITS) + prefix;
    const valueField = operation === "load" ? "" : "\x12" + varint(bytes) + valueOf(bytes);
    const length = keyField.length + KEY_DIGITS + valueField.length;
    const headers = frame(0x1, 0x4, headerBlock(`/etcdserverpb.KV/${method}`));
    const data = frameHeader(0x0, 0x1, 5 + length) + "\0" + int32(length);
    return { before: headers + data + keyField, after: valueField };
  },
};

/** Request headers without compression state: static indexes and plain literals (RFC 7541). */
function headerBlock(path: string): string {
  const text = (value: string) => String.fromCharCode(value.length) + value;
  return "\x83\x86" + "\x04" + text(path) + "\x01" + text("127.0.0.1") +
    "\x00" + text("te") + text("trailers") + "\x0f\x10" + text("application/grpc");
}

function frame(type: number, flags: number, payload: string): string {
  return frameHeader(type, flags, payload.length) + payload;
}

function frameHeader(type: number, flags: number, length: number): string {
  return int32(length).slice(1) + String.fromCharCode(type, flags) + int32(0);
}

function int32(value: number): string {
  return String.fromCharCode(value >>> 24, value >>> 16 & 255, value >>> 8 & 255, value & 255);
}

function varint(value: number): string {
  return value < 0x80
    ? String.fromCharCode(value)
    : String.fromCharCode(value & 0x7f | 0x80) + varint(value >>> 7);
}

/** The templates of both operations. */
export function templates(
  dialect: Dialect,
  prefix: string,
  bytes: number,
): Record<Operation, Template | undefined> {
  return {
    load: dialect.template("load", prefix, bytes),
    save: dialect.template("save", prefix, bytes),
  };
}
