/** How many cases the tests with a simulated disk search: few by default, all for `deno task test:crash`. */

const asked = Deno.env.get("KVS_CRASH_SEEDS");

/** How many seeds are tried; four have each kind of disk that `SimulatedDisk.vary()` makes. */
export const SEEDS = Number(asked ?? 4);

/**
 * The operations, of `count`, at which a fault is tried with `seed`: all of them if KVS_CRASH_SEEDS is set. By
 * default, two of four seeds try the even ones and two the odd ones. Of each two, one disk can flush all and
 * one cannot; one can write durably and one cannot.
 */
export function* faultyOperations(count: number, seed: number): Generator<number> {
  const step = asked === undefined ? 2 : 1;
  const first = step === 1 ? 0 : (seed + (seed >> 1)) % 2;
  for (let operation = first; operation < count; operation += step) yield operation;
}
