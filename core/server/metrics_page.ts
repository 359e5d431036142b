/**
 * `/metrics`: the numbers of a shard in the text format of Prometheus, written by prom-client. The
 * library is loaded at the first request, so that no start pays for it.
 */
import type { Registry } from "prom-client";
import { type DiskRoom } from "../system/disk.ts";
import { type Histogram, LATENCY_BOUNDS } from "../histogram.ts";
import { type RequestMetrics } from "./metrics.ts";
import { type StoreMetrics } from "../store.ts";

/** The sources of the numbers. */
export interface MetricsSources {
  readonly requests: RequestMetrics;
  /** `undefined` until the store is open. */
  readonly store: () => StoreMetrics | undefined;
  /** Connections that are open. */
  readonly connections: () => number;
  /** Connections that had ended before they were accepted. */
  readonly abandoned: () => number;
  readonly ready: () => boolean;
  readonly membership: LayoutNumbers;
  /** Keys that the server has still to hand over; `undefined` if no move is under way. */
  readonly leaving: () => Promise<number | undefined>;
  readonly room: () => Promise<DiskRoom>;
  readonly version: string;
}

/** What a server counts of its layout. */
export interface LayoutNumbers {
  /** `undefined` without a layout. */
  readonly epoch: number | undefined;
  readonly isMoving: boolean;
  /** Whether the server serves nothing by its layout. */
  readonly isOut: boolean;
  /** Keys that were handed over since the start. */
  readonly handedOver: number;
  /** Writes that have waited at a fence since the start, and the longest wait (milliseconds). */
  readonly fencedWrites: number;
  readonly longestWaitMs: number;
}

/** The answer of `/metrics`. */
export interface MetricsText {
  readonly contentType: string;
  readonly text: string;
}

/** The metrics of one shard. */
export class Metrics {
  readonly #sources: MetricsSources;
  #registry: Promise<Registry> | undefined;

  constructor(sources: MetricsSources) {
    this.#sources = sources;
  }

  /** The numbers as they are now. */
  async page(): Promise<MetricsText> {
    this.#registry ??= createRegistry(this.#sources);
    const registry = await this.#registry;
    return { contentType: registry.contentType, text: await registry.metrics() };
  }
}

/** A histogram of ours and its labels. */
type Observed = readonly [labels: Record<string, string>, histogram: Histogram];

