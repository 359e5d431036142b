/** Keeps the writes of a key in the order of the calls, while a large value is still being written to its file. */

/** The turns of keys that have such a value on its way. */
export class KeyTurns {
  /** By key, resolved when the last write that was called has been submitted. */
  readonly #last = new Map<string, Promise<void>>();

  /** Whether a write of `key` has to take its turn. */
  has(key: string): boolean {
    return this.#last.has(key);
  }

  /**
   * Calls `submit` when the value has arrived and all writes of `key` that were called before are submitted.
   * Settles as the promise of `submit`, or rejects as `arriving`.
   */
  async take<S, R>(
    key: string,
    arriving: Promise<S>,
    submit: (state: S) => Promise<R>,
  ): Promise<R> {
    const before = this.#last.get(key);
    const { promise: turn, resolve: endTurn } = Promise.withResolvers<void>();
    this.#last.set(key, turn);
    let settled: Promise<R>;
    try {
      const state = await arriving;
      await before;
      settled = submit(state);
    } finally {
      // A write that failed still holds the next one back until those before it are submitted.
      await before;
      if (this.#last.get(key) === turn) this.#last.delete(key);
      endTurn();
    }
    return await settled;
  }

  /** Resolves when no key has a turn. */
  async idle(): Promise<void> {
    while (this.#last.size > 0) await Promise.all(this.#last.values());
  }
}
