/** Decides what happens next in a simulated cluster: everything that a seed decides is decided here. */
import { type Clock } from "../../core/client/clock.ts";
import { type LeaseClock } from "../../core/server/fence.ts";
import { Random } from "../core/system/random.ts";

/** Something that can happen next. */
export interface Step {
  readonly name: string;
  readonly run: () => void;
}

interface Timer extends Step {
  readonly id: number;
  readonly at: number;
}

/** The first number of a virtual timer, which no real timer has. */
const FIRST_TIMER = 2 ** 40;

/** The scheduler of one run. It has virtual time, which passes only when a timer is next. */
export class Scheduler implements Clock, LeaseClock {
  readonly random: Random;
  /** How often a timer comes before a message that could have come. */
  haste = 0;
  /** What has happened, one line a step. */
  readonly trace: string[] = [];
  #now = 1000;
  #steps: Step[] = [];
  #timers: Timer[] = [];
  #nextTimer = FIRST_TIMER;

  constructor(seed: number) {
    this.random = new Random(seed);
  }

  now(): number {
    return this.#now;
  }

  /** Adds something that may happen from now on, in any order with what else may happen. */
  add(name: string, run: () => void): void {
    this.#steps.push({ name, run });
  }

  /** Resolves at some step from now. */
  pause(name: string): Promise<void> {
    return new Promise((resolve) => this.add(name, resolve));
  }

  after(ms: number, run: () => void): () => void {
    const id = this.setTimer(run, ms);
    return () => this.clearTimer(id);
  }

  sleep(ms: number, signal?: AbortSignal): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    if (signal?.aborted) reject(signal.reason);
    else {
      const stop = this.after(ms, resolve);
      signal?.addEventListener("abort", () => {
        stop();
        reject(signal.reason);
      }, { once: true });
    }
    return promise;
  }

  setTimer(run: () => void, ms: number): number {
    const id = this.#nextTimer++;
    this.#timers.push({ id, name: `timer of ${ms} ms`, at: this.#now + ms, run });
    return id;
  }

  clearTimer(id: number | undefined): void {
    this.#timers = this.#timers.filter((timer) => timer.id !== id);
  }

  /** Lets one thing happen; `false` if nothing can. */
  step(): boolean {
    const { random } = this;
    const isTimer = this.#steps.length === 0 || random.chance(this.haste);
    if (isTimer && this.#timers.length > 0) {
      const timer = this.#timers.reduce((first, one) => one.at < first.at ? one : first);
      this.clearTimer(timer.id);
      this.#now = Math.max(this.#now, timer.at);
      this.#take(timer);
      return true;
    }
    const [step] = this.#steps.splice(random.integer(0, this.#steps.length - 1), 1);
    if (step === undefined) return false;
    this.#take(step);
    return true;
  }

  #take({ name, run }: Step): void {
    this.#now += 0.001;
    this.trace.push(`${this.#now.toFixed(3)} ${name}`);
    run();
  }
}

/** Runs `work` with the timers, the clock and the chance of the process taken over by a scheduler. */
export async function withVirtualTime(
  scheduler: Scheduler,
  work: (rest: () => Promise<void>) => Promise<void>,
): Promise<void> {
  const { setTimeout, clearTimeout, setImmediate } = globalThis;
  const { random } = Math;
  const now = performance.now;
  const timers: Record<"setTimeout" | "clearTimeout", unknown> = globalThis;
  timers.setTimeout = (run: () => void, ms = 0) =>
    ms > 0 ? scheduler.setTimer(run, ms) : setImmediate(run);
  timers.clearTimeout = (id?: unknown) => {
    if (typeof id === "number" && id >= FIRST_TIMER) scheduler.clearTimer(id);
    else if (typeof id === "number") clearTimeout(id);
  };
  Math.random = () => scheduler.random.next();
  performance.now = () => scheduler.now();
  try {
    await work(async () => {
      // Two turns of the event loop: every promise that can resolve now has resolved.
      for (let turn = 0; turn < 2; turn++) await new Promise((resolve) => setImmediate(resolve));
    });
  } finally {
    timers.setTimeout = setTimeout;
    timers.clearTimeout = clearTimeout;
    Math.random = random;
    performance.now = now;
  }
}
