/** Ends a request whose server is silent for too long. */

/** What may end a request early. */
interface SilenceOptions {
  /** How long the server may be silent (ms). */
  readonly timeoutMs: number;
  /** Gives the request up, for reasons of the caller. */
  readonly signal: AbortSignal | undefined;
}

/** A timer that is started anew when there is progress. */
export class SilenceTimer {
  readonly #options: SilenceOptions;
  readonly #controller = new AbortController();
  readonly #giveUp: () => void;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #ended = false;

  /** Starts the timer. */
  constructor(options: SilenceOptions) {
    this.#options = options;
    this.#giveUp = () => this.#controller.abort(options.signal?.reason);
    if (options.signal?.aborted) this.#giveUp();
    options.signal?.addEventListener("abort", this.#giveUp);
    this.restart();
  }

  /** Fires with a TimeoutError if the server is late, or with the reason of the caller's signal. */
  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  /** Starts anew: it is the server's turn. */
  restart(): void {
    this.pause();
    if (this.#ended) return;
    this.#timer = setTimeout(
      () => this.#controller.abort(new DOMException("Timed out", "TimeoutError")),
      this.#options.timeoutMs,
    );
  }

  /** Stops: it is not the server's turn. */
  pause(): void {
    clearTimeout(this.#timer);
  }

  /** Ends the timer for good: the request is over. */
  end(): void {
    this.#ended = true;
    this.pause();
    this.#options.signal?.removeEventListener("abort", this.#giveUp);
  }
}
