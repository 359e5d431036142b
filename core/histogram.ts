/** How long things took, counted in classes: a comparison or a few each, and no memory. */

/**
 * Upper bounds of the classes (seconds). A load from memory takes some 10 µs and a flush of a good disk
 * some 100 µs, so the classes begin there; the time-outs of clients end them.
 */
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
  /** How many fell in each class of {@link LATENCY_BOUNDS}, and over the last bound; not added up. */
  readonly counts = new Float64Array(BOUNDS.length + 1);
  /** All of them together (seconds). */
  sumSeconds = 0;

  /** Counts one that took `ms` milliseconds. */
  observe(ms: number): void {
    const seconds = ms / 1000;
    this.sumSeconds += seconds;
    let at = 0;
    while (at < BOUNDS.length && seconds > (BOUNDS[at] ?? 0)) at++;
    this.counts[at] = (this.counts[at] ?? 0) + 1;
  }
}
