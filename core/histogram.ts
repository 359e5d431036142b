/** Latencies, counted in classes: each costs a few comparisons and no memory. */

/** Upper bounds of the classes (seconds): from a load out of memory to the time-outs of clients. */
export const LATENCY_BOUNDS: readonly number[] = [
  0.000_05,
  0.000_1,
  0.000_25,
  0.000_5,
  0.001,
  0.002_5,
  0.005,
  0.01,
  0.025,
  0.05,
  0.1,
  0.25,
  0.5,
  1,
  2.5,
  10,
];

const BOUNDS = Float64Array.from(LATENCY_BOUNDS);

/** A histogram of latencies. */
export class Histogram {
  /** How many latencies each class of {@link LATENCY_BOUNDS} has; the last number is of those above all bounds. */
  readonly counts = new Float64Array(BOUNDS.length + 1);
  /** The sum of all latencies (seconds). */
  sumSeconds = 0;

  /** Counts a latency of `ms` milliseconds. */
  observe(ms: number): void {
    const seconds = ms / 1000;
    this.sumSeconds += seconds;
    let at = 0;
    while (at < BOUNDS.length && seconds > (BOUNDS[at] ?? 0)) at++;
    this.counts[at] = (this.counts[at] ?? 0) + 1;
  }
}
