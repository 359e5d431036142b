/** Where a shard is reached. */
import { deadline } from "@std/async/deadline";
import { messageOf } from "../errors.ts";
import { createHealthHandler } from "./handler.ts";
import { type HttpServer, type HttpServerOptions, serveHttp } from "../http/server.ts";
import { type HttpHandler, type HttpLimits } from "../http/types.ts";
import { type Lifecycle } from "./lifecycle.ts";
import { type CertificateFiles, listen, type ListenAddress, TlsEndpoint } from "./listener.ts";
import { type Log } from "../log.ts";
import { type RequestMetrics } from "./metrics.ts";
import { errorAnswer } from "./answers.ts";

/** How a {@link ShardPort} is opened. */
export interface ShardPortOptions extends ListenAddress {
  /** Speaks TLS with this certificate; without it plain HTTP. */
  readonly certificate: CertificateFiles | undefined;
  readonly http: HttpLimits;
  readonly log: Log;
}

/** What is served there. */
export interface Served {
  /** Makes the handler; told whether only this machine reaches it. */
  readonly handlerOf: (isLocal: boolean) => HttpHandler;
  readonly lifecycle: Lifecycle;
  /** Counts what does not even come to the handler. */
  readonly requests: RequestMetrics;
}

/** How long requests in flight may take to end once the drain period is over (milliseconds). */
const CLOSE_TIMEOUT_MS = 2000;

/** How long the answers to writes that were refused because of the end may take (milliseconds). */
const REFUSED_TIMEOUT_MS = 250;

/** Connections at once to the port that tells of health. */
const HEALTH_CONNECTIONS = 16;

/** Where a shard is reached: its port, and with TLS a second one on loopback for its hook. */
export class ShardPort {
  readonly address: string;
  /** Whether only this machine reaches it. */
  readonly isLocal: boolean;
  /** Where health is told without TLS, as HOST:PORT; `undefined` where the port itself does. */
  readonly health: string | undefined;
  readonly #server: HttpServer;
  readonly #tls: TlsEndpoint | undefined;
  readonly #healthServer: HttpServer | undefined;

  private constructor(server: HttpServer, tls?: TlsEndpoint, healthServer?: HttpServer) {
    this.#server = server;
    this.#tls = tls;
    this.#healthServer = healthServer;
    this.address = formatAddress(server.addr);
    this.isLocal = isLoopback(server.addr);
    this.health = healthServer === undefined ? undefined : formatAddress(healthServer.addr);
  }

  /** Connections that are open. */
  get connections(): number {
    return this.#server.connections;
  }

  /** Connections that had ended before they were accepted. */
  get abandoned(): number {
    return this.#server.abandoned;
  }

  /**
   * Listens and serves.
   *
   * @throws {StartError} If the port cannot be had, or the certificate is none.
   */
  static async open(
    options: ShardPortOptions,
    { handlerOf, lifecycle, requests }: Served,
  ): Promise<ShardPort> {
    const { certificate, http, log } = options;
    const serverOptions: HttpServerOptions = {
      ...http,
      onError: (error, path) => log("error", "request failed", { path, error: messageOf(error) }),
      refuse: (status, detail, path) => {
        requests.refused(status);
        return errorAnswer(path, status, detail);
      },
    };
    if (certificate === undefined) {
      const listener = listen(options);
      const handler = handlerOf(isLoopback(listener.addr));
      return new ShardPort(serveHttp(listener, handler, serverOptions));
    }
    const tls = await TlsEndpoint.open(options, certificate, log);
    const handler = handlerOf(isLoopback(tls.listener.addr));
    const server = serveHttp(tls.listener, handler, serverOptions);
    tls.onReplaced((listener) => server.replaceListener(listener));
    // The hook is a process of its own that cannot know whom to trust, or by which name.
    const health = serveHttp(
      listen({ host: "127.0.0.1", port: 0 }),
      createHealthHandler(lifecycle),
      { ...serverOptions, maxConnections: HEALTH_CONNECTIONS },
    );
    return new ShardPort(server, tls, health);
  }

  /**
   * Waits for requests in flight, but not for ever.
   *
   * @param onLate Called where they take long: to refuse what has to wait.
   */
  async close(onLate: () => void): Promise<void> {
    this.#tls?.close();
    const ended = this.#server.shutdown();
    await deadline(ended, CLOSE_TIMEOUT_MS).catch(async () => {
      onLate();
      // A client that never ends its request must not hold up the end; its save is not acknowledged.
      await deadline(ended, REFUSED_TIMEOUT_MS).catch(() => this.#server.close());
    });
    this.#healthServer?.close();
  }
}

function isLoopback({ hostname }: Deno.NetAddr): boolean {
  return hostname.startsWith("127.") || hostname === "::1";
}

function formatAddress({ hostname, port }: Deno.NetAddr): string {
  return hostname.includes(":") ? `[${hostname}]:${port}` : `${hostname}:${port}`;
}
