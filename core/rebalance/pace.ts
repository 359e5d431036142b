/** How patient and how fast a rebalance is: repeated requests, and a limit of keys a second. */
import { delay } from "@std/async/delay";
import { backoffMs } from "../client/retry.ts";
import { RemoteError, StoppedError } from "../errors.ts";

/** Statuses of a server, or of what stands before it, that is about to be back. */
const PASSING: ReadonlySet<number> = new Set([429, 502, 503, 504]);

/** What {@link Patience} works with. */
export interface PatienceOptions {
  /** How long a request is repeated while its server cannot be reached (ms); 0 not at all. */
  readonly patienceMs: number;
  /** When it fires, nothing is waited for any more. */
  readonly signal: AbortSignal;
  /** Told once for each time that a server goes away. */
  readonly onWait: (message: string) => void;
}

/** Repeats what failed because a server was away for a while, as in a rolling restart. */
export class Patience {
  readonly #options: PatienceOptions;
  /** Requests that are being repeated. */
  #waiting = 0;

  constructor(options: PatienceOptions) {
    this.#options = options;
  }

  /**
   * Runs `work`, which may be carried out twice, until it succeeds, fails for good, or time is up.
   *
   * @param onRepeat Called before each repetition: the server may have done it all the same.
   * @throws {RemoteError} The last failure.
   * @throws {StoppedError} If the signal fires before that, or has fired: then nothing is repeated.
   */
  async run<T>(work: () => Promise<T>, onRepeat: () => void = () => {}): Promise<T> {
    try {
      return await work();
    } catch (error) {
      if (!isPassing(error) || this.#options.patienceMs === 0) throw error;
      return await this.#repeat(work, onRepeat, error);
    }
  }

  async #repeat<T>(work: () => Promise<T>, onRepeat: () => void, first: RemoteError): Promise<T> {
    const { patienceMs, signal, onWait } = this.#options;
    const seconds = patienceMs / 1000;
    const end = performance.now() + patienceMs;
    let failure = first;
    if (this.#waiting++ === 0) onWait(`${first.message}; trying again for up to ${seconds} s`);
    try {
      for (let attempt = 0;; attempt++) {
        const pauseMs = Math.min(backoffMs(attempt, Math.random), end - performance.now());
        await delay(pauseMs, { signal }).catch(() => {});
        if (signal.aborted) throw new StoppedError(failure.message, { cause: failure });
        onRepeat();
        try {
          return await work();
        } catch (error) {
          if (!isPassing(error)) throw error;
          failure = error;
        }
        if (performance.now() >= end) {
          const { server, status, message } = failure;
          throw new RemoteError(server, status, `${message} (tried for ${seconds} s)`, {
            cause: failure,
          });
        }
      }
    } finally {
      this.#waiting--;
    }
  }
}

function isPassing(error: unknown): error is RemoteError {
  return error instanceof RemoteError && (error.status === undefined || PASSING.has(error.status));
}

/** Keeps to a number of keys a second. */
export class Pace {
  readonly #keysPerSecond: number;
  readonly #signal: AbortSignal;
  #next = 0;

  /** @param keysPerSecond Without it there is no limit. */
  constructor(keysPerSecond: number | undefined, signal: AbortSignal) {
    this.#keysPerSecond = keysPerSecond ?? Infinity;
    this.#signal = signal;
  }

  /** The most keys to take at once, so that the pace is even: those of a quarter of a second. */
  get mostAtOnce(): number {
    return Math.max(1, Math.floor(this.#keysPerSecond / 4));
  }

  /**
   * Waits until it is time for `keys` more keys.
   *
   * @throws {StoppedError} If the signal fires before that.
   */
  async take(keys: number): Promise<void> {
    if (this.#keysPerSecond === Infinity || keys === 0) return;
    const now = performance.now();
    const start = Math.max(now, this.#next);
    this.#next = start + 1000 * keys / this.#keysPerSecond;
    if (start <= now) return;
    await delay(start - now, { signal: this.#signal }).catch(() => {
      throw new StoppedError("Stopped while it kept to its pace");
    });
  }
}
