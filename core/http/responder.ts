/** The answers of one connection: checks what the handler returns, and sends it. */
import { textAnswer } from "./answers.ts";
import { encodeLatin1 } from "./bytes.ts";
import { type RequestHead } from "./head.ts";
import { type HttpOutput } from "./output.ts";
import {
  addCommonResponse,
  addResponse,
  type AnswerMode,
  checkResponse,
  encodeBody,
  formatHead,
  formatStreamHead,
  type PreparedResponse,
  type StreamFraming,
  type StreamHead,
} from "./response.ts";
import { type HttpResponse } from "./types.ts";

/** The parts of a server that answers need. */
export interface ResponderContext {
  /** The `date` header as a line with its CRLF. */
  readonly dateLine: string;
  /** Whether connections end with their next answer: the server stops, or another client waits. */
  readonly closing: boolean;
  /** Makes the answer to a refused request; `path` is empty if it is not known. */
  readonly refuse: (status: number, detail: string, path: string) => HttpResponse;
  /**
   * Called with the errors of this side: a handler that threw, or an answer that cannot be sent.
   */
  readonly onError: (error: unknown, path: string) => void;
}

const FAILED = textAnswer(500, "Internal error: the server's log tells more");

/** Answers the requests of one connection. */
export class Responder {
  readonly #out: HttpOutput;
  readonly #head: RequestHead;
  readonly #context: ResponderContext;
  #stream: ResponseStream | undefined;

  /** @param head The head of the request that is answered next. */
  constructor(out: HttpOutput, head: RequestHead, context: ResponderContext) {
    this.#out = out;
    this.#head = head;
    this.#context = context;
  }

  /**
   * Cancels the stream that is being sent, if there is one. To be called when the client is gone.
   */
  cancel(): void {
    this.#stream?.cancel();
  }

  /** Reports an error of this side, and returns the answer that tells the client. */
  failed(error: unknown): HttpResponse {
    this.#context.onError(error, this.#head.path);
    return FAILED;
  }

  /** Answers a refused request. This is the last answer of a connection. */
  async refuse(status: number, detail: string, path: string): Promise<void> {
    await this.answer(this.#refusal(status, detail, path), false);
    await this.#out.flush();
  }

  #refusal(status: number, detail: string, path: string): HttpResponse {
    try {
      return this.#context.refuse(status, detail, path);
    } catch (error) {
      return this.failed(error);
    }
  }

  /**
   * Adds `response` to the output, or sends it if it does not fit. Returns whether the connection
   * goes on.
   *
   * @param mayKeep Whether the request lets the connection go on.
   */
  answer(response: HttpResponse, mayKeep: boolean): boolean | Promise<boolean> {
    const { http10, method } = this.#head;
    const { closing, dateLine } = this.#context;
    const headOnly = method === "HEAD";
    const common = mayKeep && !closing && !http10 && !headOnly;
    if (common && addCommonResponse(this.#out, response, dateLine)) return true;
    const answer = this.#check(response);
    const keepAlive = mayKeep && !closing && !answer.block.close && answer.response.close !== true;
    const mode = { keepAlive, http10, headOnly, dateLine };
    return addResponse(this.#out, answer, mode) ? keepAlive : this.#send(answer, mode);
  }

  #check(response: HttpResponse): PreparedResponse {
    try {
      return { response, block: checkResponse(response) };
    } catch (error) {
      if (response.body instanceof ReadableStream) response.body.cancel().catch(() => {});
      const failed = this.failed(error);
      return { response: failed, block: checkResponse(failed) };
    }
  }

  /** Sends an answer that is a stream, or did not fit into what is left of the output. */
  async #send(answer: PreparedResponse, mode: AnswerMode): Promise<boolean> {
    const { body = "" } = answer.response;
    if (body instanceof ReadableStream) return await this.#sendStream(body, answer, mode);
    const out = this.#out;
    await out.flush();
    if (addResponse(out, answer, mode)) return mode.keepAlive;
    const bytes = encodeBody(body);
    const head = formatHead(answer, bytes.length, mode);
    if (!out.addText(head)) await out.write(encodeLatin1(head));
    if (!mode.headOnly) await out.write(bytes);
    return mode.keepAlive;
  }

  async #sendStream(
    body: ReadableStream<Uint8Array>,
    answer: PreparedResponse,
    mode: AnswerMode,
  ): Promise<boolean> {
    const out = this.#out;
    const head = formatStreamHead(answer, mode);
    // An error shows again when the head is sent. Thrown here, it would leave the stream open.
    await out.flush().catch(() => {});
    try {
      try {
        this.#stream = new ResponseStream(body, head);
        await this.#stream.start();
      } catch (error) {
        return await this.answer(this.failed(error), mode.keepAlive);
      }
      await this.#stream.send(out);
      return mode.keepAlive && head.framing !== "close";
    } finally {
      this.#stream?.cancel();
      this.#stream = undefined;
    }
  }
}

/** Thrown if the source of a stream fails, or gives more or fewer bytes than `content-length`. */
class StreamSourceError extends Error {}

/** A stream that is sent as the body of an answer. */
class ResponseStream {
  readonly #reader: ReadableStreamDefaultReader<Uint8Array>;
  readonly #head: StreamHead;
  #piece: Uint8Array | undefined;

  /** @throws {TypeError} If the stream already has a reader. */
  constructor(body: ReadableStream<Uint8Array>, head: StreamHead) {
    this.#reader = body.getReader();
    this.#head = head;
  }

  /** Tells the source that the rest is not needed. */
  cancel(): void {
    this.#reader.cancel().catch(() => {});
  }

  /**
   * Waits for the first piece, before anything is sent. If the source fails here, the client can
   * still get a status.
   *
   * @throws {StreamSourceError} If the source fails.
   */
  async start(): Promise<void> {
    if (this.#head.framing !== "none") this.#piece = await this.#next();
  }

  /**
   * Sends head and body. Rejects with an error of the socket if the client is gone.
   *
   * @throws {StreamSourceError} If the answer cannot be completed, so that the connection has to
   * end.
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

  /** The next piece that is not empty: an empty chunk would end the body, RFC 9112 section 7.1. */
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
  if (framing === "chunked") out.addText("\r\n");
  await out.flush();
}
