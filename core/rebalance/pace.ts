/** A limit of the keys that are copied in a second. */
import { delay } from "@std/async/delay";
import { StoppedError } from "../errors.ts";

/** Keeps to a number of keys a second. */
export class Pace {
  readonly #keysPerSecond: number;
  readonly #signal: AbortSignal;
  #next = 0;

  /** @param keysPerSecond `undefined` for no limit. */
  constructor(keysPerSecond: number | undefined, signal: AbortSignal) {
    this.#keysPerSecond = keysPerSecond ?? Infinity;
    this.#signal = signal;
  }

  /** The most keys to take at once: as many as in a quarter of a second, so that the pace is even. */
  get mostAtOnce(): number {
    return Math.max(1, Math.floor(this.#keysPerSecond / 4));
  }

  /**
   * Waits until it is time for `keys` more keys.
   *
   * @throws {StoppedError} If an abort comes before that.
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
