/** What the library (kvs.ts) takes and gives. */
import { type PlacementName } from "../placement.ts";
import { type Bytes, type CallOptions, type RemoteOptions, type WriteCondition } from "./remote.ts";
import { type Scheme, type ServerAddress } from "./server_list.ts";
import { type RetryOptions } from "./retry.ts";

const decoder = new TextDecoder("utf-8", { ignoreBOM: true });

/** How a `Kvs` works. */
export interface KvsOptions extends Partial<RemoteOptions>, Partial<RetryOptions> {
  /** How a key finds its server, `modulo` by default; the same for all clients of these servers. */
  readonly placement?: PlacementName;
  /** The scheme of servers that are listed without one; `http` by default. */
  readonly scheme?: Scheme;
  /** The name server for `srv:` items, as ADDRESS or ADDRESS:PORT; by default that of the system. */
  readonly dns?: string | undefined;
}

/** The condition of a put, and what is known of its value. */
export interface PutOptions extends CallOptions, WriteCondition {
  /** A get tells it with the value; `application/octet-stream` by default. */
  readonly contentType?: string | undefined;
  /** Whether no other write ever puts these bytes under this key; see the top of `kvs.ts`. */
  readonly unique?: boolean | undefined;
}

/**
 * What can be put. A stream can be read only once, so its put is never tried again. A function is called
 * for a new stream by each attempt.
 */
export type PutContent =
  | string
  | Bytes
  | ReadableStream<Bytes>
  | (() => ReadableStream<Bytes> | Promise<ReadableStream<Bytes>>);

/** A value, all of it in memory. */
export class StoredValue {
  /** The value as it was put. */
  readonly bytes: Bytes;
  /** The content type that it was put with. */
  readonly contentType: string;
  /** Tells versions of a value apart; for `ifMatch`. */
  readonly etag: string;

  /** Made by `Kvs.get()`. */
  constructor(bytes: Bytes, contentType: string, etag: string) {
    this.bytes = bytes;
    this.contentType = contentType;
    this.etag = etag;
  }

  /** The bytes as UTF-8; bytes that are not UTF-8 become U+FFFD. */
  get text(): string {
    return decoder.decode(this.bytes);
  }
}

/** A value on its way. */
export interface StreamedValue {
  /** For one reader, who reads to the end or cancels. Fails with RemoteError if it is cut off. */
  readonly body: ReadableStream<Bytes>;
  /** Number of bytes, if the server told it. */
  readonly size: number | undefined;
  /** The content type that it was put with. */
  readonly contentType: string;
  /** Tells versions of a value apart; for `ifMatch`. */
  readonly etag: string;
}

/** The server that a key belongs to. */
export interface Owner {
  /** Its address. */
  readonly server: ServerAddress;
  /** Its place in the server list, from 0. */
  readonly index: number;
}
