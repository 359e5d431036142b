/** Memory for answers that wait until they are sent: bounded over all requests, and given in order. */
import { BusyError } from "../errors.ts";

/** Every answer may take this much without asking (characters). */
const FREE = 64 * 1024;

/** An answer that takes more gets it in steps of this size (characters). */
const STEP = 256 * 1024;

/**
 * How long a request may wait for memory (milliseconds). It is longer than the time-out of clients that do not
 * read, so the memory of such a client comes back first.
 */
const PATIENCE_MS = 60_000;

interface Waiting {
  readonly share: AnswerShare;
  readonly steps: number;
  readonly resolve: () => void;
}

/**
 * The memory for the answers of all requests. One answer at a time may take more than is left, up to its
 * own bound. Otherwise several answers that each hold a part could wait for each other for ever.
 */
export class AnswerAllowance {
  readonly #patienceMs: number;
  #left: number;
  #overdrawn: AnswerShare | undefined;
  #queue: Waiting[] = [];

  /** @param size The memory for all answers, in characters. */
  constructor(size: number, patienceMs = PATIENCE_MS) {
    this.#left = size;
    this.#patienceMs = patienceMs;
  }

  /** Makes the share of one request; it has to be released. */
  share(): AnswerShare {
    return new AnswerShare(this);
  }

  /**
   * Resolves when `share` has so many steps more.
   *
   * @throws {BusyError} If the wait takes too long.
   */
  async take(share: AnswerShare, steps: number): Promise<void> {
    // The answer that may take more than is left does not queue: all others may wait for it.
    const isFirst = this.#queue.length === 0 || this.#overdrawn === share;
    if (isFirst && this.#give(share, steps)) return;
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const waiting = { share, steps, resolve };
    this.#queue.push(waiting);
    const timer = setTimeout(() => {
      this.#queue = this.#queue.filter((other) => other !== waiting);
      reject(
        new BusyError("Busy with other answers: run the operations from here on in another batch"),
      );
    }, this.#patienceMs);
    try {
      await promise;
    } finally {
      clearTimeout(timer);
    }
  }

  /** Takes back so many steps of `share`. */
  release(share: AnswerShare, steps: number): void {
    this.#left += steps * STEP;
    share.steps -= steps;
    const isOverdrawn = this.#left < 0 && share.steps > 0;
    if (this.#overdrawn === share && !isOverdrawn) this.#overdrawn = undefined;
    for (let next = this.#queue[0]; next !== undefined; next = this.#queue[0]) {
      if (!this.#give(next.share, next.steps)) return;
      this.#queue.shift();
      next.resolve();
    }
  }

  #give(share: AnswerShare, steps: number): boolean {
    const size = steps * STEP;
    if (this.#left < size) {
      if (this.#overdrawn !== undefined && this.#overdrawn !== share) return false;
      this.#overdrawn = share;
    }
    this.#left -= size;
    share.steps += steps;
    return true;
  }
}

/** The part of the memory that one request has. */
export class AnswerShare {
  /** The number of steps that it was given. */
  steps = 0;
  readonly #allowance: AnswerAllowance;

  constructor(allowance: AnswerAllowance) {
    this.#allowance = allowance;
  }

  /** The size that the answer may have (characters). */
  get size(): number {
    return FREE + this.steps * STEP;
  }

  /** Resolves when the answer may have `size` characters. @throws {BusyError} If the wait takes too long. */
  async growTo(size: number): Promise<void> {
    const steps = Math.ceil((size - this.size) / STEP);
    if (steps > 0) await this.#allowance.take(this, steps);
  }

  /** Gives back the steps that an answer of `size` characters does not need. */
  shrinkTo(size: number): void {
    const steps = Math.floor((this.size - Math.max(size, FREE)) / STEP);
    if (steps > 0) this.#allowance.release(this, steps);
  }

  /** Gives everything back. May be called again. */
  release(): void {
    this.shrinkTo(0);
  }
}
