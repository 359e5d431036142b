/**
 * What a shard keeps: keys and values behind one small interface. Handlers know only this; how it is
 * kept on disk, or that it is only in memory, is the business of the implementation.
 */
import { Histogram } from "./histogram.ts";
import { Value } from "./value.ts";

/**
 * A value too large to be kept in memory (over `LARGE_VALUE_BYTES`); read piece by piece. What
 * `open` reads is the value as it was found, also when the key is saved again meanwhile.
 */
export interface LargeValue {
  readonly size: number;
  readonly contentType: string;
  readonly etag: string;
  /** Opens the bytes for one reader, who must read to the end or cancel. */
  open(): ReadableStream<Uint8Array<ArrayBuffer>>;
  /** Frees what the value holds open (a file) when nobody will call `open`. */
  discard(): void;
}

/** A value on its way in whose size is not known or over `LARGE_VALUE_BYTES`. */
export interface IncomingValue {
  readonly chunks: AsyncIterable<Uint8Array>;
  readonly contentType: string;
}

/**
 * What a write expects to find (RFC 9110, 13.1): `etags` the key must hold one of, `"present"` the
 * key must exist, `"absent"` it must not.
 */
export type Condition = { readonly etags: readonly string[] } | "present" | "absent";

/** What a save did. */
export interface SetResult {
  /** Whether the key was absent before. */
  readonly created: boolean;
  /** ETag of the value now stored. */
  readonly etag: string;
}

/** A page of {@link Store.list}. */
export interface ListOptions {
  /** Only keys that start with this. */
  readonly prefix?: string;
  /** Only keys behind this one in order; need not exist. */
  readonly after?: string;
  /** At most this many keys. */
  readonly limit?: number;
}

/**
 * Keys and values. A write is acknowledged (its promise resolves) only when it would survive a power
 * cut; a write that rejects left the old value in place. Writes to one key take effect in the order
 * in which they were called, one whose value is still coming in when all of it is here; a reader sees
 * a write no later than the writer does. Keys passed in have been through `checkKey`.
 */
export interface Store {
  /** Number of keys. */
  readonly size: number;

  /** How many writes took effect since the store was opened. */
  readonly writes: number;

  /**
   * Returns the value of `key`, or `undefined` if it is absent. Not a promise where memory answers,
   * which is what keeps a load cheap. Never waits for a write.
   */
  get(
    key: string,
  ): Value | LargeValue | undefined | Promise<Value | LargeValue | undefined>;

  /**
   * Saves `value` under `key`, replacing what was there. Durable once resolved.
   *
   * @throws {InvalidKeyError} If a folder of the key's file name is in the way.
   * @throws {PreconditionFailedError} If `condition` does not hold.
   * @throws {StorageFullError} If the disk is full.
   * @throws {StorageBusyError} If the system has no open files or memory to spare for a moment.
   * @throws {ValueTooLargeError} Whatever the incoming chunks throw passes through.
   */
  set(key: string, value: Value | IncomingValue, condition?: Condition): Promise<SetResult>;

  /**
   * Deletes `key`; resolves to `false` if it was absent. Durable once resolved.
   *
   * @throws {PreconditionFailedError} If `condition` does not hold.
   */
  delete(key: string, condition?: Condition): Promise<boolean>;

  /** Returns keys in the order of `compareKeys`: at most `limit`, by default all of them. */
  list(options?: ListOptions): string[];

  /** Waits for writes under way, then lets go of the folder. Nothing may be called afterwards. */
  close(): Promise<void>;
}

/** A condition that only a key which is there can meet. */
export type IfMatch = Exclude<Condition, "absent">;

/** What a store tells of itself. */
export interface StoreMetrics {
  readonly keys: number;
  /** Values in memory that are on the disk as well: how often they had what was asked for, and not. */
  readonly cacheHits: number;
  readonly cacheMisses: number;
  readonly journalBytes: number;
  readonly journalSegments: number;
  /** Flushes of the journal; each makes all saves durable that wait for it. */
  readonly flushes: Histogram;
  /** Segments that became key files. */
  readonly checkpoints: number;
  /** Attempts that failed. */
  readonly checkpointFailures: number;
  /** When the last one ended (milliseconds since 1970); `undefined` if there was none yet. */
  readonly lastCheckpointMs: number | undefined;
}
