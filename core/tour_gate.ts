/** The pace of the tour: a Pod is created when the rows have shown what was before. */

/** Lets as many Pods be created as were admitted; the others wait. */
export class Gate {
  #admitted = 0;
  readonly #waiting: (() => void)[] = [];

  /** Lets one more pass, now or when it comes. */
  admit(): void {
    const next = this.#waiting.shift();
    if (next === undefined) this.#admitted++;
    else next();
  }

  /** Resolves when the caller may pass. */
  async pass(): Promise<void> {
    if (this.#admitted > 0) {
      this.#admitted--;
      return;
    }
    await new Promise<void>((resolve) => this.#waiting.push(resolve));
  }
}
