/** One shard as a running server: folder, port, store and handler, started and stopped in order. */
import { delay } from "@std/async/delay";
import { BrowserGuard } from "../http/browser_guard.ts";
import { DataDir } from "../storage/data_dir.ts";
import { connectionsWithin, raiseDescriptorLimit } from "../system/process.ts";
import { denoFiles } from "../system/deno_files.ts";
import { diskRoom, fileSystemId } from "../system/disk.ts";
import { messageOf, type StorageFailedError } from "../errors.ts";
import { countLeaving } from "./handover.ts";
import { Guard, type TokenSource } from "./guard.ts";
import { createHandler } from "./handler.ts";
import { type HttpLimits } from "../http/types.ts";
import { type JournalStore } from "../storage/journal_store.ts";
import { ClusterStateFile } from "./cluster_state.ts";
import { SYSTEM_LEASES } from "./fence.ts";
import { LastMove } from "./last_move.ts";
import { Lifecycle } from "./lifecycle.ts";
import { Membership } from "./membership.ts";
import { RequestMetrics } from "./metrics.ts";
import { Metrics } from "./metrics_page.ts";
import { openJournalStore } from "../storage/open_journal_store.ts";
import { reserveBytesOf } from "../storage/reserve.ts";
import { ShardPort, type ShardPortOptions } from "./shard_port.ts";
import { VERSION } from "../version.ts";

export { parseHostName } from "../http/browser_guard.ts";

/** The options of a shard. */
export interface ShardOptions extends ShardPortOptions {
  /** The tokens that admit to data; without them everyone may read and write. */
  readonly tokens: TokenSource | undefined;
  /**
   * The host names under which data is served, besides addresses and `localhost`, as `parseHostName`
   * gives them. If it is `undefined`, a port that other machines reach serves under any name.
   */
  readonly allowedHosts: readonly string[] | undefined;
  readonly dataDir: string;
  /** The largest value that is taken, in bytes. */
  readonly maxValueBytes: number;
  /** The memory for values that are key files as well, in bytes. */
  readonly cacheBytes: number;
  /** The size at which writers have to wait for the journal, in bytes; less on a small disk. */
  readonly journalBytes: number;
  /** Called with HOST:PORT when the shard listens. Data routes may still answer 503 then. */
  readonly onListen?: (address: string) => void;
}

/**
 * How long the last checkpoint may take (milliseconds), so that a Pod ends within its grace period. The
 * next start replays the rest of the journal.
 */
const CHECKPOINT_TIMEOUT_MS = 3000;

/**
 * The journal takes at most the size of the disk divided by this. A segment keeps its room until all of it is in key
 * files, so on a full disk a large journal would leave no room for key files.
 */
const JOURNAL_PART = 16;

/** The parts of a running shard. */
interface ShardParts {
  readonly port: ShardPort;
  readonly guard: Guard | undefined;
  readonly lifecycle: Lifecycle;
  readonly membership: Membership;
  readonly dataDir: DataDir;
  readonly store: JournalStore;
}

/** A running shard. */
export class Shard {
  /** Rejects if the disk fails in a way after which nothing on it is trusted: the process has to end. */
  readonly failed: Promise<never>;
  readonly #parts: ShardParts;

  private constructor(parts: ShardParts, failed: Promise<never>) {
    this.#parts = parts;
    this.failed = failed;
  }

