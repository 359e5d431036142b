/** One connection: requests in, answers out in their order, as many a write as there are. */
import { SocketBody } from "./http_body.ts";
import { RequestHead } from "./http_head.ts";
import { SharedHeaders } from "./http_headers.ts";
import { HttpOutput } from "./http_output.ts";
import { HeadState, parseHead } from "./http_parser.ts";
import { ParsedRequest } from "./http_request.ts";
import {
  addCommonResponse,
  addResponse,
  type Answer,
  type AnswerMode,
  checkResponse,
  encodeLatin1,
  formatHead,
  formatStreamHead,
} from "./http_response.ts";
import { HttpSocket, isClientGone, type SocketLimits } from "./http_socket.ts";
import { ResponseStream } from "./http_stream.ts";
import { type HttpHandler, type HttpLimits, type HttpResponse } from "./http_types.ts";

/** What all connections of a server share. */
export interface ConnectionContext {
  readonly handler: HttpHandler;
  readonly limits: HttpLimits & SocketLimits;
  /** How often the server's timer has fired. */
  readonly tick: number;
  /** The `date` header as a line. */
  readonly dateLine: string;
  /** Whether connections end with their next answer: the server stops, or others wait. */
  readonly closing: boolean;
  /** Makes the answer to a request that cannot be served; `path` is empty where it is not known. */
  readonly refuse: (status: number, detail: string, path: string) => HttpResponse;
  /** Told of what went wrong on this side: a handler that threw, an answer that cannot be sent. */
  readonly onError: (error: unknown, path: string) => void;
}

/** Where a connection is. */
type Phase = "idle" | "head" | "busy" | "lingering" | "closed";

/** The most bytes that are read and dropped after the last answer. */
const MAX_LINGER_BYTES = 64 * 1024 * 1024;

/** Where bytes go that nobody wants; never looked at, so all connections can share it. */
const dropped = new Uint8Array(65_536);

const FAILED: HttpResponse = {
  status: 500,
  headers: new SharedHeaders({ "content-type": "text/plain; charset=utf-8" }),
  body: "Internal error: the server's log tells more",
};

const encoder = new TextEncoder();

export class Connection {
  readonly #context: ConnectionContext;
  readonly #socket: HttpSocket;
  readonly #out: HttpOutput;
  readonly #head = new RequestHead();
  #phase: Phase = "idle";
  #idleSince: number;
  #served = 0;
  /** Whether the client is known to have more to send than was read. */
  #expectsMore = true;
  #stream: ResponseStream | undefined;

  constructor(conn: Deno.TcpConn, context: ConnectionContext) {
    this.#context = context;
    this.#socket = new HttpSocket(conn, context, context.limits);
    this.#out = new HttpOutput(this.#socket);
    this.#idleSince = context.tick;
  }

