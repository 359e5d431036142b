/** How long a run waits for a server that is away for a while, as in a rolling restart. */
import { retry } from "../client/retry.ts";
import { type RemoteError, StoppedError } from "../errors.ts";

/** What {@link Patience} works with. */
export interface PatienceOptions {
  /** How long a request is repeated while its server cannot be reached (ms); 0: it is sent once. */
  readonly patienceMs: number;
  /** An abort ends all waits. */
  readonly signal: AbortSignal;
  /** Told once each time that a server goes away. */
  readonly onWait: (message: string) => void;
}

/** Repeats requests to one server. */
export class Patience {
  readonly #options: PatienceOptions;
  /** How many requests are being repeated. */
  #waiting = 0;

  constructor(options: PatienceOptions) {
    this.#options = options;
  }

  /**
   * Runs `work`, which may be done twice, until it succeeds, fails for good, or patience ends.
   *
   * @param onRepeat Called before each repetition, because the server may have done the work all the same.
   * @throws {RemoteError} The last failure.
   * @throws {StoppedError} If an abort came before that.
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
