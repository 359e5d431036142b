/** The answers of one connection, from what a handler gives to what is sent. */
import { type RequestHead } from "./http_head.ts";
import { SharedHeaders } from "./http_headers.ts";
import { type HttpOutput } from "./http_output.ts";
import {
  addCommonResponse,
  addResponse,
  type Answer,
  type AnswerMode,
  checkResponse,
  encodeBody,
  encodeLatin1,
  formatHead,
  formatStreamHead,
} from "./http_response.ts";
import { ResponseStream } from "./http_stream.ts";
import { type HttpResponse } from "./http_types.ts";

/** What the answers of a server have in common. */
export interface ResponderContext {
  /** The `date` header as a line. */
  readonly dateLine: string;
  /** Whether connections end with their next answer: the server stops, or others wait. */
  readonly closing: boolean;
  /** Makes the answer to a request that cannot be served; `path` is empty where it is not known. */
  readonly refuse: (status: number, detail: string, path: string) => HttpResponse;
  /** Told of what went wrong on this side: a handler that threw, an answer that cannot be sent. */
  readonly onError: (error: unknown, path: string) => void;
}

const FAILED: HttpResponse = {
  status: 500,
  headers: new SharedHeaders({ "content-type": "text/plain; charset=utf-8" }),
  body: "Internal error: the server's log tells more",
};

export class Responder {
  readonly #out: HttpOutput;
  readonly #head: RequestHead;
  readonly #context: ResponderContext;
  #stream: ResponseStream | undefined;

  /** @param head Of the request that is answered next. */
  constructor(out: HttpOutput, head: RequestHead, context: ResponderContext) {
    this.#out = out;
    this.#head = head;
    this.#context = context;
  }

  /** Cancels the stream that is being sent, if there is one: its client is gone. */
  cancel(): void {
    this.#stream?.cancel();
  }

  /** Logs what went wrong on this side, and returns the answer to that. */
  failed(error: unknown): HttpResponse {
    this.#context.onError(error, this.#head.path);
    return FAILED;
  }

  /** Sends the last answer of a connection, to what is no proper request. */
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

  /** Adds `response` to what is sent, or sends it; whether the connection goes on after it. */
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

  #check(response: HttpResponse): Answer {
    try {
      return { response, block: checkResponse(response) };
    } catch (error) {
      if (response.body instanceof ReadableStream) response.body.cancel().catch(() => {});
      const failed = this.failed(error);
      return { response: failed, block: checkResponse(failed) };
    }
  }

  /** Sends an answer that does not go out together with others. */
  async #send(answer: Answer, mode: AnswerMode): Promise<boolean> {
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
    answer: Answer,
    mode: AnswerMode,
  ): Promise<boolean> {
    const out = this.#out;
    const head = formatStreamHead(answer, mode);
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
