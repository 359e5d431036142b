/** Ends a request whose server is silent for too long. */

/** What may end a request early. */
export interface RequestTiming {
  /** How long the server may be silent (ms). */
  readonly timeoutMs: number;
  /** Gives the request up, for the caller's reasons. */
  readonly signal?: AbortSignal | undefined;
}

/** A timer that starts anew whenever there is progress. */
export class SilenceTimer {
  readonly #timing: RequestTiming;
  readonly #controller = new AbortController();
  readonly #giveUp: () => void;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #ended = false;

  /** Starts the timer. */
  constructor(timing: RequestTiming) {
    this.#timing = timing;
    this.#giveUp = () => this.#controller.abort(timing.signal?.reason);
    if (timing.signal?.aborted) this.#giveUp();
    timing.signal?.addEventListener("abort", this.#giveUp);
    this.restart();
  }

  /** Fires with a TimeoutError when the server is late, with the caller's reason when it gave up. */
  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  /** From now on it is the server's turn. */
  restart(): void {
    this.pause();
    if (this.#ended) return;
    this.#timer = setTimeout(
      () => this.#controller.abort(new DOMException("Timed out", "TimeoutError")),
      this.#timing.timeoutMs,
    );
  }

  /** It is not the server that is waited for. */
  pause(): void {
    clearTimeout(this.#timer);
  }

  /** The request is over. */
  end(): void {
    this.#ended = true;
    this.pause();
    this.#timing.signal?.removeEventListener("abort", this.#giveUp);
  }
}
