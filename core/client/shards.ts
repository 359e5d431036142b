/**
 * The servers of a list as those see them who ask them: which one owns a key, and how a request to
 * it is tried again. The layer under the library (kvs.ts) and, without retries, under the probe.
 */
import { backoffMs } from "./retry.ts";
import { Breaker, type Rest, type Ticket } from "./retry.ts";
import { type Clock, SYSTEM_CLOCK } from "./retry.ts";
import { PreconditionFailedError, RemoteError, UnknownOutcomeError } from "../errors.ts";
import { type Placement } from "../placement.ts";
import { distrustOf, Remote, type RemoteOptions } from "./remote.ts";
import { type ServerAddress } from "./server_list.ts";

/** How requests are tried again. */
export interface RetryOptions {
  /** For how long a request is tried again before its failure is told (ms). */
  readonly patienceMs: number;
  readonly clock?: Clock;
  /** Chance, from 0 to 1. */
  readonly random?: () => number;
}

/** What {@link Shards} works with. */
export interface ShardsOptions extends RemoteOptions {
  readonly servers: readonly ServerAddress[];
  readonly placement: Placement;
  /** Without it each request is sent once, and no server is ever left alone. */
  readonly retry?: RetryOptions;
}

/** What an attempt knows of those before it. */
export interface Attempt {
  /**
   * Whether an earlier attempt may have been carried out without an answer getting through. Not so
   * where the server refused it (503) or could not be connected to.
   */
  readonly uncertain: boolean;
}

/** How one request is tried. */
export interface AskOptions {
  /** Gives the request up; its reason is thrown. */
  readonly signal?: AbortSignal | undefined;
  /** Whether the request can be sent again; by default it can. */
  readonly repeatable?: boolean;
}

/** The only status after which the same request may succeed without anybody's doing. */
const UNAVAILABLE = 503;

/** The servers of a list. */
export class Shards {
  readonly servers: readonly ServerAddress[];
  readonly #remotes: readonly Remote[];
  readonly #placement: Placement;
  readonly #patienceMs: number | undefined;
  readonly #clock: Clock;
  readonly #random: () => number;
  readonly #breakers: readonly Breaker[];
  /** The last failure of each server, by index, to tell why it is left alone. */
  readonly #failures: (RemoteError | undefined)[] = [];

  constructor(options: ShardsOptions) {
    const { servers, placement, retry } = options;
    this.servers = servers;
    this.#placement = placement;
    this.#patienceMs = retry?.patienceMs;
    this.#clock = retry?.clock ?? SYSTEM_CLOCK;
    this.#random = retry?.random ?? Math.random;
    this.#remotes = servers.map((server) => new Remote(server, options));
    this.#breakers = servers.map(() => new Breaker(this.#clock));
  }

  /** The index of the server that owns `key`. */
  ownerOf(key: string): number {
    return this.#placement(key, this.servers.length);
  }

  /**
   * Sends a request to the server of this index: calls `send` until it resolves, fails for good, or
   * patience is at its end. Tried again is what met no connection, no answer in time, an answer cut
   * off, or 503: after a growing wait, and not before `Retry-After`.
   *
   * @throws {RemoteError} The last failure; its message says how often it was tried.
   * @throws The reason of the signal; whatever else `send` throws.
   */
  async ask<T>(
    index: number,
    send: (remote: Remote, attempt: Attempt) => Promise<T>,
    { signal, repeatable = true }: AskOptions = {},
  ): Promise<T> {
    const remote = this.#remotes[index];
    const breaker = this.#breakers[index];
    if (remote === undefined || breaker === undefined) {
      throw new RangeError("Placement outside of the server list");
    }
    if (this.#patienceMs === undefined) return await send(remote, { uncertain: false });

    const start = this.#clock.now();
    const end = start + this.#patienceMs;
    let uncertain = false;
    let failure: RemoteError | undefined;
    for (let attempt = 0;; attempt++) {
      const ticket = await this.#admission(breaker, end, signal);
      if (ticket === undefined) {
        throw failure === undefined
          ? leftAlone(this.#failures[index])
          : gaveUp(failure, attempt, this.#clock.now() - start);
      }
      try {
        const result = await send(remote, { uncertain });
        ticket.succeed();
        return result;
      } catch (error) {
        if (!(error instanceof RemoteError) || signal?.aborted) {
          // What `send` makes of a 412 is an answer all the same.
          if (isRefusal(error)) ticket.succeed();
          else ticket.drop();
          signal?.throwIfAborted();
          throw error;
        }
        failure = error;
      }
      const { status, retryAfterMs } = failure;
      const final = status === undefined
        // It is there, but it is not who it should be.
        ? distrustOf(failure.cause) !== undefined
        : status !== UNAVAILABLE;
      if (final) {
        ticket.succeed();
        throw failure;
      }
      ticket.fail(retryAfterMs);
      this.#failures[index] = failure;
      uncertain ||= status === undefined && !failure.neverSent;
      const waitMs = backoffMs(attempt, this.#random) + (retryAfterMs ?? 0);
      if (!repeatable || this.#clock.now() + waitMs > end) {
        throw gaveUp(failure, attempt + 1, this.#clock.now() - start);
      }
      await this.#clock.sleep(waitMs, signal);
    }
  }

  /** Waits until the breaker lets a request through; `undefined`, at once, if not before `end`. */
  async #admission(
    breaker: Breaker,
    end: number,
    signal: AbortSignal | undefined,
  ): Promise<Ticket | undefined> {
    while (true) {
      signal?.throwIfAborted();
      const admission = breaker.admit();
      if ("succeed" in admission) return admission;
      const leftMs = end - this.#clock.now();
      if (leftMs <= 0) return undefined;
      if (admission.change === undefined && admission.waitMs > leftMs) return undefined;
      await this.#waitFor(admission, leftMs, signal);
    }
  }

  /** Waits until a rest is over, its probe has ended, or `leftMs` have passed. */
  async #waitFor(rest: Rest, leftMs: number, signal: AbortSignal | undefined): Promise<void> {
    if (rest.change === undefined) return await this.#clock.sleep(rest.waitMs, signal);
    const changed = new AbortController();
    const wake = () => changed.abort();
    signal?.addEventListener("abort", wake);
    try {
      const slept = this.#clock.sleep(leftMs, changed.signal).catch(() => {});
      await Promise.race([rest.change, slept]);
    } finally {
      wake();
      signal?.removeEventListener("abort", wake);
    }
  }
}

function isRefusal(error: unknown): boolean {
  return error instanceof PreconditionFailedError || error instanceof UnknownOutcomeError;
}

/** The failure of a request that is not sent, since the server failed too often before. */
function leftAlone(failure: RemoteError | undefined): RemoteError {
  if (failure === undefined) throw new TypeError("A server is left alone without a failure");
  const { server, status, message, cause, retryAfterMs } = failure;
  return new RemoteError(server, status, `${message} (left alone after failing repeatedly)`, {
    cause,
    retryAfterMs,
  });
}

function gaveUp(failure: RemoteError, attempts: number, tookMs: number): RemoteError {
  if (attempts === 1) return failure;
  const { server, status, message, cause, retryAfterMs } = failure;
  const tried = `tried ${attempts} times in ${(tookMs / 1000).toFixed(1)} s`;
  return new RemoteError(server, status, `${message} (${tried})`, { cause, retryAfterMs });
}
