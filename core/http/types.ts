/**
 * The interface between the server and its handler. A request is a view on parsed bytes, and its
 * headers are read only if the handler asks. An answer is a plain object.
 */
import { type HeaderRecord, type SharedHeaders } from "./headers.ts";

/** A listener of a server. */
export type HttpListener = Deno.TcpListener | Deno.TlsListener;

/**
 * A connection of a {@link HttpListener}. The handshake of TLS happens at the first read or write.
 */
export type HttpConn = Deno.TcpConn | Deno.TlsConn;

/** Tells whether the client of a request is still there. */
export interface ClientWatch {
  readonly isGone: boolean;
  /** Resolves when the client has closed its connection. */
  readonly gone: Promise<void>;
}

/** One request. When its answer was returned, its headers and its body can no longer be read. */
export interface HttpRequest {
  /** The method as sent, which can be any token of RFC 9110. */
  readonly method: string;
  /** The path as sent, with its escapes and dots. A target with a host is reduced to its path. */
  readonly path: string;
  /** The query as sent, without its `?`; empty if there is none. */
  readonly query: string;
  /** The `content-length` in bytes; `undefined` if there is none. */
  readonly contentLength: number | undefined;
  /** Whether the body comes in chunks, without a known length. */
  readonly chunked: boolean;
  /** The body; `undefined` if there is none, or if its length is 0. */
  readonly body: HttpBody | undefined;
  /**
   * The value of a header; `undefined` if it is absent. Several values of one name are joined by `,
   * `. Bytes over 0x7f are read as Latin-1.
   *
   * @param name In lower case.
   */
  header(name: string): string | undefined;
  /**
   * Watches the connection, for a handler that waits for long before it does what the client asks for. `undefined` if
   * that cannot be told now, since the body has not come to its end. Absent without a connection.
   */
  watchClient?(): ClientWatch | undefined;
}

/**
 * A request body, which can be read once. A client that waits for `100 Continue` gets it at the
 * first read, so the body of a request that is refused before is never sent.
 */
export interface HttpBody {
  /**
   * The whole body as an array that the caller may keep. There is no promise if the body came
   * together with the head.
   *
   * @throws {ValueTooLargeError} If the body has over `maxBytes` bytes.
   * @throws {BodyTimeoutError} If the client is silent, too slow, or gone.
   * @throws {MalformedBodyError} If its chunks are damaged.
   */
  bytes(maxBytes: number): Uint8Array<ArrayBuffer> | Promise<Uint8Array<ArrayBuffer>>;
  /**
   * The whole body if it came together with the head; else `undefined`, and the body can still be
   * read. The array is memory of the connection, and is valid until the handler returns or awaits
   * something.
   *
   * @throws {ValueTooLargeError} If the body has over `maxBytes` bytes.
   */
  view(maxBytes: number): Uint8Array<ArrayBuffer> | undefined;
  /**
   * The body in pieces of at most 64 KiB, which the caller may keep. Nothing is read ahead. Throws
   * the same errors as {@link bytes}.
   */
  chunks(maxBytes: number): AsyncGenerator<Uint8Array<ArrayBuffer>>;
}

/** One answer. */
export interface HttpResponse {
  /** From 200 to 599. */
  readonly status: number;
  /**
   * `connection: close` means the same as `close`. `content-length` is used only if the body is a
   * stream or is not sent (HEAD, 304).
   */
  readonly headers?: HeaderRecord | SharedHeaders;
  /**
   * The `etag` header with its quotes; none if empty. It is apart, so that `headers` can be shared.
   */
  readonly etag?: string;
  /**
   * Must not change until it is sent. A stream is sent as it comes, in chunks unless there is a
   * `content-length`, and is cancelled if the client goes.
   */
  readonly body?: string | Uint8Array | ReadableStream<Uint8Array>;
  /** Whether the connection ends with this answer. */
  readonly close?: boolean;
}

/**
 * Answers a request. If it throws, the client gets 500 and the server's `onError` gets the error.
 */
export type HttpHandler = (request: HttpRequest) => HttpResponse | Promise<HttpResponse>;

/** Limits of a server. */
export interface HttpLimits {
  /**
   * From the first byte of a request, or from the connection, to the end of its head
   * (milliseconds).
   */
  readonly headerTimeoutMs: number;
  /** How long a client may send nothing of a body, or read nothing of an answer (milliseconds). */
  readonly bodyTimeoutMs: number;
  /** How long a connection may stay open without a request (milliseconds). */
  readonly idleTimeoutMs: number;
  /** The most open connections. More wait in the queue of the system until one ends. */
  readonly maxConnections: number;
  /** The most bytes of all headers of a request. */
  readonly maxHeaderBytes: number;
  /** The longest request target, in bytes. */
  readonly maxTargetBytes: number;
}
