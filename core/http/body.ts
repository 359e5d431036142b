/** The body of one request, read from its connection when the handler asks for it. */
import { ValueTooLargeError } from "../errors.ts";
import { ChunkedDecoder } from "./chunked.ts";
import { type HttpOutput } from "./output.ts";
import { type HttpSocket } from "./socket.ts";
import { type HttpBody } from "./types.ts";

/** The largest piece that is read at once (bytes). */
const PIECE_BYTES = 65_536;

/**
 * A rest of a body up to this size is read and dropped, so that the connection can go on (bytes).
 */
const MAX_SKIPPED_BYTES = 65_536;

const CONTINUE = new TextEncoder().encode("HTTP/1.1 100 Continue\r\n\r\n");

/** How the client announced a body. */
export interface BodyFraming {
  /** In bytes; `undefined` if the body comes in chunks. */
  readonly contentLength: number | undefined;
  /** Whether the client sends the body only after `100 Continue`. */
  readonly expectsContinue: boolean;
}

/**
 * What is left of a body when its request has been answered: nothing, a few bytes that can be
 * dropped, or an unknown number of bytes.
 */
export type BodyRest = "none" | "skippable" | "endless";

type State = "unread" | "reading" | "read" | "broken" | "over";

/** A body that is read from a {@link HttpSocket}. */
export class SocketBody implements HttpBody {
  readonly #socket: HttpSocket;
  readonly #out: HttpOutput;
  readonly #decoder: ChunkedDecoder | undefined;
  /** Bytes to come if the length is known. */
  #left: number;
  #state: State = "unread";
  /** Whether the client was told to send the body, or sends it anyway. */
  #asked: boolean;

  /** @param limits Extensions and trailers of chunks may take as many bytes as headers. */
  constructor(
    socket: HttpSocket,
    out: HttpOutput,
    { contentLength, expectsContinue }: BodyFraming,
    { maxHeaderBytes }: { readonly maxHeaderBytes: number },
  ) {
    this.#socket = socket;
    this.#out = out;
    this.#left = contentLength ?? 0;
    this.#asked = !expectsContinue || socket.buffered > 0;
    if (contentLength === undefined) this.#decoder = new ChunkedDecoder(maxHeaderBytes);
  }

  /** Whether all of it has been read. */
  get isRead(): boolean {
    return this.#state === "read";
  }

