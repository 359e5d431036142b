/** What the survey finds: counts, what is planned between servers, and whether placement fits. */
import { RebalanceError } from "./errors.ts";
import { type PlacementName, PLACEMENTS } from "./placement.ts";
import { type Decision, type Layout } from "./rebalance_plan.ts";

/** With fewer keys than this nothing is said about placement. */
const LEAST_KEYS = 20;

/** How many keys are tried with the other placements. */
const SAMPLE_KEYS = 1000;

/** How many keys without a copy on their owner are remembered by name; bounds memory. */
const MOST_REMEMBERED = 50_000;

/** Keys to be moved from one server to another. */
export interface Pair {
  readonly owner: number;
  readonly target: number;
  keys: number;
  /** Of those, keys that the target does not list. */
  newKeys: number;
}

/** Gathers what the decisions on all keys come to. */
export class Survey {
  /** Pairs of servers between which keys are to be moved. */
  readonly pairs = new Map<string, Pair>();
  #keys = 0;
  #astray = 0;
  #orphans = 0;
  #sampled = 0;
  readonly #fits = new Map<PlacementName, number>();
  readonly #unclear = new Set<string>();
  readonly #layout: Layout;

  constructor(layout: Layout) {
    this.#layout = layout;
  }

  /** Keys whose target is another server than their owner. */
  get planned(): number {
    let planned = 0;
    for (const { keys } of this.pairs.values()) planned += keys;
    return planned;
  }

  /** Counts a key in. */
  add(decision: Decision): void {
    const { key, verdict, owner, target, holders } = decision;
    this.#keys++;
    if (verdict === "move") {
      const name = `${owner} ${target}`;
      const pair = this.pairs.get(name) ?? { owner, target, keys: 0, newKeys: 0 };
      pair.keys++;
      if (!holders.includes(target)) pair.newKeys++;
      this.pairs.set(name, pair);
    }
    if (verdict === "unclear" || verdict === "orphan") this.#astray++;
    if (verdict === "orphan") this.#orphans++;
    if (verdict === "unclear" && this.#unclear.size <= MOST_REMEMBERED) this.#unclear.add(key);
    if (this.#sampled < SAMPLE_KEYS) this.#sample(decision);
  }

  /** Whether `key` was unclear then already; also `true` where there were too many to remember. */
  wasUnclear(key: string): boolean {
    return this.#unclear.size > MOST_REMEMBERED || this.#unclear.has(key);
  }

  /**
   * Notices that the data was placed in another way: most keys are not on their owner, and not where
   * a run that was completed and pruned would have left them either.
   *
   * @throws {RebalanceError} With the question which placement was meant.
   */
  checkPlacement(): void {
    if (this.#keys < LEAST_KEYS) return;
    if (this.#astray <= this.#keys / 2 || this.#orphans <= this.#keys / 10) return;
    const fits = [...this.#fits].filter(([, count]) => count > this.#sampled / 2);
    const named = fits.map(([name]) => `--placement ${name}`).join(" or ");
    throw new RebalanceError(
      `${this.#astray} of ${this.#keys} keys are not on the server that owns them by this list and ` +
        `placement: which placement was meant` +
        (named === "" ? ", and which list?" : `? ${named} fits.`) + " --force goes on",
    );
  }

  #sample({ key, holders }: Decision): void {
    this.#sampled++;
    for (const name of ["modulo", "jump"] as const) {
      const owner = this.#layout.asIs[PLACEMENTS[name](key, this.#layout.asIs.length)];
      if (owner === undefined || !holders.includes(owner)) continue;
      this.#fits.set(name, (this.#fits.get(name) ?? 0) + 1);
    }
  }
}
