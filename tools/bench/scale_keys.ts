/** The keys of the benchmark of `kvs scale`. */

/** The key of this number. */
export function keyOf(index: number): string {
  return `key-${String(index).padStart(8, "0")}`;
}