  view(maxBytes: number): Uint8Array<ArrayBuffer> | undefined {
    const { buffer, buffered, start } = this.#socket;
    const size = this.#left;
    if (this.#decoder !== undefined || size > buffered) return undefined;
    this.#begin(maxBytes);
    this.#socket.start += size;
    this.#left = 0;
    this.#state = "read";
    return buffer.subarray(start, start + size);
  }

  bytes(maxBytes: number): Uint8Array<ArrayBuffer> | Promise<Uint8Array<ArrayBuffer>> {
    const view = this.view(maxBytes);
    if (view !== undefined) return view.slice();
    this.#begin(maxBytes);
    const size = this.#left;
    const sized = this.#decoder === undefined && size <= PIECE_BYTES;
    const whole = sized ? this.#sized(size) : this.#collect(maxBytes);
    // A handler may answer without awaiting this promise, which may reject later.
    whole.catch(() => {});
    return whole;
  }

  async *chunks(maxBytes: number): AsyncGenerator<Uint8Array<ArrayBuffer>> {
    this.#begin(maxBytes);
    yield* this.#pieces(maxBytes);
  }

  #begin(maxBytes: number): void {
    if (this.#state !== "unread") throw new TypeError(`Body cannot be read: it is ${this.#state}`);
    if (this.#left > maxBytes) throw new ValueTooLargeError(this.#left, maxBytes);
    this.#state = "reading";
  }

  /** Reads a small body of known length into an array of that length. */
  async #sized(size: number): Promise<Uint8Array<ArrayBuffer>> {
    const socket = this.#socket;
    const whole = new Uint8Array(size);
    whole.set(socket.buffer.subarray(socket.start, socket.end));
    let at = socket.buffered;
    socket.start = socket.end;
    while (at < size) at += await this.#read(whole.subarray(at));
    this.#left = 0;
    this.#state = "read";
    return whole;
  }

  /** Reads a body into one growing array: many small pieces would take many times its memory. */
  async #collect(maxBytes: number): Promise<Uint8Array<ArrayBuffer>> {
    // A client may announce a large body and send none of it.
    let whole = new Uint8Array(Math.min(this.#left === 0 ? 1024 : this.#left, PIECE_BYTES));
    let size = 0;
    for await (const piece of this.#pieces(maxBytes)) {
      if (size + piece.length > whole.length) {
        const larger = new Uint8Array(Math.max(whole.length * 2, size + piece.length));
        larger.set(whole.subarray(0, size));
        whole = larger;
      }
      whole.set(piece, size);
      size += piece.length;
    }
    return size === whole.length ? whole : whole.slice(0, size);
  }

  async *#pieces(maxBytes: number): AsyncGenerator<Uint8Array<ArrayBuffer>> {
    try {
      yield* this.#decoder === undefined ? this.#plain() : this.#decoded(this.#decoder, maxBytes);
      if (this.#state === "reading") this.#state = "read";
    } finally {
      // A reader that stopped early left a part, which must not be read as the whole body.
      if (this.#state === "reading") this.#state = "broken";
    }
  }

  async *#plain(): AsyncGenerator<Uint8Array<ArrayBuffer>> {
    const socket = this.#socket;
    let scratch: Uint8Array<ArrayBuffer> | undefined;
    while (this.#left > 0) {
      if (socket.buffered > 0) {
        const size = Math.min(socket.buffered, this.#left);
        socket.start += size;
        this.#left -= size;
        yield socket.buffer.slice(socket.start - size, socket.start);
        continue;
      }
      scratch ??= new Uint8Array(Math.min(this.#left, PIECE_BYTES));
      const size = await this.#read(scratch.subarray(0, Math.min(this.#left, scratch.length)));
      this.#left -= size;
      // A small piece is copied, or it would keep all of the scratch array in memory.
      if (size === scratch.length) {
        yield scratch;
        scratch = undefined;
      } else {
        yield scratch.slice(0, size);
      }
    }
  }

  async *#decoded(
    decoder: ChunkedDecoder,
    maxBytes: number,
  ): AsyncGenerator<Uint8Array<ArrayBuffer>> {
    const socket = this.#socket;
    let total = 0;
    let raw: Uint8Array<ArrayBuffer> | undefined;
    while (true) {
      while (socket.buffered > 0 && !decoder.done) {
        socket.start = decoder.next(socket.buffer, socket.start, socket.end);
        const { dataStart, dataEnd } = decoder;
        if (dataStart === dataEnd) continue;
        total += dataEnd - dataStart;
        if (total > maxBytes) throw new ValueTooLargeError(total, maxBytes);
        yield socket.buffer.slice(dataStart, dataEnd);
      }
      if (decoder.done) return;
      // The old buffer holds the head of this request, and the handler may still ask for headers.
      raw ??= new Uint8Array(PIECE_BYTES);
      socket.useBuffer(raw, await this.#read(raw));
    }
  }

  async #read(into: Uint8Array<ArrayBuffer>): Promise<number> {
    if (!this.#asked) {
      this.#asked = true;
      await this.#out.write(CONTINUE);
      if (this.#state !== "reading") throw over();
    }
    return await this.#socket.readBody(into);
  }

  /** Ends the body when its request has been answered, and returns what is left of it. */
  end(): BodyRest {
    const state = this.#state;
    this.#state = "over";
    // The handler did not wait for its own read, which must not take bytes of the next request.
    if (state === "reading") this.#socket.failBody(over());
    if (state === "read" || (state === "unread" && this.#bufferHoldsRest())) return "none";
    // A client that waits for `100 Continue` may now send its body or its next request.
    const known = state === "unread" && this.#asked && this.#decoder === undefined;
    return known && this.#left <= MAX_SKIPPED_BYTES ? "skippable" : "endless";
  }

  /** Steps over the rest of the body if all of it lies in the buffer. */
  #bufferHoldsRest(): boolean {
    const socket = this.#socket;
    const decoder = this.#decoder;
    if (decoder === undefined) {
      if (this.#left > socket.buffered) return false;
      socket.start += this.#left;
      return true;
    }
    try {
      while (socket.buffered > 0 && !decoder.done) {
        socket.start = decoder.next(socket.buffer, socket.start, socket.end);
      }
      return decoder.done;
    } catch {
      return false;
    }
  }

  /** Reads and drops the rest. @throws {BodyTimeoutError} If the client does not send it. */
  async skip(): Promise<void> {
    const socket = this.#socket;
    this.#left -= socket.buffered;
    socket.start = socket.end;
    const scratch = new Uint8Array(Math.min(this.#left, PIECE_BYTES));
    while (this.#left > 0) {
      this.#left -= await socket.readBody(scratch.subarray(0, this.#left));
    }
  }
}

function over(): TypeError {
  return new TypeError("Body cannot be read: its request is over");
}
