/**
 * The servers of a list as their clients see them: which one owns a key, and how it is asked. The layer
 * under the library (kvs.ts) and, without repetitions, under the probe.
 */
import { type Placement } from "../placement.ts";
import { Breaker } from "./breaker.ts";
import { SYSTEM_CLOCK } from "./clock.ts";
import { Remote, type RemoteOptions } from "./remote.ts";
import { type AskOptions, type Attempt, retry, type RetryOptions } from "./retry.ts";
import { type ServerAddress } from "./server_list.ts";

/** What {@link ServerSet} works with. */
export interface ServerSetOptions extends RemoteOptions {
  readonly servers: readonly ServerAddress[];
  readonly placement: Placement;
  /** Without it each request is sent once, and no server is ever left alone. */
  readonly retry?: RetryOptions;
}

/** The servers of a list. */
export class ServerSet {
  readonly servers: readonly ServerAddress[];
  readonly #remotes: readonly Remote[];
  readonly #breakers: readonly Breaker[];
  readonly #placement: Placement;
  readonly #retry: RetryOptions | undefined;

  constructor(options: ServerSetOptions) {
    const { servers, placement, retry } = options;
    this.servers = servers;
    this.#placement = placement;
    this.#retry = retry;
    this.#remotes = servers.map((server) => new Remote(server, options));
    this.#breakers = servers.map(() => new Breaker(retry?.clock ?? SYSTEM_CLOCK));
  }

  /** The index of the server that owns `key`. */
  ownerOf(key: string): number {
    return this.#placement(key, this.servers.length);
  }

  /**
   * Sends a request to the server of this index, as often as {@link retry} does.
   *
   * @throws {RemoteError} The last failure.
   * @throws The reason of the signal; whatever else `send` throws.
   */
  async ask<T>(
    index: number,
    send: (remote: Remote, attempt: Attempt) => Promise<T>,
    options: AskOptions = {},
  ): Promise<T> {
    const remote = this.#remotes[index];
    const breaker = this.#breakers[index];
    if (remote === undefined || breaker === undefined) {
      throw new RangeError("Placement outside of the server list");
    }
    if (this.#retry === undefined) return await send(remote, { uncertain: false });
    const context = { ...this.#retry, ...options, breaker };
    return await retry((attempt) => send(remote, attempt), context);
  }
}
