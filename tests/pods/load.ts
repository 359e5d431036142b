/** Constant load from clients that know placement, and retry what a server that restarts refuses. */
import { assertEquals } from "@std/assert";
import { delay } from "@std/async/delay";
import { PLACEMENTS } from "../../core/placement.ts";
import { type KubeCluster } from "./cluster.ts";

/** How a {@link Load} is made. */
export interface LoadOptions {
  /** Names of the servers, in the order of placement. */
  readonly servers: readonly string[];
  /** How many clients work at the same time, each on keys of its own. */
  readonly clients: number;
}

/** What a load has done. */
export interface LoadSummary {
  /** Saves and loads that succeeded. */
  requests: number;
  /** Attempts that were answered 503. */
  refusedBy503: number;
  /** Attempts without an answer: no name, no connection, or a connection that broke. */
  unreachable: number;
  /** Requests given up, after {@link GIVE_UP_MS}. */
  failed: number;
  /** The longest time from the first attempt of a request to its success (milliseconds). */
  longestWaitMs: number;
}

const KEYS_PER_CLIENT = 25;
const RETRY_MS = 50;

/** From one save to the next of the same client: a load that leaves the machine room to breathe. */
const PACE_MS = 10;
const ATTEMPT_TIMEOUT_MS = 1000;

/** When a request has failed for good (milliseconds). */
const GIVE_UP_MS = 60_000;

/** Saves and loads until it is stopped. */
export class Load {
  readonly summary: LoadSummary = {
    requests: 0,
    refusedBy503: 0,
    unreachable: 0,
    failed: 0,
    longestWaitMs: 0,
  };
  readonly #cluster: KubeCluster;
  readonly #options: LoadOptions;
  readonly #acknowledged = new Map<string, string>();
  readonly #running: Promise<unknown>;
  #stopped = false;

  constructor(cluster: KubeCluster, options: LoadOptions) {
    this.#cluster = cluster;
    this.#options = options;
    const clients = Array.from({ length: options.clients }, (_, client) => this.#work(client));
    this.#running = Promise.all(clients);
    this.#running.catch(() => {});
  }

  /** How many keys have an acknowledged value. */
  get keys(): number {
    return this.#acknowledged.size;
  }

  /** Lets requests under way end, and no others begin. */
  async stop(): Promise<void> {
    this.#stopped = true;
    await this.#running;
  }

  /** Asserts that each server still has what it acknowledged last. */
  async assertNothingLost(): Promise<void> {
    for (const [key, value] of this.#acknowledged) {
      assertEquals(await this.#request(key, `/load/${key}`), value, `key ${key}`);
    }
  }

  async #work(client: number): Promise<void> {
    for (let count = 0; !this.#stopped; count++) {
      const key = `client-${client}-${count % KEYS_PER_CLIENT}`;
      const value = String(count);
      if (await this.#request(key, `/save/${key}/${value}`) !== value) continue;
      this.#acknowledged.set(key, value);
      assertEquals(await this.#request(key, `/load/${key}`), value, `key ${key}`);
      await delay(PACE_MS);
    }
  }

  /** The body of a 200, after as many attempts as it takes; `undefined` if it failed for good. */
  async #request(key: string, path: string): Promise<string | undefined> {
    const { servers } = this.#options;
    const server = servers[PLACEMENTS.modulo(key, servers.length)] ?? "";
    const begin = performance.now();
    while (performance.now() - begin < GIVE_UP_MS) {
      const body = await this.#attempt(server, path);
      if (body !== undefined) {
        this.summary.requests++;
        const waited = performance.now() - begin;
        this.summary.longestWaitMs = Math.max(this.summary.longestWaitMs, waited);
        return body;
      }
      await delay(RETRY_MS);
    }
    this.summary.failed++;
    return undefined;
  }

  async #attempt(server: string, path: string): Promise<string | undefined> {
    const address = this.#cluster.resolve(server)?.[0];
    try {
      if (address === undefined) throw new TypeError(`No such name: ${server}`);
      const signal = AbortSignal.timeout(ATTEMPT_TIMEOUT_MS);
      const response = await fetch(`http://${address}${path}`, { signal });
      const body = await response.text();
      if (response.status === 200) return body;
      assertEquals([response.status, body], [503, "_shutting_down_"]);
      this.summary.refusedBy503++;
    } catch (error) {
      if (!(error instanceof TypeError || error instanceof DOMException)) throw error;
      this.summary.unreachable++;
    }
    return undefined;
  }
}
