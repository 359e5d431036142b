import { hashValue } from "./etag.ts";
import { DEFAULT_CONTENT_TYPE } from "./protocol.ts";

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

// What is smaller gains hardly anything (measured saves of 100 bytes: 3 % less time, of 300: 6 %, of 600: 10 %, and each
// view on a part takes 105 bytes); and of what is larger so few fit that the end of a slab would often be empty.
const LEAST_BYTES = 256;

const MOST_BYTES = 8192;

/** Size of an array, in bytes. */
export const SLAB_BYTES = 8 * MOST_BYTES;

/** Arrays that are filled with copies one after the other. None is ever used again: who has a part may keep it. */
export class ValueSlabs {
  #slab = new Uint8Array(SLAB_BYTES);
  #used = 0;

  /**
   * Copies `bytes` to a part of an array; `undefined` where there are so few or many that an array of their own, or
   * text, is better. A part costs a copy of memory, where text has to be decoded, is moved twice by the
   * collector while it is young, and is encoded again.
   *
   * As long as one part is in use, all of its array stays in memory: this is for what is written together and let go
   * of together.
   */
  copy(bytes: Uint8Array): Uint8Array<ArrayBuffer> | undefined {
    const { length } = bytes;
    if (length < LEAST_BYTES || length > MOST_BYTES) return undefined;
    if (this.#used + length > SLAB_BYTES) {
      this.#slab = new Uint8Array(SLAB_BYTES);
      this.#used = 0;
    }
    const part = this.#slab.subarray(this.#used, this.#used + length);
    part.set(bytes);
    this.#used += length;
    return part;
  }
}

const slabs = new ValueSlabs();
