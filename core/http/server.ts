/**
 * A small, strict HTTP/1.1 server over TCP or TLS: RFC 9110 and 9112.
 *
 * It exists because `Deno.serve` has no time-outs and no limit of connections, so that a client which
 * falls silent holds its connection for ever; and it costs less a request.
 */
import { Connection, type ConnectionContext } from "./connection.ts";
import { SharedHeaders } from "./headers.ts";
import { endSockets } from "./end_sockets.ts";
import {
  type HttpConn,
  type HttpHandler,
  type HttpLimits,
  type HttpListener,
  type HttpResponse,
} from "./types.ts";

/** What a server is started with. */
export interface HttpServerOptions extends HttpLimits {
  /** Told of what went wrong on this side; `path` is empty where no request did. Must not throw. */
  readonly onError: (error: unknown, path: string) => void;
  /** Makes the answer to what is no proper request; a line of plain text by default. */
  readonly refuse?: (status: number, detail: string, path: string) => HttpResponse;
}

/** A running server. */
export interface HttpServer {
  readonly addr: Deno.NetAddr;
  /** Connections that are open. */
  readonly connections: number;
  /** Connections that had ended before they were accepted, as those of port scans, since the start. */
  readonly abandoned: number;
  /**
   * Goes on with another listener, which shares the port with the one so far, and closes that one.
   * Connections that are open go on.
   */
  replaceListener(listener: HttpListener): void;
  /**
   * Stops listening, closes what is idle, and resolves when every request under way was answered and
   * its connection is closed. May be called again.
   */
  shutdown(): Promise<void>;
  /** Stops listening and ends every connection at once, whatever is under way on it. */
  close(): void;
}

/** The longest tick: deadlines are met within one, and dates are that old at most. */
const MAX_TICK_MS = 1000;
const MIN_TICK_MS = 5;

/** How long a client may take to read its last answer while it still sends (milliseconds). */
const MAX_LINGER_MS = 5000;

/** Below this a body or an answer counts as stalled once its time-out has passed (bytes a second). */
const MIN_BYTES_PER_SECOND = 240;

/** How long a new connection that says nothing is safe when others wait (milliseconds). */
const FRESH_MS = 1000;

/** Files and sockets of a process besides its connections, with some to spare. */
const OTHER_DESCRIPTORS = 2048;

/** How long to wait where there was no descriptor or memory for a connection. */
const ACCEPT_RETRY_MS = 100;

/** What accept(2) says where this side is to blame; all else is about the one connection. */
const SHORTAGES = new Set(["EMFILE", "ENFILE", "ENOMEM", "ENOBUFS"]);

const TEXT = new SharedHeaders({ "content-type": "text/plain; charset=utf-8" });

/**
 * Serves what `listener` accepts, which from now on is the server's to close.
 *
 * When `maxConnections` are open, the next one waits, and more in the system's own queue: an idle
 * connection is closed to make room, and answers say `connection: close` until nobody waits.
 */
export function serveHttp(
  listener: HttpListener,
  handler: HttpHandler,
  options: HttpServerOptions,
): HttpServer {
  return new Server(listener, handler, options);
}

class Server implements HttpServer, ConnectionContext {
  readonly handler: HttpHandler;
  readonly limits: ConnectionContext["limits"];
  readonly refuse: ConnectionContext["refuse"];
  readonly onError: ConnectionContext["onError"];
  tick = 0;
  dateLine = dateLineOf(new Date());
  abandoned = 0;
  #listener: HttpListener;
  readonly #freshTicks: number;
  readonly #connections = new Set<Connection>();
  readonly #ended = Promise.withResolvers<void>();
  readonly #timer: ReturnType<typeof setInterval>;
  #stopped = false;
  /** Whether an accepted connection waits for another to end. */
  #crowded = false;
  /**
   * Connections that were ended while the runtime still writes to them: Deno 2.4 does not give up
   * such a write before the client reads or goes. They count, since each is an open descriptor.
   */
  #held = 0;
  /** What ends the waits of {@link #sleep}. */
  readonly #sleepers = new Set<() => void>();

  constructor(listener: HttpListener, handler: HttpHandler, options: HttpServerOptions) {
    const { headerTimeoutMs, bodyTimeoutMs, idleTimeoutMs } = options;
    const shortest = Math.min(headerTimeoutMs, bodyTimeoutMs, idleTimeoutMs);
    const tickMs = Math.min(Math.max(shortest / 4, MIN_TICK_MS), MAX_TICK_MS);
    const ticks = (ms: number) => Math.ceil(ms / tickMs);
    this.handler = handler;
    this.limits = {
      ...options,
      headerTicks: ticks(headerTimeoutMs),
      bodyTicks: ticks(bodyTimeoutMs),
      idleTicks: ticks(idleTimeoutMs),
      lingerTicks: ticks(Math.min(bodyTimeoutMs, MAX_LINGER_MS)),
      minBytesPerTick: MIN_BYTES_PER_SECOND * tickMs / 1000,
    };
    this.refuse = options.refuse ?? plainRefusal;
    this.onError = options.onError;
    this.#freshTicks = ticks(FRESH_MS);
    this.#listener = listener;
    this.#timer = setInterval(() => this.#sweep(), tickMs);
    this.#accept(listener);
  }

