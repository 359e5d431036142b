/** The network side of a shard: its port, and with TLS a second port on loopback for its hook. */
import { deadline } from "@std/async/deadline";
import { messageOf } from "../errors.ts";
import { createHealthHandler } from "./handler.ts";
import { type HttpServer, type HttpServerOptions, serveHttp } from "../http/server.ts";
import { type HttpHandler, type HttpLimits } from "../http/types.ts";
import { type Lifecycle } from "./lifecycle.ts";
import { type Membership } from "./membership.ts";
import { type CertificateFiles, listen, type ListenAddress, TlsEndpoint } from "./listener.ts";
import { type Log } from "../log.ts";
import { type RequestMetrics } from "./metrics.ts";
import { errorAnswer } from "./answers.ts";

/** The options of a {@link ShardPort}. */
export interface ShardPortOptions extends ListenAddress {
  /** The certificate for TLS; without it the port speaks plain HTTP. */
  readonly certificate: CertificateFiles | undefined;
  readonly http: HttpLimits;
  readonly log: Log;
}

/** The parts of a shard that a port serves. */
export interface Served {
  /** Makes the handler. `isLocal` says whether only this machine reaches the port. */
  readonly handlerOf: (isLocal: boolean) => HttpHandler;
  readonly lifecycle: Lifecycle;
  readonly membership: Membership;
  /** Counts requests that do not come to the handler. */
  readonly requests: RequestMetrics;
}

/** How long requests in flight may take after the drain period (milliseconds). */
const CLOSE_TIMEOUT_MS = 2000;

/** How long the answers to writes that the end refuses may take (milliseconds). */
const REFUSED_TIMEOUT_MS = 250;

/** The most connections to the health port. */
const HEALTH_CONNECTIONS = 16;

/** An open port. */
export class ShardPort {
  /** The address as HOST:PORT. */
  readonly address: string;
  /** Whether only this machine reaches it. */
  readonly isLocal: boolean;
  /** The health port, as HOST:PORT; `undefined` if the port itself speaks plain HTTP. */
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

  /** The number of open connections. */
  get connections(): number {
    return this.#server.connections;
  }

  /** The number of connections that had ended before they were accepted. */
  get abandoned(): number {
    return this.#server.abandoned;
  }

  /**
   * Listens and serves.
   *
   * @throws {StartError} If the port cannot be used, or the certificate is malformed.
   */
  static async open(
    options: ShardPortOptions,
    { handlerOf, lifecycle, membership, requests }: Served,
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
    // The hook is another process: it knows neither which authority to trust nor the server's name.
    const health = serveHttp(
      listen({ host: "127.0.0.1", port: 0 }),
      createHealthHandler(lifecycle, membership),
      { ...serverOptions, maxConnections: HEALTH_CONNECTIONS },
    );
    return new ShardPort(server, tls, health);
  }

  /**
   * Waits for requests in flight, but not for ever.
   *
   * @param onLate Called if they take long: it refuses the writes that wait.
   */
  async close(onLate: () => void): Promise<void> {
    this.#tls?.close();
    const ended = this.#server.shutdown();
    await deadline(ended, CLOSE_TIMEOUT_MS).catch(async () => {
      onLate();
      // A client that never ends its request must not hold up the end. Its save is not acknowledged.
      await deadline(ended, REFUSED_TIMEOUT_MS).catch(() => this.#server.close());
    });
    this.#healthServer?.close();
  }
}

function isLoopback({ hostname }: Deno.NetAddr): boolean {
  return /^(::ffff:)?127\./.test(hostname) || hostname === "::1";
}

function formatAddress({ hostname, port }: Deno.NetAddr): string {
  return hostname.includes(":") ? `[${hostname}]:${port}` : `${hostname}:${port}`;
}
