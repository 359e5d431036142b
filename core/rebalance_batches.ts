/** Keys gathered into batches, of a size that keeps memory the same whatever the values are. */
import { type Move } from "./rebalance_move.ts";

/**
 * The most keys of a batch: its answer then fits into what the runtime frees soon; an object over
 * 128 KiB stays until all of the heap is gone through.
 */
const MOST_KEYS = 300;

/** What the values of a batch come to, about, in bytes. */
const BATCH_BYTES = 64 * 1024;

/** What a value is taken to have (bytes) before any was seen. */
const FIRST_GUESS_BYTES = 4096;

/** Gathers moves by the server that they come from. */
export class Batcher {
  readonly #waiting = new Map<unknown, Move[]>();
  readonly #mostKeys: number;
  #averageBytes: number;

  /**
   * @param mostKeys A limit besides the one that values set.
   * @param guessBytes What a value is taken to have before any was seen; 0 where none is carried.
   */
  constructor(mostKeys: number, guessBytes = FIRST_GUESS_BYTES) {
    this.#mostKeys = Math.min(mostKeys, MOST_KEYS);
    this.#averageBytes = guessBytes;
  }

  /** The most keys of a batch, by the values seen so far. */
  get mostKeys(): number {
    return Math.min(this.#mostKeys, Math.ceil(BATCH_BYTES / this.#averageBytes));
  }

  /** Takes a move; returns the batch that is full with it. */
  add(move: Move): readonly Move[] | undefined {
    const { from, to } = move;
    // The book routes take a key a request, so there is nothing to be gained.
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

  /** Returns what has not come to a full batch, and begins anew. */
  takeRest(): (readonly Move[])[] {
    const rest = [...this.#waiting.values()];
    this.#waiting.clear();
    return rest;
  }

  /** To be told what batches came to: later ones have as many keys as fit. */
  learn(keys: number, bytes: number): void {
    if (keys > 0) this.#averageBytes = (this.#averageBytes + bytes / keys + 1) / 2;
  }
}