  get addr(): Deno.NetAddr {
    return this.#listener.addr;
  }

  get connections(): number {
    return this.#connections.size + this.#held;
  }

  get closing(): boolean {
    return this.#stopped || this.#crowded;
  }

  replaceListener(listener: HttpListener): void {
    if (this.#stopped) return listener.close();
    const previous = this.#listener;
    this.#listener = listener;
    this.#accept(listener);
    closeListener(previous);
  }

  shutdown(): Promise<void> {
    this.#stop();
    this.#closeIdle();
    this.#endIfEmpty();
    return this.#ended.promise;
  }

  close(): void {
    this.#stop();
    for (const connection of this.#connections) {
      connection.abort();
      this.#hold(connection);
    }
    this.#endIfEmpty();
  }

  #closeIdle(): void {
    for (const connection of this.#connections) {
      if (connection.isIdle(0)) connection.abort();
    }
  }

  #stop(): void {
    if (this.#stopped) return;
    this.#stopped = true;
    closeListener(this.#listener);
    this.#wake();
  }

  /** Accepts until the server stops, or goes on with another listener. Never rejects. */
  async #accept(listener: HttpListener): Promise<void> {
    let isShort = false;
    while (!this.#stopped && listener === this.#listener) {
      try {
        const conn = await listener.accept();
        isShort = false;
        await this.#makeRoom();
        if (this.#stopped) conn.close();
        else this.#serve(conn);
      } catch (error) {
        if (listener !== this.#listener) return;
        // Closed by us, or by somebody else.
        if (this.#stopped || error instanceof Deno.errors.BadResource) return void this.shutdown();
        if (!isShortage(error)) {
          this.abandoned++;
          continue;
        }
        if (!isShort) this.onError(error, "");
        isShort = true;
        // One may come free, and trying at once would spin.
        this.#evict();
        await this.#sleep(ACCEPT_RETRY_MS);
      }
    }
  }

  #serve(conn: HttpConn): void {
    const connection = new Connection(conn, this);
    this.#connections.add(connection);
    connection.run().then(() => {
      if (!this.#connections.delete(connection)) this.#held--;
      this.#wake();
      this.#endIfEmpty();
    });
  }

  /** Waits until one more connection may be open. */
  async #makeRoom(): Promise<void> {
    while (this.connections >= this.limits.maxConnections && !this.#stopped) {
      this.#crowded = true;
      this.#evict();
      await this.#sleep();
    }
    this.#crowded = false;
  }

  /** Ends one connection that nobody uses, if there is any. */
  #evict(): void {
    for (const connection of this.#connections) {
      if (!connection.isIdle(this.#freshTicks)) continue;
      connection.abort();
      return this.#endSockets([connection]);
    }
  }

  /** Waits until a connection ends, the server stops, or `ms` are over. */
  async #sleep(ms?: number): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#sleepers.add(resolve);
    const timer = ms === undefined ? undefined : setTimeout(resolve, ms);
    await promise;
    clearTimeout(timer);
    this.#sleepers.delete(resolve);
  }

  #wake(): void {
    for (const end of this.#sleepers) end();
  }

  #sweep(): void {
    this.tick++;
    const dateLine = dateLineOf(new Date());
    if (dateLine !== this.dateLine) this.dateLine = dateLine;
    const overdue: Connection[] = [];
    for (const connection of this.#connections) {
      // Closed by an earlier tick, and still not at its end.
      if (connection.closed) {
        this.#hold(connection);
        continue;
      }
      connection.sweep();
      if (connection.closed) overdue.push(connection);
    }
    if (overdue.length > 0) this.#endSockets(overdue);
    if (this.#stopped) this.#closeIdle();
    else if (this.#crowded) this.#evict();
    this.#endIfEmpty();
  }

  /** Ends for good what the runtime would keep open, as it does with silent TLS clients. */
  #endSockets(connections: readonly Connection[]): void {
    const peers = connections.flatMap(({ tlsPeer }) => tlsPeer ?? []);
    endSockets(peers, this.limits.maxConnections + OTHER_DESCRIPTORS);
  }

  #hold(connection: Connection): void {
    if (this.#connections.delete(connection)) this.#held++;
  }

  #endIfEmpty(): void {
    if (!this.#stopped || this.#connections.size > 0) return;
    clearInterval(this.#timer);
    this.#ended.resolve();
  }
}

function isShortage(error: unknown): boolean {
  return error instanceof Error && "code" in error && typeof error.code === "string" &&
    SHORTAGES.has(error.code);
}

function closeListener(listener: HttpListener): void {
  try {
    listener.close();
  } catch {
    // Somebody else closed it.
  }
}

function dateLineOf(date: Date): string {
  return `date: ${date.toUTCString()}\r\n`;
}

function plainRefusal(status: number, detail: string): HttpResponse {
  return { status, headers: TEXT, body: detail };
}