  /**
   * Whether nothing is lost when it is closed now; one that never had a request counts only after
   * `minTicks`.
   */
  isIdle(minTicks: number): boolean {
    if (this.#phase === "lingering") return !this.#expectsMore;
    return this.#phase === "idle" &&
      (this.#served > 0 || this.#context.tick - this.#idleSince >= minTicks);
  }

  /** Whether {@link abort} was called, be it by itself. */
  get closed(): boolean {
    return this.#phase === "closed";
  }

  /** Ends the connection at once; what is under way on it fails. */
  abort(): void {
    this.#phase = "closed";
    this.#socket.close();
    this.#stream?.cancel();
  }

  /** Called at each tick: ends what is overdue. */
  sweep(): void {
    const overdue = this.#socket.overdue();
    if (overdue === "nothing") return;
    if (overdue === "reading") {
      if (this.#socket.failLateBody()) return;
      if (this.#phase === "head") {
        this.#refuseLateHead();
        return;
      }
    }
    this.abort();
  }

  /** Serves until the connection ends. Never rejects. */
  async run(): Promise<void> {
    try {
      // An answer in parts must not wait until the client has acknowledged the first.
      this.#socket.conn.setNoDelay();
      if (await this.#serve()) await this.#linger();
    } catch (error) {
      if (!isClientGone(error)) this.#context.onError(error, this.#head.path);
    } finally {
      this.abort();
    }
  }

  /** Resolves to whether the client may still be sending when there is nothing more to answer. */
  async #serve(): Promise<boolean> {
    const socket = this.#socket;
    const context = this.#context;
    const head = this.#head;
    const out = this.#out;
    while (true) {
      const state = socket.buffered === 0
        ? HeadState.incomplete
        : parseHead(socket.buffer, socket.start, socket.end, context.limits, head);

      if (state === HeadState.incomplete) {
        // Written in place: each async function in between would cost every request a promise.
        if (out.size > 0) {
          const bytes = out.pending();
          socket.beginWrite();
          const size = await socket.conn.write(bytes);
          socket.endWrite();
          if (size < bytes.length) await socket.write(bytes.subarray(size));
          out.clear();
        }
        if (socket.buffered === 0 && this.#served > 0 && context.closing) return false;
        this.#awaitHead();
        const size = await socket.read();
        if (size === null) return false;
        if (this.#phase === "lingering") return true;
        socket.end += size;
        continue;
      }

      socket.stopReadClock();
      this.#phase = "busy";
      if (state === HeadState.refused) {
        await this.#answer(this.#refusal(head.status, head.detail, head.path), false);
        await out.flush();
        return true;
      }
      socket.start = head.end;
      const body = this.#body();
      const request = new ParsedRequest(socket.buffer, head, body);
      let response = this.#call(request);
      if (response instanceof Promise) response = await this.#settle(response);
      request.end();
      this.#served++;
      const rest = body === undefined ? "none" : body.end();
      const sent = this.#answer(response, head.keepAlive && rest !== "endless");
      if (!(sent instanceof Promise ? await sent : sent)) {
        await out.flush();
        this.#expectsMore = rest !== "none" || socket.buffered > 0;
        // A client that asked for the end sends nothing more; others hardly, and room is short.
        return this.#expectsMore || (head.keepAlive && !context.closing);
      }
      if (rest === "skippable") {
        await out.flush();
        await body?.skip();
      }
    }
  }

  /** Sets the deadline of what the client should send next. */
  #awaitHead(): void {
    const socket = this.#socket;
    const { limits, tick } = this.#context;
    const fresh = this.#served === 0;
    if (socket.buffered === 0) {
      this.#phase = "idle";
      this.#idleSince = tick;
      socket.allowRead(fresh ? limits.headerTicks : limits.idleTicks);
    } else if (this.#phase !== "head") {
      // Once for all of it, however it drips; the first head has been timed since connect.
      if (!fresh) socket.allowRead(limits.headerTicks);
      this.#phase = "head";
    }
  }

  #body(): SocketBody | undefined {
    const { contentLength, chunked } = this.#head;
    if (!chunked && (contentLength === undefined || contentLength === 0)) return undefined;
    return new SocketBody(this.#socket, this.#out, this.#head, this.#context.limits);
  }

  #call(request: ParsedRequest): HttpResponse | Promise<HttpResponse> {
    try {
      return this.#context.handler(request);
    } catch (error) {
      return this.#failed(error);
    }
  }

  /** Waits for an answer; those that are ready meanwhile do not wait for it. Never rejects. */
  #settle(response: Promise<HttpResponse>): Promise<HttpResponse> {
    const settled = response.catch((error) => this.#failed(error));
    if (this.#out.size === 0) return settled;
    return this.#out.flush().then(() => settled, () => settled);
  }

  #refusal(status: number, detail: string, path: string): HttpResponse {
    try {
      return this.#context.refuse(status, detail, path);
    } catch (error) {
      return this.#failed(error);
    }
  }

  #failed(error: unknown): HttpResponse {
    this.#context.onError(error, this.#head.path);
    return FAILED;
  }

  /** Adds `response` to what is sent, or sends it; whether the connection goes on after it. */
  #answer(response: HttpResponse, mayKeep: boolean): boolean | Promise<boolean> {
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
      const failed = this.#failed(error);
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
    const bytes = typeof body === "string" ? encoder.encode(body) : body;
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
        return await this.#answer(this.#failed(error), mode.keepAlive);
      }
      await this.#stream.send(out);
      return mode.keepAlive && head.framing !== "close";
    } finally {
      this.#stream?.cancel();
      this.#stream = undefined;
    }
  }

  /** Answers a head that does not come to its end, while the read for it is still under way. */
  async #refuseLateHead(): Promise<void> {
    this.#phase = "lingering";
    this.#socket.allowRead(this.#context.limits.lingerTicks);
    try {
      this.#head.method = "";
      await this.#answer(this.#refusal(408, "Request header timed out", ""), false);
      await this.#out.flush();
      await this.#socket.closeWrite();
    } catch {
      this.abort();
    }
  }

  /**
   * Ends the connection so that the last answer arrives: closing while the client still sends would
   * make the system reset it, and drop what the client has not read: RFC 9112 section 9.6.
   */
  async #linger(): Promise<void> {
    this.#phase = "lingering";
    this.#socket.allowRead(this.#context.limits.lingerTicks);
    await this.#socket.closeWrite();
    for (let total = 0; total < MAX_LINGER_BYTES;) {
      const size = await this.#socket.conn.read(dropped);
      if (size === null) return;
      total += size;
    }
  }
}
