import { Random } from "../core/system/random.ts";

/** Random choices of a run that a seed repeats. */
export class Dice extends Random {
  /** The seed that KVS_TEST_SEED asks for, to repeat a run that failed; else a new one. */
  static seed(): number {
    const asked = Number(Deno.env.get("KVS_TEST_SEED") ?? NaN);
    return Number.isInteger(asked) ? asked : Math.floor(Math.random() * 2 ** 32);
  }

  /** A number from `least` to `most` whose logarithm is spread evenly: small and large alike. */
  logarithmic(least: number, most: number): number {
    return least * (most / least) ** this.next();
  }

  /** One of a list, which must not be empty. */
  of<T>(list: readonly T[]): T {
    const found = list[this.integer(0, list.length - 1)];
    if (found === undefined) throw new RangeError("Nothing to choose from");
    return found;
  }

  /** Other dice, which go on apart from these. */
  fork(): Dice {
    return new Dice(this.integer(0, 2 ** 32 - 2));
  }
}
