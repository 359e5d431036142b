/** Numbers out of rounds. */

/** The middle of numbers; NaN of none. */
export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  const upper = sorted[middle] ?? NaN;
  return sorted.length % 2 === 1 ? upper : (upper + (sorted[middle - 1] ?? NaN)) / 2;
}

/** The median of a value of each item. */
export function medianOf<T>(items: readonly T[], value: (item: T) => number): number {
  return median(items.map(value));
}

/**
 * How many times `over` is `under`: the median of the ratios of rounds that ran one after the other,
 * because what else the machine did at that time touched both.
 */
export function medianRatio(over: readonly number[], under: readonly number[]): number {
  return median(over.slice(0, under.length).map((value, round) => value / (under[round] ?? NaN)));
}
