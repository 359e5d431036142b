/** Memory for answers that wait until they can be sent: bounded over all requests, and handed out in order. */
import { BusyError } from "../errors.ts";

/** What every answer may take without asking (characters). */
const FREE = 64 * 1024;

/** In these steps an answer that takes more gets it (characters). */
const STEP = 256 * 1024;

/** How long a request may wait for room (milliseconds); who reads nothing for half as long is shut out. */
const PATIENCE_MS = 60_000;

interface Waiting {
  readonly share: AnswerShare;
  readonly steps: number;
  readonly resolve: () => void;
}

/**
 * Room for the answers of all requests. One of them may have more than is left, up to its own bound: else
 * several that hold a part of the room each could wait for each other.
 */
export class AnswerRoom {
  readonly #patienceMs: number;
  #left: number;
  #overdrawn: AnswerShare | undefined;
  #queue: Waiting[] = [];

  /** @param size In characters. */
  constructor(size: number, patienceMs = PATIENCE_MS) {
    this.#left = size;
    this.#patienceMs = patienceMs;
  }

  /** The share of one request; it has to be released. */
  share(): AnswerShare {
    return new AnswerShare(this);
  }

  /**
   * Resolves when `share` has got so many steps more.
   *
   * @throws {BusyError} If that takes too long.
   */
  async take(share: AnswerShare, steps: number): Promise<void> {
    // The one that may have more than is left waits behind nobody: all others may wait for it.
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

  /** Takes back all that `share` has got. */
  release(share: AnswerShare): void {
    this.#left += share.steps * STEP;
    if (this.#overdrawn === share) this.#overdrawn = undefined;
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

/** What one request has of the room. */
export class AnswerShare {
  /** How many steps it was given. */
  steps = 0;
  readonly #room: AnswerRoom;

  constructor(room: AnswerRoom) {
    this.#room = room;
  }

  /** What the answer may take (characters). */
  get size(): number {
    return FREE + this.steps * STEP;
  }

  /** Resolves when the answer may take `size` characters. @throws {BusyError} If that takes too long. */
  async growTo(size: number): Promise<void> {
    const steps = Math.ceil((size - this.size) / STEP);
    if (steps > 0) await this.#room.take(this, steps);
  }

  /** Gives all back, for others. May be called again. */
  release(): void {
    const { steps } = this;
    if (steps === 0) return;
    this.#room.release(this);
    this.steps = 0;
  }
}
