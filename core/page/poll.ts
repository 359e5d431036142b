/** Asks each server now and then how many keys it has. */
import { RemoteError } from "../errors.ts";
import { V1_STATS } from "../protocol.ts";
import { Remote, type RemoteOptions } from "../client/remote.ts";
import { type ServerAddress } from "../client/server_list.ts";

/** What a server said: its state as in core/page/storyteller.ts, and its keys where it says. */
export interface Reading {
  readonly state: string;
  readonly keys: number | null;
}

const UNKNOWN: Reading = { state: "?", keys: null };

/** How often a server of another make has to list all its keys to be counted (milliseconds). */
const LISTING_PERIOD_MS = 60_000;

/** Asks the servers of a list that may change. */
export class Poll {
  readonly #options: RemoteOptions;
  #servers = new Map<string, PolledServer>();
  #busy = false;

  constructor(options: RemoteOptions) {
    this.#options = options;
  }

  /** The last readings of `servers`, in their order. */
  readings(servers: readonly ServerAddress[]): readonly Reading[] {
    return servers.map(({ origin }) => this.#servers.get(origin)?.reading ?? UNKNOWN);
  }

  /**
   * Asks all `servers`, unless an earlier call still does; resolves to whether it asked. Never
   * rejects.
   */
  async ask(servers: readonly ServerAddress[]): Promise<boolean> {
    if (this.#busy) return false;
    this.#busy = true;
    const before = this.#servers;
    this.#servers = new Map(servers.map((server) => [
      server.origin,
      before.get(server.origin) ?? new PolledServer(new Remote(server, this.#options)),
    ]));
    await Promise.all([...this.#servers.values()].map((server) => server.ask()));
    this.#busy = false;
    return true;
  }
}

class PolledServer {
  reading: Reading = UNKNOWN;
  readonly #remote: Remote;
  #nextListing = 0;

  constructor(remote: Remote) {
    this.#remote = remote;
  }

  async ask(): Promise<void> {
    try {
      this.reading = await this.#ask();
    } catch (error) {
      // What it said before is not true any more, whatever went wrong.
      const status = error instanceof RemoteError ? error.status : undefined;
      this.reading = { state: status === undefined ? "." : String(status).charAt(0), keys: null };
    }
  }

  async #ask(): Promise<Reading> {
    const { status, bytes } = await this.#remote.request(V1_STATS);
    const keys = status === 200 ? keysOf(new TextDecoder().decode(bytes)) : undefined;
    if (keys !== undefined) return { state: "u", keys };
    if (status === 503) return { state: "5", keys: null };
    // Of another make: it can only be counted by listing it.
    const now = performance.now();
    if (now < this.#nextListing) return { state: "u", keys: this.reading.keys };
    this.#nextListing = now + LISTING_PERIOD_MS;
    return { state: "u", keys: (await this.#remote.allKeys()).length };
  }
}

function keysOf(text: string): number | undefined {
  try {
    const stats: unknown = JSON.parse(text);
    if (typeof stats !== "object" || stats === null || !("keys" in stats)) return undefined;
    return typeof stats.keys === "number" ? stats.keys : undefined;
  } catch {
    return undefined;
  }
}
