/** One connection: reads requests, calls the handler, and sends the answers in the same order. */
import { SocketBody } from "./body.ts";
import { HeadState, ParsedRequest, RequestHead } from "./head.ts";
import { HttpOutput } from "./output.ts";
import { parseHead } from "./parser.ts";
import { Responder, type ResponderContext } from "./responder.ts";
import { HttpSocket, isClientGone, type SocketLimits } from "./socket.ts";
import { type HttpConn, type HttpHandler, type HttpLimits, type HttpResponse } from "./types.ts";

/** The parts of a server that all its connections use. */
export interface ConnectionContext extends ResponderContext {
  readonly handler: HttpHandler;
  readonly limits: HttpLimits & SocketLimits;
  /** The number of ticks since the server's start. */
  readonly tick: number;
}

/**
 * What a connection does: `idle` waits for a request, `head` has a part of one, `busy` has a
 * request that is being answered, `lingering` waits for the client to read its last answer.
 */
type ConnectionPhase = "idle" | "head" | "busy" | "lingering" | "closed";

/** The most that is read and dropped after the last answer (bytes). */
const MAX_LINGER_BYTES = 64 * 1024 * 1024;

/** Takes bytes that are dropped. Nothing reads them, so all connections share the array. */
const dropped = new Uint8Array(65_536);

/** A connection that a server accepted. */
export class Connection {
  readonly #context: ConnectionContext;
  readonly #socket: HttpSocket;
  readonly #out: HttpOutput;
  readonly #responder: Responder;
  readonly #head = new RequestHead();
  #phase: ConnectionPhase = "idle";
  #idleSince: number;
  #served = 0;
  /** The body of the request that is being answered. */
  #requestBody: SocketBody | undefined;
  /** Whether the client may be sending something that was not read. */
  #expectsMore = true;

  constructor(conn: HttpConn, context: ConnectionContext) {
    this.#context = context;
    this.#socket = new HttpSocket(conn, context, context.limits);
    this.#out = new HttpOutput(this.#socket);
    this.#responder = new Responder(this.#out, this.#head, context);
    this.#idleSince = context.tick;
  }

  /**
   * Whether closing the connection now loses nothing: it waits for a request, or for a client that
   * has sent all. A connection that never had a request counts as idle only after `minTicks`.
   */
  isIdle(minTicks: number): boolean {
    if (this.#phase === "lingering") return !this.#expectsMore;
    return this.#phase === "idle" &&
      (this.#served > 0 || this.#context.tick - this.#idleSince >= minTicks);
  }

  /** The other end of a TLS connection, for `endSockets`; `undefined` for plain TCP. */
  get tlsPeer(): Deno.NetAddr | undefined {
    const { conn } = this.#socket;
    return "setNoDelay" in conn ? undefined : conn.remoteAddr;
  }

  /** Whether the connection was ended, by {@link abort} or by itself. */
  get closed(): boolean {
    return this.#phase === "closed";
  }

  /** Ends the connection at once. Reads and writes that are under way fail. */
  abort(): void {
    this.#phase = "closed";
    this.#socket.close();
    this.#responder.cancel();
  }

  /**
   * Called once a tick. If a deadline has passed, refuses the head that is late, fails the read of a
   * body, or ends the connection.
   */
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

  /** Watches the client of the request that is being answered. One function, since each request gets it. */
  readonly #watch = () => {
    const isWhole = this.#requestBody === undefined || this.#requestBody.isRead;
    return isWhole && this.#socket.buffered === 0 ? this.#socket.watch() : undefined;
  };

  /** Serves until the connection ends. Never rejects. */
  async run(): Promise<void> {
    try {
      // Without this, the second part of an answer waits until the client acknowledged the first.
      const { conn } = this.#socket;
      if ("setNoDelay" in conn) conn.setNoDelay();
      if (await this.#serve()) await this.#linger();
    } catch (error) {
      if (!isClientGone(error)) this.#context.onError(error, this.#head.path);
    } finally {
      this.abort();
    }
  }

  /** Serves requests; resolves to whether the connection has to linger after the last answer. */
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
        // The write stands here since an async function around it costs each request a promise.
        if (out.size > 0) {
          // The microtask lets other connections, whose requests were read in the same turn, add
          // their answers first. Writes that follow each other directly wake the clients once. An
          // answer that was awaited gains nothing from it.
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
        // The head was late and was refused while this read waited for the rest of it.
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
      this.#requestBody = body;
      const request = new ParsedRequest(socket.buffer, head, body, this.#watch);
      let response = this.#call(request);
      if (response instanceof Promise) {
        hasWaited = true;
        // Answers that are ready do not wait for this one. An error of the flush shows again when
        // this one is sent.
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
        // A server that is closing lingers only for clients that are known to send more.
        return this.#expectsMore || !context.closing;
      }
      if (rest === "skippable") {
        await out.flush();
        await body?.skip();
      }
    }
  }

  /** Sets the deadline by which the client has to send its next request, or the rest of a head. */
  #awaitHead(): void {
    const socket = this.#socket;
    const { limits, tick } = this.#context;
    const fresh = this.#served === 0;
    if (socket.buffered === 0) {
      this.#phase = "idle";
      this.#idleSince = tick;
      socket.allowRead(fresh ? limits.headerTicks : limits.idleTicks);
    } else if (this.#phase !== "head") {
      // One deadline for the whole head. That of the first head began with the connection.
      if (!fresh) socket.allowRead(limits.headerTicks);
      this.#phase = "head";
    }
  }

  #body(): SocketBody | undefined {
    const { contentLength, chunked } = this.#head;
    if (!chunked && (contentLength ?? 0) === 0) return undefined;
    return new SocketBody(this.#socket, this.#out, this.#head, this.#context.limits);
  }

  #call(request: ParsedRequest): HttpResponse | Promise<HttpResponse> {
    try {
      return this.#context.handler(request);
    } catch (error) {
      return this.#responder.failed(error);
    }
  }

  /** Sends the answers that are ready, and waits for `response`. Never rejects. */
  async #flushBeside(response: Promise<HttpResponse>): Promise<void> {
    await Promise.allSettled([this.#out.flush(), response]);
  }

  /** Answers 408 to a head that is not complete in time. A read for the head is still under way. */
  async #refuseLateHead(): Promise<void> {
    this.#phase = "lingering";
    this.#socket.allowRead(this.#context.limits.lingerTicks);
    try {
      // Without its method, which may be HEAD, the refusal has a body.
      this.#head.method = "";
      await this.#responder.refuse(408, "Request header timed out", "");
      await this.#socket.closeWrite();
    } catch {
      this.abort();
    }
  }

  /**
   * Waits until the client has closed its side, so that it gets the last answer. If the connection
   * were closed while the client sends, the system would reset it, and the client could lose what
   * it has not read yet: RFC 9112 section 9.6.
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
