/** One shard as a running server: folder, port, store and handler, started and stopped in order. */
import { deadline } from "@std/async/deadline";
import { delay } from "@std/async/delay";
import { DataDir } from "./data_dir.ts";
import { diskRoom } from "./disk_room.ts";
import { messageOf, StartError, type StorageFailedError } from "./errors.ts";
import { createHandler } from "./handler.ts";
import { type HttpServer, serveHttp } from "./http_server.ts";
import { type HttpLimits } from "./http_types.ts";
import { type JournalStore } from "./journal_store.ts";
import { Lifecycle } from "./lifecycle.ts";
import { type Log } from "./log.ts";
import { openJournalStore } from "./open_journal_store.ts";
import { errorAnswer } from "./respond.ts";

/** What a shard is started with. */
export interface ShardOptions {
  /** The address to listen on, for example `0.0.0.0`. */
  readonly host: string;
  /** 0 picks a free one. */
  readonly port: number;
  readonly dataDir: string;
  /** The largest value that is taken, in bytes. */
  readonly maxValueBytes: number;
  /** Memory for values that are on the disk as well, in bytes. */
  readonly cacheBytes: number;
  /** The size at which the journal slows writers down, in bytes. */
  readonly journalBytes: number;
  readonly http: HttpLimits;
  readonly log: Log;
  /** Called once it listens, with HOST:PORT; data routes may still answer 503 then. */
  readonly onListen?: (address: string) => void;
}

/** How long requests in flight may take to end once the drain period is over (milliseconds). */
const CLOSE_TIMEOUT_MS = 2000;

/** How long the answers to writes that were refused because of the end may take (milliseconds). */
const REFUSED_TIMEOUT_MS = 250;

/**
 * How long the journal may be turned into key files at the end (milliseconds), so that a Pod ends
 * within its grace period; the next start replays what is left.
 */
const CHECKPOINT_TIMEOUT_MS = 3000;

/** A running shard. */
export class Shard {
  /** Rejects when the disk failed so that nothing on it can be trusted: the process has to end. */
  readonly failed: Promise<never>;
  readonly #server: HttpServer;
  readonly #lifecycle: Lifecycle;
  readonly #dataDir: DataDir;
  readonly #store: JournalStore;

  private constructor(
    parts: { server: HttpServer; lifecycle: Lifecycle; dataDir: DataDir; store: JournalStore },
    failed: Promise<never>,
  ) {
    this.#server = parts.server;
    this.#lifecycle = parts.lifecycle;
    this.#dataDir = parts.dataDir;
    this.#store = parts.store;
    this.failed = failed;
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
    let store: JournalStore | undefined = undefined;
    const handler = createHandler({
      store: () => store,
      lifecycle,
      room: () => diskRoom(path),
      maxValueBytes: options.maxValueBytes,
      log,
    });
    const server = serveHttp(listen(options), handler, {
      ...options.http,
      onError: (error, path) => log("error", "request failed", { path, error: messageOf(error) }),
      refuse: (status, detail, path) => errorAnswer(path, status, detail),
    });
    const address = formatAddress(server.addr);
    const holder = {
      pid: Deno.pid,
      host: Deno.hostname(),
      address,
      since: new Date().toISOString(),
    };
    await dataDir.announce(holder).catch((error) => {
      // As on a full disk; the lock holds all the same, and keys can be served.
      log("warn", "cannot write who holds the data directory", { error: messageOf(error) });
    });
    options.onListen?.(address);
    const { promise: failed, reject: onFatal } = Promise.withResolvers<never>();
    // Whoever runs the shard looks at it; until then it must not count as unhandled.
    failed.catch(() => {});
    store = await openJournalStore(path, {
      cacheBytes: options.cacheBytes,
      journalBytes: options.journalBytes,
      closeTimeoutMs: CHECKPOINT_TIMEOUT_MS,
      log,
      onFatal: (error: StorageFailedError) => onFatal(error),
    });
    lifecycle.started();
    log("info", "listening", { address, data: path, keys: store.size });
    if (lifecycle.phase === "shutting down") log("warn", "not serving", { why: lifecycle.reason });
    return new Shard({ server, lifecycle, dataDir, store }, failed);
  }

  /**
   * Answers 503 to everything new for `drainMs`, so that clients which still know the address learn
   * to back off, then waits for what is in flight and closes.
   */
  async stop(drainMs: number): Promise<void> {
    this.#lifecycle.drain();
    await delay(drainMs);
    const ended = this.#server.shutdown();
    await deadline(ended, CLOSE_TIMEOUT_MS).catch(async () => {
      // On a slow disk saves may wait for room in the journal: they are told.
      this.#store.refuseWaiting();
      // A client that never ends its request must not hold up the end; its save is not acknowledged.
      await deadline(ended, REFUSED_TIMEOUT_MS).catch(() => this.#server.close());
    });
    await this.#store.close();
    this.#dataDir.close();
  }
}

function listen({ host, port }: ShardOptions): Deno.TcpListener {
  try {
    return Deno.listen({ hostname: host, port });
  } catch (error) {
    const why = error instanceof Deno.errors.AddrInUse ? "the port is taken" : messageOf(error);
    throw new StartError(`Cannot listen on ${host}:${port}: ${why}`, { cause: error });
  }
}

function formatAddress({ hostname, port }: Deno.NetAddr): string {
  return hostname.includes(":") ? `[${hostname}]:${port}` : `${hostname}:${port}`;
}
