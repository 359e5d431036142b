/**
 * What a shard keeps: keys and values behind one small interface. Handlers know only this; how it is
 * kept on disk, or that it is only in memory, is the business of the implementation.
 */
import { hashValue } from "./value_hash.ts";
import { ValueSlabs } from "./value_slab.ts";
import { DEFAULT_CONTENT_TYPE } from "./wire.ts";

const encoder = new TextEncoder();
// ignoreBOM keeps a leading U+FEFF, so that text to bytes to text is exact.
const decoder = new TextDecoder("utf-8", { ignoreBOM: true });
/** What stands in decoded text where the bytes were no UTF-8. */
const REPLACEMENT = "\ufffd";

// Measured with both runtimes: an array of bytes takes some 600 bytes of memory besides what is in it,
// a string 24. So small values are better kept as strings: as text, or of a character a byte; what is
// not ASCII only as long as it takes no time to make bytes of it.
const COMPACT_BYTES = 512;
const COMPACT_ASCII_BYTES = 4096;
// Value and ETag; an array of bytes; and a view on a part of one.
const VALUE_BYTES = 150;
const ARRAY_BYTES = 650;
const PART_BYTES = 105;

const slabs = new ValueSlabs();

/** A whole value in memory. Immutable; what derives from it is computed once, on first use. */
export class Value {
  /** Number of bytes. */
  readonly size: number;
  readonly contentType: string;
  /** Left out where another form stands for them. */
  #bytes: Uint8Array<ArrayBuffer> | undefined;
  #text: string | null | undefined;
  /** The bytes, one a character, where they are no text and left out. */
  #packed: string | undefined;
  /** Whether the bytes are a part of a slab. */
  #isPart = false;
  #etag: string | undefined;

  /**
   * @param content Bytes, which are the value's from now on, or text whose UTF-8 is meant.
   * @param ascii Whether text is known to be ASCII: to look costs time.
   */
  constructor(
    content: Uint8Array<ArrayBuffer> | string,
    contentType: string = DEFAULT_CONTENT_TYPE,
    ascii = false,
  ) {
    this.contentType = contentType;
    if (typeof content !== "string") {
      this.#bytes = content;
    } else {
      this.#text = content;
      // Nothing is encoded for most of what is small: that takes longer than to look at it.
      if (!ascii && (content.length > COMPACT_ASCII_BYTES || !isAscii(content))) {
        this.#bytes = encoder.encode(content);
      }
    }
    this.size = this.#bytes?.length ?? content.length;
  }

  /** Makes a value of bytes that stay the caller's. */
  static copyOf(bytes: Uint8Array<ArrayBuffer>, contentType?: string): Value {
    const text = bytes.length <= COMPACT_ASCII_BYTES ? decode(bytes) : undefined;
    if (text?.length === bytes.length) return new Value(text, contentType, true);
    const value = new Value(bytes.slice(), contentType);
    value.#text = text;
    return value;
  }

  /**
   * As {@link Value.copyOf}, at less cost for a save and the collector: the value shares memory with those that
   * are saved next to it, until {@link Value.leaveSlab}. Not for what may be dropped while those are kept: all
   * of them stay in memory as long as one does.
   */
  static inSlab(bytes: Uint8Array<ArrayBuffer>, contentType?: string): Value {
    const part = slabs.copy(bytes);
    if (part === undefined) return Value.copyOf(bytes, contentType);
    const value = new Value(part, contentType);
    value.#isPart = true;
    return value;
  }

  /** The value as bytes. Owned by the value: must not be changed by anyone. */
  get bytes(): Uint8Array<ArrayBuffer> {
    if (this.#bytes !== undefined) return this.#bytes;
    if (this.#packed === undefined) return encoder.encode(this.#text ?? "");
    const bytes = new Uint8Array(this.size);
    this.copyTo(bytes);
    return bytes;
  }

  /** What costs least to send: bytes, or ASCII. */
  get body(): Uint8Array<ArrayBuffer> | string {
    return this.#bytes === undefined && this.#text?.length === this.size ? this.#text : this.bytes;
  }

  /** Writes its bytes to the start of `into`, which has room for them. */
  copyTo(into: Uint8Array<ArrayBuffer>): void {
    if (this.#bytes !== undefined) into.set(this.#bytes);
    else if (this.#packed === undefined) encoder.encodeInto(this.#text ?? "", into);
    else for (let i = 0; i < this.size; i++) into[i] = this.#packed.charCodeAt(i);
  }

  /** About how many bytes of memory it takes, with its text. Changes with `compact` and `leaveSlab` only. */
  get memoryBytes(): number {
    if (this.#isPart) return VALUE_BYTES + PART_BYTES + this.size;
    if (this.#bytes !== undefined) return VALUE_BYTES + ARRAY_BYTES + 2 * this.size;
    // Beyond Latin-1 the runtime takes two bytes a character.
    const length = this.#text?.length ?? this.size;
    return VALUE_BYTES + (length === this.size ? length : 2 * length);
  }

  /** Makes it take less memory, if it can: to be called on what is kept for long. */
  compact(): void {
    if (this.#bytes === undefined || this.#isPart || this.size > COMPACT_ASCII_BYTES) return;
    if (this.text?.length !== this.size && this.size > COMPACT_BYTES) {
      // Both would take more than what is accounted.
      if (this.#text !== null) this.#text = undefined;
      return;
    }
    if (this.#text === null) {
      this.#packed = Reflect.apply(String.fromCharCode, undefined, this.#bytes);
    }
    this.#bytes = undefined;
  }

  /** What it shares with others, if it does. */
  get slab(): ArrayBuffer | undefined {
    return this.#isPart ? this.#bytes?.buffer : undefined;
  }

  /** Makes it share memory with no other: to be called on what is kept for longer than those. */
  leaveSlab(): void {
    if (!this.#isPart) return;
    this.#isPart = false;
    this.compact();
    this.#bytes = this.#bytes?.slice();
  }

  /**
   * The value as text, or `null` if it is not UTF-8. A response with a string body costs the server
   * a quarter less than one with bytes.
   */
  get text(): string | null {
    if (this.#text !== undefined) return this.#text;
    const text = decode(this.bytes);
    // Both would take more than what is accounted.
    if (!this.#isPart) this.#text = text;
    return text;
  }

  /**
   * Strong ETag (RFC 9110, 8.8.3): 16 hex digits, the same on any server. Other bytes or another
   * content type are another ETag.
   */
  get etag(): string {
    const type = this.contentType === DEFAULT_CONTENT_TYPE ? "" : this.contentType;
    this.#etag ??= `"${hashValue(this.body, type)}"`;
    return this.#etag;
  }
}

/** Returns the text that `bytes` are the UTF-8 of, or `null` if they are not UTF-8. */
function decode(bytes: Uint8Array<ArrayBuffer>): string | null {
  const text = decoder.decode(bytes);
  if (!text.includes(REPLACEMENT)) return text;
  // A decoder that throws instead would take 40 microseconds for each value that is no text (measured).
  const again = encoder.encode(text);
  return again.length === bytes.length && again.every((byte, i) => byte === bytes[i]) ? text : null;
}

function isAscii(text: string): boolean {
  for (let i = 0; i < text.length; i++) if (text.charCodeAt(i) >= 0x80) return false;
  return true;
}

/**
 * A value too large to be kept in memory (over {@link LARGE_VALUE_BYTES}); read piece by piece. What
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

/** From this size on (bytes) a value is never held in memory whole. */
export const LARGE_VALUE_BYTES = 64 * 1024;

/** A value on its way in whose size is not known or over {@link LARGE_VALUE_BYTES}. */
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
