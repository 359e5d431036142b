/** The chunked coding of a request body: RFC 9112 section 7.1, strictly. */
import { BYTE, isField, isToken } from "./bytes.ts";
import { MalformedBodyError } from "../errors.ts";

/** The most hexadecimal digits of a size: 2^52 bytes are more than any limit of a body. */
const MAX_SIZE_DIGITS = 13;

type State =
  | "size"
  | "blank"
  | "extension"
  | "size LF"
  | "data"
  | "data CR"
  | "data LF"
  | "line"
  | "name"
  | "value"
  | "value LF"
  | "end LF"
  | "done";

/**
 * Decodes a chunked body that arrives in parts of any size. Extensions and trailers are read,
 * checked and dropped. Their total size is limited, so that they cannot make the body endless.
 */
export class ChunkedDecoder {
  /** Where the data of the last {@link next} begins and ends; equal if there is none. */
  dataStart = 0;
  dataEnd = 0;
  readonly #maxExtraBytes: number;
  #state: State = "size";
  #size = 0;
  #digits = 0;
  #extra = 0;

  /** @param maxExtraBytes The most bytes of extensions and trailers of one body. */
  constructor(maxExtraBytes: number) {
    this.#maxExtraBytes = maxExtraBytes;
  }

  /** Whether the body is complete. */
  get done(): boolean {
    return this.#state === "done";
  }

  /**
   * Decodes bytes from `at` on, up to the end of some data, of the body, or of the bytes.
   *
   * @returns The position behind the last byte that was decoded.
   *
   * @throws {MalformedBodyError} If the bytes are not a chunked body.
   */
  next(bytes: Uint8Array, at: number, end: number): number {
    this.dataStart = this.dataEnd = at;
    while (at < end && this.#state !== "done") {
      if (this.#state === "data") {
        const size = Math.min(this.#size, end - at);
        this.dataStart = at;
        this.dataEnd = at + size;
        this.#size -= size;
        if (this.#size === 0) this.#state = "data CR";
        return this.dataEnd;
      }
      this.#state = this.#step(bytes[at++] ?? 0);
    }
    return at;
  }

  /** The state after one byte that is not data. */
  #step(byte: number): State {
    switch (this.#state) {
      case "size": {
        const digit = hexDigit(byte);
        if (digit < 0 && this.#digits > 0) return this.#afterSize(byte);
        if (digit < 0 || this.#digits === MAX_SIZE_DIGITS) throw malformed("no chunk size");
        this.#digits++;
        this.#size = this.#size * 16 + digit;
        return "size";
      }
      case "blank":
        return this.#afterSize(byte);
      case "extension":
        this.#count();
        if (byte === BYTE.CR) return "size LF";
        if (!isField(byte)) throw malformed("a chunk extension holds a control character");
        return "extension";
      case "size LF":
        expect(byte, BYTE.LF);
        this.#digits = 0;
        return this.#size === 0 ? "line" : "data";
      case "data CR":
        expect(byte, BYTE.CR);
        return "data LF";
      case "data LF":
        expect(byte, BYTE.LF);
        return "size";
      case "line":
        if (byte === BYTE.CR) return "end LF";
        if (!isToken(byte)) throw malformed("no trailer");
        this.#count();
        return "name";
      case "name":
        this.#count();
        if (byte === BYTE.COLON) return "value";
        if (!isToken(byte)) throw malformed("no trailer");
        return "name";
      case "value":
        this.#count();
        if (byte === BYTE.CR) return "value LF";
        if (!isField(byte)) throw malformed("a trailer holds a control character");
        return "value";
      case "value LF":
        expect(byte, BYTE.LF);
        return "line";
      case "end LF":
        expect(byte, BYTE.LF);
        return "done";
      case "data":
      case "done":
        return this.#state;
    }
  }

  #afterSize(byte: number): State {
    if (byte === BYTE.CR) return "size LF";
    this.#count();
    if (byte === BYTE.SEMICOLON) return "extension";
    if (byte === BYTE.SPACE || byte === BYTE.TAB) return "blank";
    throw malformed("no chunk size");
  }

  #count(): void {
    if (++this.#extra > this.#maxExtraBytes) throw malformed("too many extensions or trailers");
  }
}

function hexDigit(byte: number): number {
  if (byte >= 0x30 && byte <= 0x39) return byte - 0x30;
  const lower = byte | 0x20;
  return lower >= 0x61 && lower <= 0x66 ? lower - 0x57 : -1;
}

function expect(byte: number, expected: number): void {
  if (byte !== expected) throw malformed("a line does not end with CR LF");
}

function malformed(why: string): MalformedBodyError {
  return new MalformedBodyError(`Malformed chunked body: ${why}`);
}
