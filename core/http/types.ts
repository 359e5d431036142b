/**
 * What the HTTP server and its handler tell each other. Small on purpose: a request is parsed bytes
 * with a lazy view on its headers, a response is a plain object.
 */
import { type HeaderRecord, type SharedHeaders } from "./headers.ts";

/** What a server accepts connections from. */
export type HttpListener = Deno.TcpListener | Deno.TlsListener;

/** What it accepts. TLS shakes hands at the first read or write, so a client that does not holds up nobody. */
export type HttpConn = Deno.TcpConn | Deno.TlsConn;

/** One request. Valid until its answer is given; after that headers and body are gone. */
export interface HttpRequest {
  /** As sent; any token, also one that nobody knows. */
  readonly method: string;
  /** The path as sent, escapes and dots untouched; a target with a host is reduced to its path. */
  readonly path: string;
  /** What stands behind the first `?`, as sent; empty where there is none. */
  readonly query: string;
  /** The length that the client named, in bytes; `undefined` where it named none. */
  readonly contentLength: number | undefined;
  /** Whether the body comes in chunks, so that its length is not known. */
  readonly chunked: boolean;
  /** The body; `undefined` where there is none, or it is said to have no bytes. */
  readonly body: HttpBody | undefined;
  /**
   * The value of a header, `undefined` where it is absent; several of one name are joined by `, `.
   * Bytes over 0x7f come out as Latin-1.
   *
   * @param name In lower case.
   */
  header(name: string): string | undefined;
  /**
   * Whether the header `name` is there once, as `value`, which is ASCII: what {@link header} tells
   * too, without making a text of it.
   */
  headerIs(name: string, value: string): boolean;
}

/**
 * A request body, to be read at most once. A client that waits for `100 Continue` gets it at the
 * first read, so that a request that is refused before costs it no upload.
 */
export interface HttpBody {
  /**
   * The whole body as an array of the caller's own; without a promise where it came along with the
   * header.
   *
   * @throws {ValueTooLargeError} If it has over `maxBytes` bytes.
   * @throws {BodyTimeoutError} If the client stalls, crawls, or goes away.
   * @throws {MalformedBodyError} If its chunks are damaged.
   */
  bytes(maxBytes: number): Uint8Array<ArrayBuffer> | Promise<Uint8Array<ArrayBuffer>>;
  /**
   * The whole body if it came along with the header, instead of {@link bytes}: the connection's own
   * memory, which holds it until the handler has returned or awaits something. `undefined`, and nothing
   * was read, where it did not.
   *
   * @throws {ValueTooLargeError} If it has over `maxBytes` bytes.
   */
  view(maxBytes: number): Uint8Array<ArrayBuffer> | undefined;
  /**
   * The body piece by piece, each piece (at most 64 KiB) the caller's own. Nothing is read ahead.
   * Throws what {@link bytes} throws.
   */
  chunks(maxBytes: number): AsyncGenerator<Uint8Array<ArrayBuffer>>;
}

/** One answer. */
export interface HttpResponse {
  /** From 200 to 599. */
  readonly status: number;
  /**
   * `connection: close` closes as `close` does; `content-length` counts only for a stream, and where
   * the answer has no body (HEAD, 304).
   */
  readonly headers?: HeaderRecord | SharedHeaders;
  /** The `etag` header, quotes included, none if empty; besides `headers`, so that these can be shared. */
  readonly etag?: string;
  /**
   * Must not change until it is sent. A stream goes out as it comes, in chunks where `content-length`
   * is not named, and is cancelled where the client goes.
   */
  readonly body?: string | Uint8Array | ReadableStream<Uint8Array>;
  /** Whether the connection ends with this answer. */
  readonly close?: boolean;
}

/** Answers a request. One that throws is answered 500 and logged. */
export type HttpHandler = (request: HttpRequest) => HttpResponse | Promise<HttpResponse>;

/** Bounds of what one server takes. */
export interface HttpLimits {
  /** From the first byte of a request, or from connect, to the end of its header (milliseconds). */
  readonly headerTimeoutMs: number;
  /** How long a client may be silent within a body, or not read its answer (milliseconds). */
  readonly bodyTimeoutMs: number;
  /** How long a connection may wait for its next request (milliseconds). */
  readonly idleTimeoutMs: number;
  /** Connections open at once; more wait in the kernel until one ends. */
  readonly maxConnections: number;
  /** The longest header section, in bytes. */
  readonly maxHeaderBytes: number;
  /** The longest request target, in bytes. */
  readonly maxTargetBytes: number;
}
