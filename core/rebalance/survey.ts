/** What the survey finds: counts, what is planned between servers, and whether placement fits. */
import { RebalanceError } from "../errors.ts";
import { type PlacementName, PLACEMENTS } from "../placement.ts";
import { type Decision, type Layout } from "./plan.ts";

/** With fewer keys than this nothing is said about placement. */
const LEAST_KEYS = 20;

/** How many keys are tried with the other placements. */
const SAMPLE_KEYS = 1000;

/** Which share of the sample has to be where a placement puts it for this to be the one meant. */
const FITS_SHARE = 0.95;

/** With a smaller share a placement does not fit where another one does. */
const MISFIT_SHARE = 0.75;

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
   * a run that was completed and pruned would have left them either; or another placement fits, and
   * this one does not. Of two servers half of the keys are on their owner by any placement.
   *
   * @throws {RebalanceError} With the question which placement was meant.
   */
  checkPlacement(): void {
    if (this.#keys < LEAST_KEYS) return;
    const other = this.#otherThatFits();
    const isAstray = this.#astray > this.#keys / 2 && this.#orphans > this.#keys / 10;
    if (!isAstray && other === undefined) return;
    const fits = other === undefined
      ? [...this.#fits.keys()].filter((name) => this.#shareOf(name) > 0.5)
      : [other];
    const named = fits.map((name) => `--placement ${name}`).join(" or ");
    throw new RebalanceError(
      `${this.#astray} of ${this.#keys} keys are not on the server that owns them by this list and ` +
        `placement: which placement was meant` +
        (named === "" ? ", and which list?" : `? ${named} fits.`) + " --force goes on",
    );
  }

  #otherThatFits(): PlacementName | undefined {
    const names = [...this.#fits.keys()];
    const isMeant = (name: PlacementName) => PLACEMENTS[name] === this.#layout.placement;
    if (names.some((name) => isMeant(name) && this.#shareOf(name) >= MISFIT_SHARE)) {
      return undefined;
    }
    return names.find((name) => !isMeant(name) && this.#shareOf(name) >= FITS_SHARE);
  }

  #shareOf(name: PlacementName): number {
    return (this.#fits.get(name) ?? 0) / this.#sampled;
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
