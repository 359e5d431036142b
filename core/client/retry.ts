/**
 * A circuit breaker for one server: after some failures in a row the server is left alone for a
 * while, then one request probes it; where that fails too, the next while is twice as long. It spares
 * a server that is coming up, and a caller the time-outs of one that is gone. Source of the pattern:
 * Nygard, "Release It!", 2007.
 */

/** Failures in a row after which a server is left alone. */
const BREAKER_FAILURES = 3;

/** How long it is left alone at first (ms), and at most. */
const FIRST_REST_MS = 250;
const MAX_REST_MS = 4000;

/** The longest rest that a server can ask for (ms): a proxy may say "tomorrow" and be back in a minute. */
const MAX_ASKED_REST_MS = 60_000;

/** The right to send one request; exactly one method is called when that has ended. */
export interface Ticket {
  /** The server answered, whatever it said. */
  succeed(): void;
  /** No answer came, or one that asks to be left alone, for `restMs` if it said so. */
  fail(restMs?: number): void;
  /** The request was given up for a reason that says nothing about the server. */
  drop(): void;
}

/** Why no request may be sent now. */
export interface Rest {
  /** How long it makes sense to wait before asking again (ms); Infinity where `change` tells. */
  readonly waitMs: number;
  /** Resolves when a probe that is under way has ended. */
  readonly change: Promise<void> | undefined;
}

/** What is known of one server. */
export class Breaker {
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

  #ticket(probe: PromiseWithResolvers<void> | undefined): Ticket {
    return {
      succeed: () => {
        // Also one that was sent before the rest began: an answer is an answer.
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
          // What was under way when the rest began tells nothing new.
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

/** The longest wait before a second attempt (ms); each further one may be twice as long. */
const FIRST_MS = 100;

/** The longest wait between two attempts that no server asked for (ms). */
const MAX_MS = 2000;

/**
 * Returns how long to wait (ms) after the attempt of this number, from 0: exponential, its upper half
 * left to chance, so that clients that failed together do not come back together. Source: Brooker,
 * "Exponential Backoff And Jitter" (AWS Architecture Blog, 2015), "equal jitter".
 *
 * @param random From 0 to 1.
 */
export function backoffMs(attempt: number, random: () => number): number {
  const longest = Math.min(MAX_MS, FIRST_MS * 2 ** attempt);
  return longest / 2 + random() * longest / 2;
}

/**
 * Returns the wait (ms) that a `Retry-After` header asks for (RFC 9110, 10.2.3: seconds or a date),
 * `undefined` if there is none or it is neither.
 *
 * @param nowMs The time of day, as Date.now() gives it, which a date is compared with.
 */
export function parseRetryAfter(header: string | null, nowMs: number): number | undefined {
  if (header === null) return undefined;
  const text = header.trim();
  if (/^\d{1,9}$/.test(text)) return Number(text) * 1000;
  // A date has letters in it; without them the parser takes "-1" or "1.5" for a year.
  const date = /[A-Za-z]{3}/.test(text) ? Date.parse(text) : NaN;
  return Number.isNaN(date) ? undefined : Math.max(0, date - nowMs);
}

/** A clock. */
export interface Clock {
  /** Milliseconds since any moment, never going back: only differences mean something. */
  now(): number;
  /** Resolves after `ms` milliseconds. @throws The reason of `signal`, when that fires first. */
  sleep(ms: number, signal?: AbortSignal): Promise<void>;
}

/** The clock of this machine. */
export const SYSTEM_CLOCK: Clock = {
  now: () => performance.now(),
  sleep(ms, signal) {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    if (signal?.aborted) {
      reject(signal.reason);
      return promise;
    }
    const wake = () => {
      clearTimeout(timer);
      reject(signal?.reason);
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener("abort", wake);
      resolve();
    }, ms);
    signal?.addEventListener("abort", wake, { once: true });
    return promise;
  },
};
