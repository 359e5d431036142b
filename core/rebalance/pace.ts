/** How patient and how fast a rebalance is: repeated requests, and a limit of keys a second. */
import { delay } from "@std/async/delay";
import { retry } from "../client/retry.ts";
import { type RemoteError, StoppedError } from "../errors.ts";

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
    const { patienceMs, signal, onWait } = this.#options;
    if (patienceMs === 0) return await work();
    let failures = 0;
    const onFailure = ({ message }: RemoteError) => {
      if (failures++ === 0 && this.#waiting++ === 0) {
        onWait(`${message}; trying again for up to ${patienceMs / 1000} s`);
      }
      onRepeat();
    };
    try {
      return await retry(work, { patienceMs, signal, onFailure });
    } catch (error) {
      if (failures === 0 || error !== signal.reason) throw error;
      throw new StoppedError("Stopped while a server was away");
    } finally {
      if (failures > 0) this.#waiting--;
    }
  }
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
