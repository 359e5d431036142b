/** Answers whose body is a stream: sent as they come, never faster than the client reads. */
import { type HttpOutput } from "./http_output.ts";
import { encodeLatin1, type StreamFraming, type StreamHead } from "./http_response.ts";

/** Thrown when the source of a stream failed, or gave more or less than it promised. */
export class StreamSourceError extends Error {}

export class ResponseStream {
  readonly #reader: ReadableStreamDefaultReader<Uint8Array>;
  readonly #head: StreamHead;
  #piece: Uint8Array | undefined;

  /** @throws {TypeError} If somebody else reads the stream. */
  constructor(body: ReadableStream<Uint8Array>, head: StreamHead) {
    this.#reader = body.getReader();
    this.#head = head;
  }

  /** Tells the source that nobody wants the rest. */
  cancel(): void {
    this.#reader.cancel().catch(() => {});
  }

  /**
   * Waits for the first piece, before anything is sent: a source that fails at once can still be
   * answered with a status.
   *
   * @throws {StreamSourceError} If it does.
   */
  async start(): Promise<void> {
    if (this.#head.framing !== "none") this.#piece = await this.#next();
  }

  /**
   * Sends header and body. Rejects with what a socket throws where the client is gone.
   *
   * @throws {StreamSourceError} If the answer cannot be ended as it should be; it has to be cut.
   */
  async send(out: HttpOutput): Promise<void> {
    const { text, framing, length } = this.#head;
    if (!out.addText(text)) await out.write(encodeLatin1(text));
    let left = length;
    while (this.#piece !== undefined) {
      left -= this.#piece.length;
      if (framing === "length" && left < 0) throw new StreamSourceError("Body has too many bytes");
      await sendPiece(out, this.#piece, framing);
      this.#piece = await this.#next();
    }
    if (framing === "length" && left > 0) throw new StreamSourceError("Body has too few bytes");
    if (framing === "chunked") out.addText("0\r\n\r\n");
    await out.flush();
  }

  /** The next piece with any bytes; an empty chunk would be the end: RFC 9112 section 7.1. */
  async #next(): Promise<Uint8Array | undefined> {
    try {
      while (true) {
        const { done, value } = await this.#reader.read();
        if (done) return undefined;
        if (value.length > 0) return value;
      }
    } catch (cause) {
      throw new StreamSourceError("Body failed", { cause });
    }
  }
}

async function sendPiece(
  out: HttpOutput,
  piece: Uint8Array,
  framing: StreamFraming,
): Promise<void> {
  if (framing === "chunked") out.addText(`${piece.length.toString(16)}\r\n`);
  if (!out.addBytes(piece)) await out.write(piece);
  // Goes out with the piece, or with what follows it.
  if (framing === "chunked") out.addText("\r\n");
  await out.flush();
}
