/**
 * The keys and values of a shard behind one small interface. The routes know only this interface, not how values are
 * kept.
 */
import { Histogram } from "./histogram.ts";
import { Value } from "./value.ts";

/**
 * A value of more than `LARGE_VALUE_BYTES`, which is read in chunks. `open` reads the value as it was found, even if the
 * key is saved again meanwhile.
 */
export interface LargeValue {
  readonly size: number;
  readonly contentType: string;
  readonly etag: string;
  /** Opens the bytes for one reader, which must read to the end or cancel. */
  open(): ReadableStream<Uint8Array<ArrayBuffer>>;
  /** Closes the file of the value; to be called if `open` is not. */
  discard(): void;
}

/** A value on its way in, if its size is not known yet or over `LARGE_VALUE_BYTES`. */
export interface IncomingValue {
  readonly chunks: AsyncIterable<Uint8Array>;
  readonly contentType: string;
}

/**
 * The condition of a write (RFC 9110, 13.1): the value of the key must have one of these `etags`, the key must exist
 * (`"present"`), or it must not (`"absent"`).
 */
export type Condition = { readonly etags: readonly string[] } | "present" | "absent";

/**
 * Asked in the same step in which a write is put in line: whether the write may take effect. A promise means that the
 * write has to wait for it, and is asked for again then. It throws why the write may not take effect.
 */
export type Admit = () => Promise<void> | undefined;

/** The result of a save. */
export interface SetResult {
  /** Whether the key was absent before. */
  readonly created: boolean;
  /** ETag of the saved value. */
  readonly etag: string;
}

/** Which keys {@link Store.list} returns. */
export interface ListOptions {
  /** Only keys that begin with this text. */
  readonly prefix?: string;
  /** Only keys behind this one in the order of `compareKeys`; it need not exist. */
  readonly after?: string;
  /** At most this many keys. */
  readonly limit?: number;
}

/**
 * Keys and values. A write is acknowledged, that is, its promise resolves, only when it would survive a power cut. A
 * write that rejects leaves the old value in place. Writes to one key take effect in the order of their calls; an
 * `IncomingValue` takes its turn when all of it has come in. A reader sees a write no later than its writer does. All
 * keys must have been through `checkKey`.
 */
export interface Store {
  /** Number of keys. */
  readonly size: number;

  /** Writes that took effect since the store was opened. */
  readonly writes: number;

  /**
   * Returns the value of `key`, or `undefined` if it is absent. No promise if the value is in memory, which keeps a load
   * cheap. Never waits for a write.
   */
  get(
    key: string,
  ): Value | LargeValue | undefined | Promise<Value | LargeValue | undefined>;

  /**
   * Saves `value` under `key`, in place of an old value. Durable once resolved.
   *
   * @throws {InvalidKeyError} If a folder has the name of the key's file.
   * @throws {PreconditionFailedError} If `condition` does not hold.
   * @throws {StorageFullError} If the disk is full.
   * @throws {StorageBusyError} If the system has no open files or no memory to spare for a moment.
   * @throws Whatever the incoming chunks throw, such as ValueTooLargeError; whatever `admit` throws.
   */
  set(
    key: string,
    value: Value | IncomingValue,
    condition?: Condition,
    admit?: Admit,
  ): Promise<SetResult>;

  /**
   * Deletes `key`. Resolves to whether it was there. Durable once resolved.
   *
   * @throws {PreconditionFailedError} If `condition` does not hold.
   * @throws Whatever `admit` throws.
   */
  delete(key: string, condition?: Condition, admit?: Admit): Promise<boolean>;

  /** Resolves when all writes that were put in line before are durable and visible, or have failed. */
  settled(): Promise<void>;

  /** Returns keys in the order of `compareKeys`: at most `limit`, by default all of them. */
  list(options?: ListOptions): string[];

  /** Waits for the writes under way, then closes the store. Nothing may be called afterwards. */
  close(): Promise<void>;
}

/** A condition that only an existing key can meet. */
export type IfMatch = Exclude<Condition, "absent">;

/** The state of a store, for metrics. */
export interface StoreMetrics {
  readonly keys: number;
  /** Loads that were answered from memory, and loads that were not. */
  readonly cacheHits: number;
  readonly cacheMisses: number;
  readonly journalBytes: number;
  readonly journalSegments: number;
  /** How long the flushes of the journal took; each makes all waiting saves durable. */
  readonly flushes: Histogram;
  /** Checkpoints that succeeded. */
  readonly checkpoints: number;
  /** Checkpoints that failed. */
  readonly checkpointFailures: number;
  /** When the last checkpoint succeeded (milliseconds since 1970); `undefined` if none has yet. */
  readonly lastCheckpointMs: number | undefined;
}
