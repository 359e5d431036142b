/** Repeats requests that fail because a server is away for a while, as in a rolling restart. */
import { PreconditionFailedError, RemoteError, UnknownOutcomeError } from "../errors.ts";
import { type Breaker, type Ticket } from "./breaker.ts";
import { type Clock, SYSTEM_CLOCK } from "./clock.ts";
import { distrustOf } from "./distrust.ts";

/** How long a failed request is tried again, and by which clock. */
export interface RetryOptions {
  /** For how long a request is tried again after its first failure (ms); 0: it is sent once. */
  readonly patienceMs: number;
  /** What time it is, and how to wait; by default the clock of this machine. */
  readonly clock?: Clock;
  /** Chance, from 0 to 1; `Math.random` by default. */
  readonly random?: () => number;
}

/** How one request is tried. */
export interface AskOptions {
  /** Gives the request up; its reason is thrown. */
  readonly signal?: AbortSignal | undefined;
  /** Whether the request can be sent again; by default it can. */
  readonly repeatable?: boolean;
}

/** What {@link retry} works with. */
export interface RetryContext extends RetryOptions, AskOptions {
  /** Says when the server may be asked; without it at any time. */
  readonly breaker?: Breaker;
  /** Told each failure that a repetition may change, even if no repetition follows. */
  readonly onFailure?: (failure: RemoteError) => void;
}

/** What an attempt knows of those before it. */
export interface Attempt {
  /**
   * Whether an earlier attempt may have been carried out without an answer getting through. Not so if
   * the server refused it or could not be connected to.
   */
  readonly uncertain: boolean;
}

/** Statuses by which a server says that it did nothing, and that it will be back. */
const REFUSALS: ReadonlySet<number> = new Set([429, 503]);

/** Statuses of a proxy that got no answer from the server, which may have done it all the same. */
const LOST: ReadonlySet<number> = new Set([502, 504]);

/** Whether the same request may succeed later, although nobody changes anything. */
export function isPassing({ status, cause }: RemoteError): boolean {
  // A server with a wrong certificate is there, but it is not the one that it should be.
  if (status === undefined) return distrustOf(cause) === undefined;
  return REFUSALS.has(status) || LOST.has(status);
}

/** Whether a request that failed in this way may have been carried out. */
function isUncertain({ status, neverSent }: RemoteError): boolean {
  return !neverSent && (status === undefined || LOST.has(status));
}

/**
 * Calls `send` until it resolves, fails for good, or patience is at its end. A request is tried again if
 * it met no connection, no answer in time, an answer cut off, or a status that passes: after a growing
 * wait, and not before `Retry-After`.
 *
 * @throws {RemoteError} The last failure; its message says how often it was tried.
 * @throws The reason of the signal, if that fires before the request succeeded or failed for good.
 * @throws Whatever else `send` throws.
 */
export async function retry<T>(
  send: (attempt: Attempt) => Promise<T>,
  context: RetryContext,
): Promise<T> {
  const { patienceMs, clock = SYSTEM_CLOCK, random = Math.random, breaker } = context;
  const { signal, repeatable = true, onFailure } = context;
  const start = clock.now();
  let end = start + patienceMs;
  let uncertain = false;
  let failure: RemoteError | undefined;
  for (let attempt = 0;; attempt++) {
    const ticket = breaker === undefined ? NO_BREAKER : await breaker.enter(end, signal);
    if (ticket === undefined) {
      throw failure === undefined
        ? leftAlone(breaker?.failure)
        : gaveUp(failure, attempt, clock.now() - start);
    }
    try {
      const result = await send({ uncertain });
      ticket.succeed();
      return result;
    } catch (error) {
      if (!(error instanceof RemoteError) || !isPassing(error)) {
        if (isAnswer(error)) ticket.succeed();
        else ticket.drop();
        throw error;
      }
      failure = error;
    }
    onFailure?.(failure);
    if (signal?.aborted) {
      ticket.drop();
      throw signal.reason;
    }
    const { retryAfterMs = 0 } = failure;
    ticket.fail(retryAfterMs);
    if (breaker !== undefined) breaker.failure = failure;
    uncertain ||= isUncertain(failure);
    // Patience begins with the first failure: a long transfer that is cut off is tried again, too.
    if (attempt === 0) end = clock.now() + patienceMs;
    const leftMs = end - clock.now();
    if (!repeatable || leftMs <= 0 || retryAfterMs > leftMs) {
      throw gaveUp(failure, attempt + 1, clock.now() - start);
    }
    await clock.sleep(Math.min(backoffMs(attempt, random) + retryAfterMs, leftMs), signal);
  }
}

const NO_BREAKER: Ticket = { succeed() {}, fail() {}, drop() {} };

/**
 * Whether an error that is not passing shows that there is a server: it answered, or it has a certificate
 * that is not trusted. `send` makes other errors of a 412, which is an answer, too.
 */
function isAnswer(error: unknown): boolean {
  return error instanceof RemoteError || error instanceof PreconditionFailedError ||
    error instanceof UnknownOutcomeError;
}

/** The failure of a request that is not sent, since the server failed too often before. */
function leftAlone(failure: RemoteError | undefined): RemoteError {
  if (failure === undefined) throw new TypeError("A server is left alone without a failure");
  return withNote(failure, "left alone after failing repeatedly");
}

function gaveUp(failure: RemoteError, attempts: number, tookMs: number): RemoteError {
  if (attempts === 1) return failure;
  return withNote(failure, `tried ${attempts} times in ${(tookMs / 1000).toFixed(1)} s`);
}

function withNote({ server, status, message, cause, retryAfterMs }: RemoteError, note: string) {
  return new RemoteError(server, status, `${message} (${note})`, { cause, retryAfterMs });
}

/** The longest wait before a second attempt (ms); each further one may be twice as long. */
const FIRST_MS = 100;

/** The longest wait between two attempts that no server asked for (ms). */
const MAX_MS = 2000;

/**
 * Returns how long to wait (ms) after the attempt of this number, from 0. The wait grows exponentially.
 * Its upper half is left to chance, so that clients that failed together come back apart. Source: Brooker,
 * "Exponential Backoff And Jitter" (AWS Architecture Blog, 2015), "equal jitter".
 *
 * @param random From 0 to 1.
 */
export function backoffMs(attempt: number, random: () => number): number {
  const longest = Math.min(MAX_MS, FIRST_MS * 2 ** attempt);
  return longest / 2 + random() * longest / 2;
}

/**
 * Returns the wait (ms) that a `Retry-After` header asks for: seconds or a date (RFC 9110, 10.2.3).
 * `undefined` if there is no header or it has another form.
 *
 * @param nowMs The time to compare a date with, as from Date.now().
 */
export function parseRetryAfter(header: string | null, nowMs: number): number | undefined {
  if (header === null) return undefined;
  const text = header.trim();
  if (/^\d{1,9}$/.test(text)) return Number(text) * 1000;
  // A date has letters in it; without them the parser takes "-1" or "1.5" for a year.
  const date = /[A-Za-z]{3}/.test(text) ? Date.parse(text) : NaN;
  return Number.isNaN(date) ? undefined : Math.max(0, date - nowMs);
}
