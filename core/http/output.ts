/** Gathers the answers of one connection, so that several of them need one write. */
import { BYTE, encodeLatin1 } from "./bytes.ts";
import { type HttpSocket } from "./socket.ts";

/** Size of an output buffer (bytes). Answers that do not fit are written in parts. */
const OUT_BYTES = 16_384;

/** The most buffers that are kept for the next answer. */
const MAX_FREE_BUFFERS = 64;

/** Texts up to this are copied by a loop, which is faster there than the encoder (characters). */
const LOOP_CHARACTERS = 64;

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

  /** Adds ASCII text; `false`, and nothing changed, if it does not fit or is not ASCII. */
  addAscii(text: string): boolean {
    const { length } = text;
    const { size } = this;
    if (length > OUT_BYTES - size) return false;
    const { bytes } = this.#open();
    if (length <= LOOP_CHARACTERS) {
      for (let i = 0; i < length; i++) {
        const code = text.charCodeAt(i);
        if (code > 0x7f) return false;
        bytes[size + i] = code;
      }
    } else {
      // UTF-8 has more bytes than characters if the text is not ASCII. If the buffer is full before
      // the end of such a text, the counts may be equal, but not all characters were read.
      const { read, written } = encoder.encodeInto(text, size === 0 ? bytes : bytes.subarray(size));
      if (read !== length || written !== length) return false;
    }
    this.size += length;
    return true;
  }

  /**
   * Adds visible ASCII characters and a CRLF; `false`, and nothing changed, if they do not fit or
   * `text` has other characters.
   */
  addLine(text: string): boolean {
    const { length } = text;
    if (length + 2 > OUT_BYTES - this.size) return false;
    const { bytes } = this.#open();
    let at = this.size;
    for (let i = 0; i < length; i++) {
      const code = text.charCodeAt(i);
      if (code < 0x21 || code > 0x7e) return false;
      bytes[at++] = code;
    }
    bytes[at++] = BYTE.CR;
    bytes[at++] = BYTE.LF;
    this.size = at;
    return true;
  }

  /** Adds Latin-1 text; `false`, and nothing changed, if it does not fit. */
  addText(text: string): boolean {
    return this.addAscii(text) || this.addBytes(encodeLatin1(text));
  }

  /** Adds bytes; `false`, and nothing changed, if they do not fit. */
  addBytes(bytes: Uint8Array): boolean {
    if (bytes.length > OUT_BYTES - this.size) return false;
    this.#open().bytes.set(bytes, this.size);
    this.size += bytes.length;
    return true;
  }
}

function release(buffer: OutBuffer): void {
  if (free.length < MAX_FREE_BUFFERS) free.push(buffer);
}
