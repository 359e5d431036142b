/** One connection: requests in, answers out in their order, as many a write as there are. */
import { SocketBody } from "./body.ts";
import { RequestHead } from "./head.ts";
import { HttpOutput } from "./output.ts";
import { HeadState, parseHead } from "./parser.ts";
import { ParsedRequest } from "./head.ts";
import { Responder, type ResponderContext } from "./responder.ts";
import { HttpSocket, isClientGone, type SocketLimits } from "./socket.ts";
import { type HttpConn, type HttpHandler, type HttpLimits, type HttpResponse } from "./types.ts";

/** What all connections of a server share. */
export interface ConnectionContext extends ResponderContext {
  readonly handler: HttpHandler;
  readonly limits: HttpLimits & SocketLimits;
  /** How often the server's timer has fired. */
  readonly tick: number;
}

/** Where a connection is. */
type ConnectionPhase = "idle" | "head" | "busy" | "lingering" | "closed";

/** The most bytes that are read and dropped after the last answer. */
const MAX_LINGER_BYTES = 64 * 1024 * 1024;

/** Where bytes go that nobody wants; never looked at, so all connections can share it. */
const dropped = new Uint8Array(65_536);

export class Connection {
  readonly #context: ConnectionContext;
  readonly #socket: HttpSocket;
  readonly #out: HttpOutput;
  readonly #responder: Responder;
  readonly #head = new RequestHead();
  #phase: ConnectionPhase = "idle";
  #idleSince: number;
  #served = 0;
  /** Whether the client is known to have more to send than was read. */
  #expectsMore = true;

  constructor(conn: HttpConn, context: ConnectionContext) {
    this.#context = context;
    this.#socket = new HttpSocket(conn, context, context.limits);
    this.#out = new HttpOutput(this.#socket);
    this.#responder = new Responder(this.#out, this.#head, context);
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

  /** The other end where that is to be shut down besides, see {@link endSockets}; else `undefined`. */
  get tlsPeer(): Deno.NetAddr | undefined {
    const { conn } = this.#socket;
    return "setNoDelay" in conn ? undefined : conn.remoteAddr;
  }

  /** Whether {@link abort} was called, be it by itself. */
  get closed(): boolean {
    return this.#phase === "closed";
  }

  /** Ends the connection at once; what is under way on it fails. */
  abort(): void {
    this.#phase = "closed";
    this.#socket.close();
    this.#responder.cancel();
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
      const { conn } = this.#socket;
      if ("setNoDelay" in conn) conn.setNoDelay();
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
    const responder = this.#responder;
    let hasWaited = false;
    while (true) {
      const state = socket.buffered === 0
        ? HeadState.incomplete
        : parseHead(socket.buffer, socket.start, socket.end, context.limits, head);

      if (state === HeadState.incomplete) {
        // Written in place: each async function in between would cost every request a promise.
        if (out.size > 0) {
          // Until all requests that came at the same time have their answers: sent right after one another
          // these wake a client once, not each time anew. Measured: an eighth more loads. Not where the answer had to be
          // waited for: that is ready alone, or as those of saves are, and to wait once more costs a save 5 to 7 % of the
          // thread's time.
          if (!hasWaited) await undefined;
          const bytes = out.pending();
          socket.beginWrite();
          const size = await socket.conn.write(bytes);
          socket.endWrite();
          if (size < bytes.length) await socket.write(bytes.subarray(size));
          out.clear();
        }
        hasWaited = false;
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
        await responder.refuse(head.status, head.detail, head.path);
        return true;
      }
      socket.start = head.end;
      const body = this.#body();
      const request = new ParsedRequest(socket.buffer, head, body);
      let response = this.#call(request);
      if (response instanceof Promise) {
        hasWaited = true;
        // Answers that are ready do not wait for this one. Where they cannot be sent, neither can it.
        if (out.size > 0) await this.#flushBeside(response);
        try {
          response = await response;
        } catch (error) {
          response = responder.failed(error);
        }
      }
      request.end();
      this.#served++;
      const rest = body === undefined ? "none" : body.end();
      const sent = responder.answer(response, head.keepAlive && rest !== "endless");
      if (!(sent instanceof Promise ? await sent : sent)) {
        await out.flush();
        this.#expectsMore = rest !== "none" || socket.buffered > 0;
        // Others may still be sending too, if they pipeline, but then room is short.
        return this.#expectsMore || !context.closing;
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
      return this.#responder.failed(error);
    }
  }

  /** Sends what is ready. Never rejects; nor does it leave a rejection of `response` unseen. */
  async #flushBeside(response: Promise<HttpResponse>): Promise<void> {
    await Promise.allSettled([this.#out.flush(), response]);
  }

  /** Answers a head that does not come to its end, while the read for it is still under way. */
  async #refuseLateHead(): Promise<void> {
    this.#phase = "lingering";
    this.#socket.allowRead(this.#context.limits.lingerTicks);
    try {
      this.#head.method = "";
      await this.#responder.refuse(408, "Request header timed out", "");
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
