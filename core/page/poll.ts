/** Asks servers how many keys they have, and what state they are in. */
import { RemoteError } from "../errors.ts";
import { V1_STATS } from "../protocol.ts";
import { Remote, type RemoteOptions } from "../client/remote.ts";
import { type ServerAddress } from "../client/server_list.ts";

/** The answer of a server. */
export interface Reading {
  /** A state as `stateOf` in core/page/storyteller.ts has them. */
  readonly state: string;
  /** `null` if the server did not tell. */
  readonly keys: number | null;
}

const UNKNOWN: Reading = { state: "?", keys: null };

/** How often a server without statistics is asked to list all its keys (milliseconds). */
const LISTING_PERIOD_MS = 60_000;

/** Asks the servers of a list that may change. */
export class Poll {
  readonly #options: RemoteOptions;
  #servers = new Map<string, PolledServer>();
  #busy = false;

  constructor(options: RemoteOptions) {
    this.#options = options;
  }

  /** The last answers of `servers`, in the order of `servers`. */
  readings(servers: readonly ServerAddress[]): readonly Reading[] {
    return servers.map(({ origin }) => this.#servers.get(origin)?.reading ?? UNKNOWN);
  }

  /**
   * Asks all `servers`, unless an earlier call is not finished. Resolves to whether it asked. Never
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
      // After a failure, the earlier answer may no longer be true.
      const status = error instanceof RemoteError ? error.status : undefined;
      this.reading = { state: status === undefined ? "." : String(status).charAt(0), keys: null };
    }
  }

  async #ask(): Promise<Reading> {
    const { status, bytes } = await this.#remote.request(V1_STATS);
    const keys = status === 200 ? keysOf(new TextDecoder().decode(bytes)) : undefined;
    if (keys !== undefined) return { state: "u", keys };
    if (status === 503) return { state: "5", keys: null };
    // The server is not a `kvs`: its keys can only be counted in a listing.
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
