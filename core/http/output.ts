/** Gathers the answers of one connection, so that several of them need one write. */
import { type HttpSocket } from "./socket.ts";

/** Size of an output buffer (bytes). Answers that do not fit are written in parts. */
const OUT_BYTES = 16_384;

/** The most buffers that are kept for the next answer. */
const MAX_FREE_BUFFERS = 64;

/** Strings up to this are copied by a loop, which is faster than the encoder there (measured). */
const LOOP_CHARACTERS = 64;

/** The digits of a length, with the ends of three lines. */
const LENGTH_BYTES = 22;

const ETAG = new TextEncoder().encode("etag: ");

const CR = 0x0d;
const LF = 0x0a;

const encoder = new TextEncoder();
const free: OutBuffer[] = [];

/** Memory for answers, with the view that was used last. */
class OutBuffer {
  readonly bytes = new Uint8Array(OUT_BYTES);
  #view = this.bytes;

  /** The first `size` bytes. */
  head(size: number): Uint8Array<ArrayBuffer> {
    // Most answers are as long as the one before, and a new view for each write is slow.
    if (this.#view.length !== size) this.#view = this.bytes.subarray(0, size);
    return this.#view;
  }
}

/** The answers of one connection that are to be sent. */
export class HttpOutput {
  /** How many bytes were added and not sent yet. */
  size = 0;
  readonly #socket: HttpSocket;
  /** A connection has a buffer only while it has something to send; then others use it. */
  #buffer: OutBuffer | undefined;
  #sending: Promise<void> | undefined;

  constructor(socket: HttpSocket) {
    this.#socket = socket;
  }

  /** The bytes to send, for a caller that writes them itself and then calls {@link clear}. */
  pending(): Uint8Array<ArrayBuffer> {
    return this.#open().head(this.size);
  }

  /** Forgets the bytes, which were sent, and gives the buffer back. */
  clear(): void {
    if (this.#buffer !== undefined) release(this.#buffer);
    this.#buffer = undefined;
    this.size = 0;
  }

  /** Sends the bytes that were added, after all earlier ones. Rejects if the client is gone. */
  flush(): Promise<void> {
    return this.#inOrder(() => this.#sendAdded());
  }

  /**
   * Sends the bytes that were added, then `bytes` without a copy. Bytes that are added later follow
   * them. Rejects if the client is gone.
   */
  write(bytes: Uint8Array): Promise<void> {
    return this.#inOrder(async () => {
      await this.#sendAdded();
      await this.#socket.write(bytes);
    });
  }

  async #sendAdded(): Promise<void> {
    const buffer = this.#buffer;
    const { size } = this;
    this.#buffer = undefined;
    this.size = 0;
    if (buffer === undefined) return;
    if (size > 0) await this.#socket.write(buffer.head(size));
    // After a failed write the buffer is not used again, since the runtime may still hold it.
    release(buffer);
  }

  #inOrder(send: () => Promise<void>): Promise<void> {
    this.#sending = this.#sending === undefined ? send() : this.#sending.then(send);
    return this.#sending;
  }

  #open(): OutBuffer {
    return this.#buffer ??= free.pop() ?? new OutBuffer();
  }

  /** Adds Latin-1 text; `false`, and nothing changed, if it does not fit. */
  addText(text: string): boolean {
    const { length } = text;
    if (length > OUT_BYTES - this.size) return false;
    const { bytes } = this.#open();
    if (!encodeAscii(text, this.size === 0 ? bytes : bytes.subarray(this.size))) {
      for (let i = 0; i < length; i++) bytes[this.size + i] = text.charCodeAt(i);
    }
    this.size += length;
    return true;
  }

  /** Adds bytes; `false`, and nothing changed, if they do not fit. */
  addBytes(bytes: Uint8Array): boolean {
    if (bytes.length > OUT_BYTES - this.size) return false;
    this.#open().bytes.set(bytes, this.size);
    this.size += bytes.length;
    return true;
  }

  /**
   * Adds an answer: `prefix` up to the length, the length, `etag` where it is one, the body.
   * `false`, and nothing changed, where there is no room, or body or `etag` are not ASCII.
   */
  addPlain(prefix: Uint8Array, etag: string, body: string | Uint8Array): boolean {
    const { length } = body;
    let at = this.size;
    if (prefix.length + LENGTH_BYTES + ETAG.length + etag.length + length > OUT_BYTES - at) {
      return false;
    }
    const { bytes } = this.#open();
    bytes.set(prefix, at);
    at += prefix.length;
    const digits = String(length);
    for (let i = 0; i < digits.length; i++) bytes[at++] = digits.charCodeAt(i);
    bytes[at++] = CR;
    bytes[at++] = LF;
    at = putETag(bytes, at, etag);
    if (at < 0) return false;
    bytes[at++] = CR;
    bytes[at++] = LF;
    if (typeof body !== "string") {
      bytes.set(body, at);
    } else if (length <= LOOP_CHARACTERS) {
      for (let i = 0; i < length; i++) {
        const code = body.charCodeAt(i);
        if (code > 0x7f) return false;
        bytes[at + i] = code;
      }
    } else if (!encodeAscii(body, bytes.subarray(at))) {
      return false;
    }
    this.size = at + length;
    return true;
  }

  /**
   * Adds an answer without a body: `prefix` up to the empty line, and `etag`. As {@link addPlain}.
   */
  addBodyless(prefix: Uint8Array, etag: string): boolean {
    const start = this.size;
    if (prefix.length + LENGTH_BYTES + ETAG.length + etag.length > OUT_BYTES - start) return false;
    const { bytes } = this.#open();
    bytes.set(prefix, start);
    let at = putETag(bytes, start + prefix.length, etag);
    if (at < 0) return false;
    bytes[at++] = CR;
    bytes[at++] = LF;
    this.size = at;
    return true;
  }
}

/**
 * Writes the line of `etag` to `bytes`, none if it is empty; returns where it ends, -1 if it is
 * odd.
 */
function putETag(bytes: Uint8Array, start: number, etag: string): number {
  if (etag === "") return start;
  bytes.set(ETAG, start);
  let at = start + ETAG.length;
  for (let i = 0; i < etag.length; i++) {
    const code = etag.charCodeAt(i);
    if (code < 0x21 || code > 0x7e) return -1;
    bytes[at++] = code;
  }
  bytes[at++] = CR;
  bytes[at++] = LF;
  return at;
}

/** Writes `text` to the start of `bytes`; `false` if it is not ASCII or does not fit. */
function encodeAscii(text: string, bytes: Uint8Array): boolean {
  // UTF-8 has more bytes than characters if the text is not ASCII. If `bytes` is full before the
  // end of such a text, the counts may be equal, but not all characters were read.
  const { read, written } = encoder.encodeInto(text, bytes);
  return read === text.length && written === text.length;
}

function release(buffer: OutBuffer): void {
  if (free.length < MAX_FREE_BUFFERS) free.push(buffer);
}
