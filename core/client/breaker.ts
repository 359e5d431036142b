/**
 * A circuit breaker for one server. After some failures in a row the server is left alone for a while,
 * then one request probes it. If that fails too, the next while is twice as long. It spares a server that
 * is coming up, and it spares a caller the time-outs of a server that is gone. Source: Nygard,
 * "Release It!", 2007.
 */
import { type RemoteError } from "../errors.ts";
import { type Clock } from "./clock.ts";

/** Failures in a row after which a server is left alone. */
const BREAKER_FAILURES = 3;

/** How long it is left alone at first (ms), and at most. */
const FIRST_REST_MS = 250;
const MAX_REST_MS = 4000;

/** The longest rest that a server can ask for (ms). A proxy may say "tomorrow" and be back in a minute. */
const MAX_ASKED_REST_MS = 60_000;

/** The right to send one request. Exactly one method is called when the request has ended. */
export interface Ticket {
  /** The server answered, whatever it said. */
  succeed(): void;
  /** No answer came, or a refusal; the server asked to be left alone for `restMs` if that is given. */
  fail(restMs?: number): void;
  /** The request was given up for a reason that says nothing about the server. */
  drop(): void;
}

/** Why no request may be sent now. */
export interface Rest {
  /** How long to wait before asking again (ms); Infinity if `change` tells when. */
  readonly waitMs: number;
  /** Resolves when a probe that is under way has ended. */
  readonly change: Promise<void> | undefined;
}

/** What is known of one server. */
export class Breaker {
  /** The last failure, to tell why the server is left alone. */
  failure: RemoteError | undefined;
  readonly #clock: Clock;
  #failures = 0;
  #restMs = FIRST_REST_MS;
  /** Until when the server is left alone, on the clock; `undefined` while it is not. */
  #restUntil: number | undefined;
  #probe: PromiseWithResolvers<void> | undefined;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Asks to send a request: a ticket, or why it has to wait. */
  admit(): Ticket | Rest {
    if (this.#restUntil === undefined) return this.#ticket(undefined);
    if (this.#probe !== undefined) return { waitMs: Infinity, change: this.#probe.promise };
    const waitMs = this.#restUntil - this.#clock.now();
    if (waitMs > 0) return { waitMs, change: undefined };
    this.#probe = Promise.withResolvers();
    return this.#ticket(this.#probe);
  }

  /**
   * Waits for a ticket; resolves to `undefined`, at once, if there is none before `end` on the clock.
   *
   * @throws The reason of `signal` if that fires first.
   */
  async enter(end: number, signal: AbortSignal | undefined): Promise<Ticket | undefined> {
    while (true) {
      signal?.throwIfAborted();
      const admission = this.admit();
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

  #ticket(probe: PromiseWithResolvers<void> | undefined): Ticket {
    return {
      succeed: () => {
        // Even if the request was sent before the rest began, the server has answered.
        this.#failures = 0;
        this.#restMs = FIRST_REST_MS;
        this.#restUntil = undefined;
        this.#endProbe(this.#probe);
      },
      fail: (restMs = 0) => {
        if (probe !== undefined) {
          if (probe !== this.#probe) return;
          this.#restMs = Math.min(MAX_REST_MS, 2 * this.#restMs);
        } else if (this.#restUntil !== undefined || ++this.#failures < BREAKER_FAILURES) {
          // A request that was under way when the rest began tells nothing new.
          return;
        }
        const askedMs = Math.min(MAX_ASKED_REST_MS, restMs);
        this.#restUntil = this.#clock.now() + Math.max(this.#restMs, askedMs);
        this.#endProbe(probe);
      },
      drop: () => this.#endProbe(probe),
    };
  }

  #endProbe(probe: PromiseWithResolvers<void> | undefined): void {
    if (probe === undefined || probe !== this.#probe) return;
    this.#probe = undefined;
    probe.resolve();
  }
}
