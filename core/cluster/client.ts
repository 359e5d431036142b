/** The client of a cluster on one machine: probes round by round, with a list that may change. */
import { delay } from "@std/async/delay";
import { type Placement } from "../placement.ts";
import { type ProbeOptions, Prober, type Row } from "../client/probe.ts";
import { type ServerAddress } from "../client/server_list.ts";

/** Which servers a client knows, and whether it writes. */
export interface ClientList {
  /** The first so many servers. */
  readonly count: number;
  readonly readonly: boolean;
}

/** What a {@link ClusterClient} is made with. */
export interface ClusterClientOptions {
  readonly placement: Placement;
  readonly intervalMs: number;
  /** Everything else about how servers are asked. */
  readonly probe: Omit<ProbeOptions, "servers" | "placement" | "readonly">;
  /** The first `count` servers, whether they run or not. */
  readonly servers: (count: number) => readonly ServerAddress[];
  readonly onRow: (row: Row, list: ClientList) => void;
}

/** A client that goes on until it is stopped. */
export class ClusterClient {
  readonly #options: ClusterClientOptions;
  #list: ClientList;
  #changed = Promise.withResolvers<void>();
  #wake = new AbortController();

  constructor(list: ClientList, options: ClusterClientOptions) {
    this.#list = list;
    this.#options = options;
  }

  /** What is used now, or from the next round on. */
  get list(): ClientList {
    return this.#list;
  }

  /**
   * Uses another list. Resolves after the first round with it, so that no write with the old one is
   * under way any more; or when the client is stopped.
   */
  async use(list: ClientList): Promise<void> {
    this.#list = list;
    this.#wake.abort();
    await this.#changed.promise;
  }

  /** Probes until `signal`. */
  async run(signal: AbortSignal): Promise<void> {
    const { placement, intervalMs, probe, servers, onRow } = this.#options;
    while (!signal.aborted) {
      const list = this.#list;
      this.#wake = new AbortController();
      const prober = new Prober({
        ...probe,
        servers: servers(list.count),
        placement,
        readonly: list.readonly,
      });
      let told = false;
      while (!signal.aborted && this.#list === list) {
        const next = performance.now() + intervalMs;
        onRow(await prober.round(), list);
        if (!told && this.#list === list) this.#tellChanged();
        told = true;
        const woken = AbortSignal.any([signal, this.#wake.signal]);
        const waitMs = Math.max(0, next - performance.now());
        await delay(waitMs, { signal: woken }).catch(() => {});
      }
      prober.close();
    }
    this.#tellChanged();
  }

  #tellChanged(): void {
    this.#changed.resolve();
    this.#changed = Promise.withResolvers();
  }
}
