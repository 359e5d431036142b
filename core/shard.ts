/** One shard as a running server: folder, port, store and handler, started and stopped in order. */
import { deadline } from "@std/async/deadline";
import { delay } from "@std/async/delay";
import { type BodyLimits } from "./body.ts";
import { DataDir } from "./data_dir.ts";
import { messageOf, StartError } from "./errors.ts";
import { openFileStore } from "./file_store.ts";
import { createHandler } from "./handler.ts";
import { Lifecycle } from "./lifecycle.ts";
import { type Log } from "./log.ts";
import { type Store } from "./store.ts";

/** What a shard is started with. */
export interface ShardOptions {
  /** The address to listen on, for example `0.0.0.0`. */
  readonly host: string;
  /** 0 picks a free one. */
  readonly port: number;
  readonly dataDir: string;
  readonly limits: BodyLimits;
  readonly log: Log;
  /** Called once it listens, with HOST:PORT; data routes may still answer 503 then. */
  readonly onListen?: (address: string) => void;
}

/** How long requests in flight may take to end once the drain period is over (milliseconds). */
const CLOSE_TIMEOUT_MS = 2000;

/** A running shard. */
export class Shard {
  readonly #server: Deno.HttpServer<Deno.NetAddr>;
  readonly #lifecycle: Lifecycle;
  readonly #dataDir: DataDir;
  readonly #store: Store;

  private constructor(
    server: Deno.HttpServer<Deno.NetAddr>,
    lifecycle: Lifecycle,
    dataDir: DataDir,
    store: Store,
  ) {
    this.#server = server;
    this.#lifecycle = lifecycle;
    this.#dataDir = dataDir;
    this.#store = store;
  }

  /**
   * Takes the folder, listens, then opens the store: a port that is taken is noticed before a long
   * replay, and probes are answered during it.
   *
   * @throws {StartError} If the folder or the port cannot be had.
   * @throws {StorageFailedError} If what is on disk is damaged.
   */
  static async start(options: ShardOptions): Promise<Shard> {
    const { log, dataDir: path } = options;
    const dataDir = await DataDir.open(path);
    const lifecycle = new Lifecycle(path);
    let store: Store | undefined = undefined;
    const handler = createHandler({
      store: () => store,
      lifecycle,
      limits: options.limits,
      log,
    });
    const server = listen(options, handler);
    const address = formatAddress(server.addr);
    await dataDir.announce({
      pid: Deno.pid,
      host: Deno.hostname(),
      address,
      since: new Date().toISOString(),
    });
    options.onListen?.(address);
    store = await openFileStore(dataDir.path, dataDir.hiddenPath);
    lifecycle.started();
    log("info", "listening", { address, data: path, keys: store.size });
    if (lifecycle.phase === "shutting down") log("warn", "not serving", { why: lifecycle.reason });
    return new Shard(server, lifecycle, dataDir, store);
  }

  /**
   * Answers 503 to everything new for `drainMs`, so that clients which still know the address learn
   * to back off, then waits for what is in flight and closes.
   */
  async stop(drainMs: number): Promise<void> {
    this.#lifecycle.drain();
    await delay(drainMs);
    // A client that never ends its request must not hold up the end; its save is not acknowledged.
    await deadline(this.#server.shutdown(), CLOSE_TIMEOUT_MS).catch(() => {});
    await this.#store.close();
    await this.#dataDir.close();
  }
}

function listen(
  { host, port, log }: ShardOptions,
  handler: Deno.ServeHandler,
): Deno.HttpServer<Deno.NetAddr> {
  try {
    return Deno.serve({
      hostname: host,
      port,
      onListen() {},
      onError(error) {
        log("error", "request failed", { error: messageOf(error) });
        return new Response("Internal error", { status: 500 });
      },
    }, handler);
  } catch (error) {
    const why = error instanceof Deno.errors.AddrInUse ? "the port is taken" : messageOf(error);
    throw new StartError(`Cannot listen on ${host}:${port}: ${why}`, { cause: error });
  }
}

function formatAddress({ hostname, port }: Deno.NetAddr): string {
  return hostname.includes(":") ? `[${hostname}]:${port}` : `${hostname}:${port}`;
}