async function createRegistry(sources: MetricsSources): Promise<Registry> {
  const { Counter, Gauge, Histogram, Registry } = await import("prom-client");
  const registry = new Registry();
  const registers = [registry];
  const { requests, store, connections, abandoned, ready, membership, room, version } = sources;

  /** A number that may be unknown: then it has no line. */
  function gauge(
    name: string,
    help: string,
    read: () => number | undefined | Promise<number | undefined>,
  ): void {
    new Gauge({
      name,
      help,
      registers,
      async collect() {
        const value = await read();
        if (value === undefined) this.remove();
        else this.set(value);
      },
    });
  }

  function counter(name: string, help: string, read: () => number): void {
    new Counter({
      name,
      help,
      registers,
      collect() {
        this.reset();
        this.inc(read());
      },
    });
  }

  /** A histogram that copies counts of ours, instead of observing by itself. */
  class Copied extends Histogram<string> {
    readonly #facts: { readonly name: string; readonly help: string };
    readonly #read: () => readonly Observed[];

    constructor(name: string, help: string, labelNames: string[], read: () => readonly Observed[]) {
      super({ name, help, labelNames, buckets: [...LATENCY_BOUNDS], registers });
      this.#facts = { name, help };
      this.#read = read;
    }

    /** The registry calls this when it writes the text. */
    getForPromString(): Promise<Samples> {
      const { name } = this.#facts;
      const values = this.#read().flatMap((observed) => samplesOf(name, observed));
      return Promise.resolve({ ...this.#facts, type: "histogram", aggregator: "sum", values });
    }
  }

  new Gauge({
    name: "kvs_build_info",
    help: "Always 1; the labels tell what is running",
    labelNames: ["version", "deno"],
    registers,
  }).set({ version, deno: Deno.version.deno }, 1);
  gauge("kvs_ready", "1 while data routes are served, else 0", () => ready() ? 1 : 0);
  gauge("kvs_open_connections", "Connections that are open", connections);
  counter(
    "kvs_abandoned_connections_total",
    "Connections that had ended before they were accepted",
    abandoned,
  );
  new Counter({
    name: "kvs_http_requests_total",
    help: "Requests answered, by route and status",
    labelNames: ["route", "status"],
    registers,
    collect() {
      this.reset();
      for (const { route, statuses } of requests.counts) {
        for (const [status, count] of statuses) this.inc({ route, status: String(status) }, count);
      }
    },
  });
  new Copied(
    "kvs_http_request_duration_seconds",
    "Time from the whole header of a request to its answer, for a stream to its beginning",
    ["route"],
    () => requests.counts.map(({ route, latency }) => [{ route }, latency]),
  );

  gauge("kvs_layout_epoch", "Number of the layout, if the server has one", () => membership.epoch);
  gauge(
    "kvs_layout_moving",
    "1 while keys move by the layout, else 0",
    () => membership.isMoving ? 1 : 0,
  );
  gauge("kvs_layout_out", "1 if the server serves nothing by its layout, else 0", () => {
    return membership.isOut ? 1 : 0;
  });
  counter(
    "kvs_handover_keys_total",
    "Keys that were handed over to other servers",
    () => membership.handedOver,
  );
  gauge("kvs_handover_keys_left", "Keys that are still to be handed over", sources.leaving);
  counter(
    "kvs_fenced_requests_total",
    "Writes that waited while their range was carried",
    () => membership.fencedWrites,
  );
  gauge(
    "kvs_fenced_wait_seconds_max",
    "The longest time that a write has waited while its range was carried",
    () => membership.longestWaitMs / 1000,
  );
  gauge("kvs_keys", "Keys that the server holds", () => store()?.keys);
  counter("kvs_cache_hits_total", "Loads answered from memory", () => store()?.cacheHits ?? 0);
  counter(
    "kvs_cache_misses_total",
    "Loads not answered from memory, those of absent keys included",
    () => store()?.cacheMisses ?? 0,
  );
  gauge("kvs_journal_bytes", "Bytes of the journal", () => store()?.journalBytes);
  gauge("kvs_journal_segments", "Files of the journal", () => store()?.journalSegments);
  new Copied(
    "kvs_journal_flush_duration_seconds",
    "Time to write and flush the journal, each time for many saves at once",
    [],
    () => {
      const flushes = store()?.flushes;
      return flushes === undefined ? [] : [[{}, flushes]];
    },
  );
  counter(
    "kvs_checkpoints_total",
    "Segments of the journal that became key files",
    () => store()?.checkpoints ?? 0,
  );
  counter(
    "kvs_checkpoint_failures_total",
    "Checkpoints that failed; they are tried again",
    () => store()?.checkpointFailures ?? 0,
  );
  gauge("kvs_last_checkpoint_timestamp_seconds", "When the last segment became key files", () => {
    const ms = store()?.lastCheckpointMs;
    return ms === undefined ? undefined : ms / 1000;
  });

  // The sum of all values would cost a look at every file at the start. A volume belongs to one server anyway.
  gauge(
    "kvs_disk_used_bytes",
    "Bytes that files take on the file system of the data directory, other programs' files included",
    async () => (await room()).usedBytes,
  );
  gauge(
    "kvs_disk_free_bytes",
    "Bytes that are free on the file system of the data directory",
    async () => (await room()).freeBytes,
  );
  gauge(
    "kvs_disk_free_files",
    "Files that the file system has room for, if it counts them",
    async () => (await room()).freeFiles ?? undefined,
  );
  gauge(
    "process_resident_memory_bytes",
    "Memory of the process",
    () => Deno.memoryUsage().rss,
  );
  const startedAt = (Date.now() - performance.now()) / 1000;
  gauge("process_start_time_seconds", "When the process started", () => startedAt);
  return registry;
}

/** One line of the text. */
interface Sample {
  readonly labels: Record<string, string | number>;
  readonly value: number;
  readonly metricName: string;
}

/** A metric with its lines. */
interface Samples {
  readonly name: string;
  readonly help: string;
  readonly type: string;
  readonly aggregator: string;
  readonly values: readonly Sample[];
}

/** The samples of a histogram: its classes, each with those below it, sum and count. */
function samplesOf(name: string, [labels, { counts, sumSeconds }]: Observed): Sample[] {
  let count = 0;
  const buckets = Array.from(counts, (inClass, at) => {
    count += inClass;
    const le = LATENCY_BOUNDS[at] ?? "+Inf";
    return { metricName: `${name}_bucket`, labels: { ...labels, le }, value: count };
  });
  return [
    ...buckets,
    { metricName: `${name}_sum`, labels, value: sumSeconds },
    { metricName: `${name}_count`, labels, value: count },
  ];
}
