/** A fence: what stops a source from changing a range of keys while the range is carried. */
import { type FencedRange } from "../layout/ownership.ts";

/** How long something takes, and how to be called later. Tests have one of their own. */
export interface LeaseClock {
  /** Milliseconds of a clock that never jumps. */
  now(): number;
  /** Calls `run` once in `ms` milliseconds; returns what cancels that. */
  after(ms: number, run: () => void): () => void;
}

/** The clock of this machine. */
export const SYSTEM_LEASES: LeaseClock = {
  now: () => performance.now(),
  after(ms, run) {
    const timer = setTimeout(run, ms);
    Deno.unrefTimer(timer);
    return () => clearTimeout(timer);
  },
};

/** A fence that stands. */
export class Fence implements FencedRange {
  readonly number: number;
  readonly after: string | undefined;
  upto: string | undefined;
  /** Whether the range is handed over now, so that the lease counts no more. */
  isEnding = false;
  #gone = Promise.withResolvers<void>();
  #endLease: () => void = () => {};

  constructor(number: number, range: FencedRange) {
    this.number = number;
    this.after = range.after;
    this.upto = range.upto;
  }

  /**
   * Begins the lease: so long the mover has from the answer on.
   *
   * @param expired Called when the lease has ended, unless the hand-over began before.
   */
  lease(clock: LeaseClock, ms: number, expired: () => void): void {
    this.#endLease = clock.after(ms, () => {
      if (!this.isEnding) expired();
    });
  }

  /** Resolves when the fence is gone or covers less: then a write that waits looks again. */
  get change(): Promise<void> {
    return this.#gone.promise;
  }

  /** Makes the range end with `upto`. */
  shrink(upto: string): void {
    this.upto = upto;
    this.#wake();
  }

  /** Ends the fence; to be called when nobody sees it any more. */
  end(): void {
    this.#endLease();
    this.#wake();
  }

  #wake(): void {
    this.#gone.resolve();
    this.#gone = Promise.withResolvers<void>();
  }
}
