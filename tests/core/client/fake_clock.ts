/** A clock that stands still until everybody sleeps, and then goes to the next one's waking. */
import { type Clock } from "../../../core/client/clock.ts";

interface Sleeper {
  readonly at: number;
  wake(): void;
}

/** Time for tests. */
export class FakeClock implements Clock {
  /** How long each sleep was that was begun (ms). */
  readonly sleeps: number[] = [];
  #now = 1000;
  #sleepers: Sleeper[] = [];

  now(): number {
    return this.#now;
  }

  sleep(ms: number, signal?: AbortSignal): Promise<void> {
    this.sleeps.push(ms);
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const sleeper = { at: this.#now + ms, wake: resolve };
    this.#sleepers.push(sleeper);
    signal?.addEventListener("abort", () => {
      this.#sleepers = this.#sleepers.filter((other) => other !== sleeper);
      reject(signal.reason);
    });
    return promise;
  }

  /** Lets `ms` pass; who sleeps stays asleep. */
  pass(ms: number): void {
    this.#now += ms;
  }

  /** Lets time pass until `work` has settled, which is what this does. Only for work without I/O. */
  async settle<T>(work: Promise<T>): Promise<T> {
    let settled = false;
    const done = () => {
      settled = true;
    };
    work.then(done, done);
    while (true) {
      // A turn of the event loop: every promise that can resolve now has resolved.
      await new Promise((resolve) => setTimeout(resolve, 0));
      if (settled) return await work;
      const next = this.#sleepers.reduce<Sleeper | undefined>(
        (first, sleeper) => first === undefined || sleeper.at < first.at ? sleeper : first,
        undefined,
      );
      if (next === undefined) throw new Error("Nobody sleeps, and the work has not settled");
      this.#now = Math.max(this.#now, next.at);
      this.#sleepers = this.#sleepers.filter((sleeper) => sleeper !== next);
      next.wake();
    }
  }
}
