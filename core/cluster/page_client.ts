/** The client whose rows the live page shows: it probes round by round, and its server list may change. */
import { delay } from "@std/async/delay";
import { type Placement } from "../placement.ts";
import { type ProbeOptions, Prober, type Row } from "../client/probe.ts";
import { type ServerAddress } from "../client/server_list.ts";

/** The servers that a client knows, and whether it only reads. */
export interface ClientList {
  /** How many servers are on the list, from server-0 on. */
  readonly count: number;
  readonly readonly: boolean;
}

/** What a {@link PageClient} is made with. */
export interface PageClientOptions {
  readonly placement: Placement;
  readonly intervalMs: number;
  /** How servers are asked, besides. */
  readonly probe: Omit<ProbeOptions, "servers" | "placement" | "readonly">;
  /** The first `count` servers, whether they run or not. */
  readonly servers: (count: number) => readonly ServerAddress[];
  readonly onRow: (row: Row, list: ClientList) => void;
}

/** A client like `kvs client`, until it is stopped. */
export class PageClient {
  readonly #options: PageClientOptions;
  #list: ClientList;
  #changed = Promise.withResolvers<void>();
  #wake = new AbortController();

  constructor(list: ClientList, options: PageClientOptions) {
    this.#list = list;
    this.#options = options;
  }

  /**
   * Uses another list. Resolves after the first round with the new list, when no write by the old list is under way
   * any more; or when the client is stopped.
   */
  async use(list: ClientList): Promise<void> {
    this.#list = list;
    this.#wake.abort();
    await this.#changed.promise;
  }

  /** Probes until an abort. */
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