  /**
   * Takes the folder, listens, then opens the store. So a port that is taken is noticed before a long
   * replay, and probes are answered during the replay.
   *
   * @throws {StartError} If the folder or the port cannot be used.
   * @throws {StorageFailedError} If the data on disk is damaged.
   */
  static async start(options: ShardOptions): Promise<Shard> {
    const { log, dataDir: path } = options;
    // First, since a token that cannot be read leaves no folder behind.
    const guard = options.tokens === undefined ? undefined : await Guard.open(options.tokens, log);
    const dataDir = await DataDir.open(path);
    const lifecycle = new Lifecycle(path);
    const lastMove = await LastMove.open(dataDir.hiddenPath, denoFiles, log);
    const { promise: failed, reject: onFatal } = Promise.withResolvers<never>();
    // Until the caller handles it, the rejection must not count as unhandled.
    failed.catch(() => {});
    const membership = new Membership({
      file: await ClusterStateFile.open(dataDir.hiddenPath, denoFiles, log),
      clock: SYSTEM_LEASES,
      log,
      onFatal,
    });
    let store: JournalStore | undefined = undefined;
    const requests = new RequestMetrics();
    const room = () => diskRoom(path);
    const { usedBytes, freeBytes } = await room();
    const diskBytes = usedBytes + freeBytes;
    const journalBytes = Math.min(options.journalBytes, Math.ceil(diskBytes / JOURNAL_PART));
    const metrics = new Metrics({
      requests,
      store: () => store?.metrics,
      connections: () => port.connections,
      abandoned: () => port.abandoned,
      ready: () => lifecycle.phase === "serving" && !membership.isOut,
      membership,
      leaving: async () => store === undefined ? undefined : await countLeaving(store, membership),
      room,
      version: VERSION,
    });
    const fileSystem = await fileSystemId(path);
    const handlerOf = (isLocal: boolean) =>
      createHandler({
        store: () => store,
        lastMove,
        membership,
        lifecycle,
        guard,
        browserGuard: new BrowserGuard(hostNames(options, isLocal)),
        room,
        fileSystem,
        journalBytes,
        requests,
        metrics: () => metrics.page(),
        maxValueBytes: options.maxValueBytes,
        log,
      });
    const http = withinDescriptors(options);
    const port = await ShardPort.open({ ...options, http }, {
      handlerOf,
      lifecycle,
      membership,
      requests,
    });
    const { address } = port;
    const holder = {
      pid: Deno.pid,
      host: Deno.hostname(),
      address,
      ...(port.health === undefined ? {} : { health: port.health }),
      since: new Date().toISOString(),
    };
    await dataDir.announce(holder).catch((error) => {
      // For example on a full disk. The lock holds nevertheless, and keys can be served.
      log("warn", "cannot write who holds the data directory", { error: messageOf(error) });
    });
    options.onListen?.(address);
    store = await openJournalStore(path, {
      cacheBytes: options.cacheBytes,
      journalBytes,
      reserveBytes: reserveBytesOf(diskBytes),
      closeTimeoutMs: CHECKPOINT_TIMEOUT_MS,
      log,
      onFatal: (error: StorageFailedError) => onFatal(error),
    });
    await membership.resume(store);
    lifecycle.started();
    log("info", "listening", { address, data: path, keys: store.size });
    if (lifecycle.phase === "shutting down") log("warn", "not serving", { why: lifecycle.reason });
    if (!port.isLocal) warnOfStrangers(options, address);
    return new Shard({ port, guard, lifecycle, membership, dataDir, store }, failed);
  }

  /**
   * Answers 503 to each new request for data for `drainMs` milliseconds, so that clients which still know
   * the address learn to back off. Then waits for requests in flight, and closes.
   */
  async stop(drainMs: number): Promise<void> {
    const { port, guard, lifecycle, membership, dataDir, store } = this.#parts;
    lifecycle.drain();
    membership.close();
    await delay(drainMs);
    guard?.close();
    // On a slow disk saves may wait for the journal: they are refused.
    await port.close(() => store.refuseWaiting());
    await store.close();
    dataDir.close();
  }
}

/** The names that the Host of a request may have, `undefined` for any. */
function hostNames(
  { allowedHosts, host }: ShardOptions,
  isLocal: boolean,
): readonly string[] | undefined {
  // No proper name of the network leads to loopback: such a name is an attack by DNS rebinding.
  if (allowedHosts === undefined && !isLocal) return undefined;
  return [host.toLowerCase(), ...allowedHosts ?? []];
}

/** Lowers the limit of connections to the open files that the process may have, and logs that. */
function withinDescriptors({ http, log }: ShardOptions): HttpLimits {
  const limit = raiseDescriptorLimit();
  if (limit === undefined) return http;
  const maxConnections = connectionsWithin(limit);
  if (maxConnections >= http.maxConnections) return http;
  log("warn", "fewer connections than --max-connections: ulimit -n allows no more open files", {
    connections: maxConnections,
    maxConnections: http.maxConnections,
    openFiles: limit,
  });
  return { ...http, maxConnections };
}

/** Warns at the start of what strangers on the network can do. */
function warnOfStrangers({ tokens, certificate, log }: ShardOptions, address: string): void {
  if (tokens === undefined) {
    log("warn", "open: anyone who can reach this port can read and write, see --token-file", {
      address,
    });
  } else if (certificate === undefined) {
    log("warn", "not encrypted: anyone on the way can read the token, see --tls-cert", { address });
  }
}
