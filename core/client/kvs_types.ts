/** What the library (kvs.ts) takes and gives. */
import { type PlacementName } from "../placement.ts";
import { type Bytes, type CallOptions, type RemoteOptions, type WriteCondition } from "./remote.ts";
import { type Scheme, type ServerAddress } from "./server_list.ts";
import { type RetryOptions } from "./retry.ts";

const decoder = new TextDecoder("utf-8", { ignoreBOM: true });

/** How a `Kvs` works. */
export interface KvsOptions extends Partial<RemoteOptions>, Partial<RetryOptions> {
  /** How a key finds its server: as all who use these servers. By default `modulo`. */
  readonly placement?: PlacementName;
  /** What servers of a list speak that are listed without a scheme; by default `http`. */
  readonly scheme?: Scheme;
  /** The name server that `srv:` items are looked up at, ADDRESS or ADDRESS:PORT. */
  readonly dns?: string | undefined;
}

/** Conditions of a write, and what is known of its value. */
export interface PutOptions extends CallOptions, WriteCondition {
  /** What a get tells of the value; by default `application/octet-stream`. */
  readonly contentType?: string | undefined;
  /** Whether nobody else ever writes these bytes under this key; see the top of this module. */
  readonly unique?: boolean | undefined;
}

/**
 * What can be put. A stream is read once, so that a put of one is never tried again; a function is
 * asked for a new stream by each attempt.
 */
export type PutContent =
  | string
  | Bytes
  | ReadableStream<Bytes>
  | (() => ReadableStream<Bytes> | Promise<ReadableStream<Bytes>>);

/** A value, all of it in memory. */
export class StoredValue {
  readonly bytes: Bytes;
  readonly contentType: string;
  /** For `ifMatch`. */
  readonly etag: string;

  constructor(bytes: Bytes, contentType: string, etag: string) {
    this.bytes = bytes;
    this.contentType = contentType;
    this.etag = etag;
  }

  /** The bytes as UTF-8; what is none becomes U+FFFD. */
  get text(): string {
    return decoder.decode(this.bytes);
  }
}

/** A value on its way. */
export interface StreamedValue {
  /** For one reader, who reads to the end or cancels. Fails with RemoteError where it is cut off. */
  readonly body: ReadableStream<Bytes>;
  /** Number of bytes, where the server told. */
  readonly size: number | undefined;
  readonly contentType: string;
  readonly etag: string;
}

/** Which server a key belongs to. */
export interface Owner {
  readonly server: ServerAddress;
  /** Its place in the server list, from 0. */
  readonly index: number;
}
