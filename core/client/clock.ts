/** Time, so that tests can have one of their own. */

/** A clock. */
export interface Clock {
  /** Milliseconds since some moment; never goes back. Only differences have a meaning. */
  now(): number;
  /** Resolves after `ms` milliseconds. @throws The reason of `signal` if that fires first. */
  sleep(ms: number, signal?: AbortSignal): Promise<void>;
}

/**
 * Waits for `promise`, but no longer than until `signal` fires.
 *
 * @throws The reason of the signal, if that fires first; else what the promise fails with.
 */
export async function orAborted<T>(
  promise: Promise<T>,
  signal: AbortSignal | undefined,
): Promise<T> {
  if (signal === undefined) return await promise;
  const aborted = Promise.withResolvers<never>();
  const abort = () => aborted.reject(signal.reason);
  signal.throwIfAborted();
  signal.addEventListener("abort", abort);
  try {
    return await Promise.race([promise, aborted.promise]);
  } finally {
    signal.removeEventListener("abort", abort);
  }
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
