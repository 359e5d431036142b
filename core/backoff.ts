/** How long to wait before a request is sent again. */

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
