/** Puts moves together to batches whose requests and answers stay small. */
import { type Move } from "./mover.ts";

/** The most keys of a batch. */
const MOST_KEYS = 300;

/** What the values of a batch come to, about (bytes). Larger objects stay in memory until a full collection. */
const BATCH_BYTES = 64 * 1024;

/** The size that a value is taken to have (bytes) before any value was seen. */
const FIRST_GUESS_BYTES = 4096;

/** Gathers moves by the server that they come from. */
export class MoveBatcher {
  readonly #waiting = new Map<unknown, Move[]>();
  readonly #mostKeys: number;
  #averageBytes: number;

  /**
   * @param mostKeys A limit besides the limit that the size of values sets.
   * @param guessBytes The size that a value is taken to have before any was seen; 0 if no values are carried.
   */
  constructor(mostKeys: number, guessBytes = FIRST_GUESS_BYTES) {
    this.#mostKeys = Math.min(mostKeys, MOST_KEYS);
    this.#averageBytes = guessBytes;
  }

  /** The most keys of a batch, by the values seen so far. */
  get mostKeys(): number {
    return Math.min(this.#mostKeys, Math.ceil(BATCH_BYTES / this.#averageBytes));
  }

  /** Takes a move; returns the batch if this move fills it. */
  add(move: Move): readonly Move[] | undefined {
    const { from, to } = move;
    // A book server takes one key a request, so a batch would gain nothing.
    if (!from.native || !to.native) return [move];
    let batch = this.#waiting.get(from);
    if (batch === undefined) {
      batch = [];
      this.#waiting.set(from, batch);
    }
    batch.push(move);
    if (batch.length < this.mostKeys) return undefined;
    this.#waiting.delete(from);
    return batch;
  }

  /** Returns the batches that are not full, and begins anew. */
  takeRest(): (readonly Move[])[] {
    const rest = [...this.#waiting.values()];
    this.#waiting.clear();
    return rest;
  }

  /** Learns the size of values from `keys` keys whose values have `bytes` bytes together. */
  learn(keys: number, bytes: number): void {
    if (keys > 0) this.#averageBytes = (this.#averageBytes + bytes / keys + 1) / 2;
  }
}
