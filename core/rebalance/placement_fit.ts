/** Whether the keys look as if they were placed by the placement that a run was told. */
import { RebalanceError } from "../errors.ts";
import { type PlacementName, PLACEMENTS } from "../placement.ts";
import { type Decision, type Layout } from "./plan.ts";

/** With fewer keys than this nothing is said about placement. */
const LEAST_KEYS = 20;

/** How many keys are tried with each placement. */
const SAMPLE_KEYS = 1000;

/** A placement fits if this share of the sample is on the servers that it names. */
const FITS_SHARE = 0.95;

/** With a smaller share, the placement of the run does not fit if another one does. */
const MISFIT_SHARE = 0.75;

/** Compares where keys are with where each placement would have put them. */
export class PlacementFit {
  readonly #layout: Layout;
  #keys = 0;
  #astray = 0;
  #orphans = 0;
  #sampled = 0;
  readonly #fits = new Map<PlacementName, number>();

  constructor(layout: Layout) {
    this.#layout = layout;
  }

  /** Takes the decision on one key. */
  add(decision: Decision): void {
    const { verdict } = decision;
    this.#keys++;
    if (verdict === "unclear" || verdict === "orphan") this.#astray++;
    if (verdict === "orphan") this.#orphans++;
    if (this.#sampled < SAMPLE_KEYS) this.#sample(decision);
  }

  /**
   * Refuses if the keys are placed in another way, which two signs tell: most keys are not on their owner, and
   * a completed run would not have left them there either; or another placement fits and this one does not. The
   * second sign is for two servers, on which half of the keys are in place by any placement.
   *
   * @throws {RebalanceError} With the question which placement was meant.
   */
  check(): void {
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
