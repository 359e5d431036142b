/**
 * A small, strict HTTP/1.1 server over TCP or TLS: RFC 9110 and 9112. README.md says why it exists.
 */
import { Connection, type ConnectionContext } from "./connection.ts";
import { textAnswer } from "./answers.ts";
import { endSockets } from "./end_sockets.ts";
import {
  type HttpConn,
  type HttpHandler,
  type HttpLimits,
  type HttpListener,
  type HttpResponse,
} from "./types.ts";

/** The options of a server. */
export interface HttpServerOptions extends HttpLimits {
  /**
   * Called with the errors of this side; `path` is empty if no request caused one. Must not throw.
   */
  readonly onError: (error: unknown, path: string) => void;
  /** Makes the answer to a refused request; by default it is a line of plain text. */
  readonly refuse?: (status: number, detail: string, path: string) => HttpResponse;
}

/** A running server. */
export interface HttpServer {
  readonly addr: Deno.NetAddr;
  /** Connections that are open. */
  readonly connections: number;
  /** Connections since the start that ended before they were accepted, as those of port scans. */
  readonly abandoned: number;
  /**
   * Accepts from another listener, which shares the port with the current one, and closes the
   * current one. Open connections stay open.
   */
  replaceListener(listener: HttpListener): void;
  /**
   * Stops listening and closes idle connections. Resolves when the requests under way were answered
   * and all connections are closed. May be called again.
   */
  shutdown(): Promise<void>;
  /** Stops listening and ends all connections at once, also those with a request under way. */
  close(): void;
}

/** The longest tick (milliseconds). Deadlines and the `date` header are as exact as one tick. */
const MAX_TICK_MS = 1000;

/** The shortest tick (milliseconds). */
const MIN_TICK_MS = 5;

/** How long a client that still sends may take to read its last answer (milliseconds). */
const MAX_LINGER_MS = 5000;

/**
 * After the time-out of a body, a body or an answer has to be faster than this (bytes a second).
 */
const MIN_BYTES_PER_SECOND = 240;

/**
 * How long a new connection without a request stays open while another one waits (milliseconds).
 */
const FRESH_MS = 1000;

/** The most files and sockets that a process has open besides its connections. */
const OTHER_DESCRIPTORS = 2048;

/** How long to wait if there was no descriptor or memory for a connection (milliseconds). */
const ACCEPT_RETRY_MS = 100;

/** Errors of accept(2) that this side has to wait for; all others concern only one connection. */
const SHORTAGES = new Set(["EMFILE", "ENFILE", "ENOMEM", "ENOBUFS"]);

/**
 * Serves the connections of `listener`, which the server closes at its end.
 *
 * When `maxConnections` are open, the next one waits, and more wait in the queue of the system. An
 * idle connection is closed to make room, and answers say `connection: close` until none waits.
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
  /** Whether an accepted connection waits until another one ends. */
  #crowded = false;
  /**
   * Connections that were ended while the runtime still writes to them. Deno 2.4 ends such a write
   * only when the client reads or goes. They count as open, since each has a descriptor.
   */
  #held = 0;
  /** The functions that end the waits of {@link #sleep}. */
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
    this.refuse = options.refuse ?? ((status, detail) => textAnswer(status, detail));
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

  /** Accepts connections until the server stops or gets another listener. Never rejects. */
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
        // The listener was closed, here or by its owner.
        if (this.#stopped || error instanceof Deno.errors.BadResource) return void this.shutdown();
        if (!isShortage(error)) {
          this.abandoned++;
          continue;
        }
        if (!isShort) this.onError(error, "");
        isShort = true;
        // Trying again at once would keep the event loop busy until a descriptor is free.
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

  /** Ends one idle connection, if there is any. */
  #evict(): void {
    for (const connection of this.#connections) {
      if (!connection.isIdle(this.#freshTicks)) continue;
      connection.abort();
      return this.#endSockets([connection]);
    }
  }

  /** Waits until a connection ends, the server stops, or `ms` milliseconds have passed. */
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

  /** Ends overdue connections. Called once a tick. */
  #sweep(): void {
    this.tick++;
    const dateLine = dateLineOf(new Date());
    if (dateLine !== this.dateLine) this.dateLine = dateLine;
    const overdue: Connection[] = [];
    for (const connection of this.#connections) {
      // An earlier tick ended the connection, but the runtime has not closed it yet.
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

  /** Shuts down the sockets of ended TLS connections, which the runtime would keep open. */
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
    // The listener is closed already.
  }
}

function dateLineOf(date: Date): string {
  return `date: ${date.toUTCString()}\r\n`;
}
