/** A whole value in memory, in the form that takes the least memory and time. */
import { hashValue } from "./etag.ts";
import { DEFAULT_CONTENT_TYPE } from "./protocol.ts";

const encoder = new TextEncoder();

// ignoreBOM keeps a leading U+FEFF, so decoding and encoding again gives the same bytes.
const decoder = new TextDecoder("utf-8", { ignoreBOM: true });

/** The decoder's character for bytes that are not UTF-8. */
const REPLACEMENT = "\ufffd";

/**
 * A value of at most so many bytes is kept as a string if it is ASCII. An array of bytes takes far more memory besides
 * its content than a string does.
 */
const COMPACT_ASCII_BYTES = 4096;

/** The same for a value that is not ASCII: making bytes of a long one takes too much time. */
const COMPACT_BYTES = 512;

/** Bytes of memory that a value with its ETag takes, besides its content. */
const VALUE_BYTES = 150;

/** Bytes of memory that an array takes, besides its content. */
const ARRAY_BYTES = 650;

/** A whole value in memory. Immutable, but its form in memory changes; its text and ETag are made at first use. */
export class Value {
  /** Bytes. */
  readonly size: number;
  readonly contentType: string;
  /** The bytes, unless they are kept in another form. */
  #bytes: Uint8Array<ArrayBuffer> | undefined;
  /** The text; `null` if the bytes are not UTF-8, `undefined` if that is not known. */
  #text: string | null | undefined;
  /** Bytes that are not UTF-8, as a string of one character a byte. */
  #packed: string | undefined;
  #etag: string | undefined;

  /**
   * @param content Bytes, which are the value's from now on, or text whose UTF-8 is meant.
   * @param ascii Whether the text is known to be ASCII, which saves a look at each character.
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
      // Short ASCII is not encoded: looking at the characters takes less time.
      if (!ascii && (content.length > COMPACT_ASCII_BYTES || !isAscii(content))) {
        this.#bytes = encoder.encode(content);
      }
    }
    this.size = this.#bytes?.length ?? content.length;
  }

  /** Makes a value of a copy of `bytes`. */
  static copyOf(bytes: Uint8Array<ArrayBuffer>, contentType?: string): Value {
    const text = bytes.length <= COMPACT_ASCII_BYTES ? decode(bytes) : undefined;
    if (text?.length === bytes.length) return new Value(text, contentType, true);
    const value = new Value(bytes.slice(), contentType);
    value.#text = text;
    return value;
  }

  /** The value as bytes. They belong to the value: nobody may change them. */
  get bytes(): Uint8Array<ArrayBuffer> {
    if (this.#bytes !== undefined) return this.#bytes;
    if (this.#packed === undefined) return encoder.encode(this.#text ?? "");
    const bytes = new Uint8Array(this.size);
    this.copyTo(bytes);
    return bytes;
  }

  /** The form that costs least to send: bytes, or ASCII text. */
  get body(): Uint8Array<ArrayBuffer> | string {
    return this.#bytes === undefined && this.#text?.length === this.size ? this.#text : this.bytes;
  }

  /** Writes the bytes to the start of `into`, which has room for them. */
  copyTo(into: Uint8Array<ArrayBuffer>): void {
    if (this.#bytes !== undefined) into.set(this.#bytes);
    else if (this.#packed === undefined) encoder.encodeInto(this.#text ?? "", into);
    else for (let i = 0; i < this.size; i++) into[i] = this.#packed.charCodeAt(i);
  }

  /** About how many bytes of memory the value takes, with its text. Changes only by `compact`. */
  get memoryBytes(): number {
    if (this.#bytes !== undefined) return VALUE_BYTES + ARRAY_BYTES + 2 * this.size;
    // The runtime takes one byte a character for Latin-1, and two for other text.
    const length = this.#text?.length ?? this.size;
    return VALUE_BYTES + (length === this.size ? length : 2 * length);
  }

  /** Brings a small value to the form that takes the least memory: to be called on values that are kept. */
  compact(): void {
    if (this.#bytes === undefined || this.size > COMPACT_ASCII_BYTES) return;
    if (this.text?.length !== this.size && this.size > COMPACT_BYTES) {
      // The text goes, since the bytes stay.
      if (this.#text !== null) this.#text = undefined;
      return;
    }
    if (this.#text === null) {
      this.#packed = Reflect.apply(String.fromCharCode, undefined, this.#bytes);
    }
    this.#bytes = undefined;
  }

  /** The value as text; `null` if it is not UTF-8. */
  get text(): string | null {
    if (this.#text === undefined) this.#text = decode(this.bytes);
    return this.#text;
  }

  /** Strong ETag (RFC 9110, 8.8.3): 16 hex digits of a hash of bytes and content type, the same on every server. */
  get etag(): string {
    const type = this.contentType === DEFAULT_CONTENT_TYPE ? "" : this.contentType;
    this.#etag ??= `"${hashValue(this.body, type)}"`;
    return this.#etag;
  }
}

/** Returns the text of `bytes`, or `null` if they are not UTF-8. */
function decode(bytes: Uint8Array<ArrayBuffer>): string | null {
  const text = decoder.decode(bytes);
  if (!text.includes(REPLACEMENT)) return text;
  // The replacement may be in the bytes themselves. A decoder that throws would take much longer.
  const again = encoder.encode(text);
  return again.length === bytes.length && again.every((byte, i) => byte === bytes[i]) ? text : null;
}

function isAscii(text: string): boolean {
  for (let i = 0; i < text.length; i++) if (text.charCodeAt(i) >= 0x80) return false;
  return true;
}
