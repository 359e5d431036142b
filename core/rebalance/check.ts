/**
 * The phase that looks for what clients did while keys were moved. Clients are to be stopped before a run; this phase
 * is for clients that were not. A value that changed on its owner after it was copied is copied again. A key that
 * does not come to rest is told by name, so that nothing is lost in silence.
 *
 * Servers tell their number of writes. If that number is what the run itself wrote, nothing is looked at. If it is
 * not, or is not told, all keys that move are compared, in pass after pass, until nothing changes any more.
 */
import { RebalanceError } from "../errors.ts";
import { differencesOf, tellNewer } from "./compare.ts";
import { type RestlessEvent, type Summary } from "./events.ts";
import { mapInOrder } from "./map_in_order.ts";
import { type BatchOutcome, type Move } from "./mover.ts";
import { type RunContext } from "./run_context.ts";
import { noticeClients, type Survey } from "./survey.ts";

/** A key that changes so many times is told instead of copied again. */
const MOST_CHANGES = 3;

/** After so many passes each key that still changes is told. */
const MOST_PASSES = 8;

/** After so many passes that found nothing, it is told that clients write, whatever they write. */
const MOST_CLEAN_PASSES = 3;

/**
 * Looks for changes.
 *
 * @throws {RebalanceError} If so many keys have gone that a server must have lost its data, or a key cannot be moved.
 */
export async function checkChanges(run: RunContext, survey: Survey): Promise<void> {
  const { summary } = run;
  const stats = await run.stats();
  const isQuiet = run.watch.look(stats);
  noticeClients(run, survey, stats);
  countGone(summary);
  // A server that lost its data lists nothing: that must not pass for a complete run.
  if (summary.gone > 0 && summary.gone >= survey.planned / 2) {
    throw new RebalanceError(
      `${summary.gone} keys have gone from their servers since the run began`,
    );
  }
  const isUnchanged = isQuiet && summary.gone === 0 && !run.mover.sparesTargets;
  // If clients go by the new list, what others write by the old list never comes to rest.
  if (!isUnchanged && summary.newer === 0) await untilAtRest(run, survey);
}

/** Compares, for a repeat of a complete move, what owners and targets hold, and changes no key. */
export async function checkRepeat(run: RunContext): Promise<void> {
  await tellNewer(run);
  if (!run.options.signal.aborted) countGone(run.summary);
}

/** Counts the keys that no listing told any more. */
function countGone(summary: Summary): void {
  summary.gone += summary.left;
  summary.keys -= summary.left;
  summary.left = 0;
}

/** Compares all keys that move, pass after pass, until they have come to rest or a limit is reached. */
async function untilAtRest(run: RunContext, survey: Survey): Promise<void> {
  const { summary } = run;
  const recheck = new Recheck(run, survey);
  let cleanPasses = 0;
  for (let passes = 1;; passes++) {
    const stats = await run.stats();
    run.watch.look(stats);
    noticeClients(run, survey, stats);
    const isClean = await recheck.run(passes >= MOST_PASSES);
    cleanPasses = isClean ? cleanPasses + 1 : 0;
    // What clients wrote behind a pass is for the next pass.
    const isQuiet = run.watch.look(await run.stats());
    summary.busy = isQuiet === false;
    const isOver = summary.busy
      ? cleanPasses >= MOST_CLEAN_PASSES || passes >= MOST_PASSES
      : isClean || isQuiet;
    if (isOver || run.pool.signal.aborted) break;
  }
  for (const event of recheck.restless()) {
    summary[event.kind]++;
    run.options.onEvent(event);
  }
}

/** Passes over all keys that move, and what they found. */
class Recheck {
  readonly #run: RunContext;
  readonly #survey: Survey;
  readonly #changes = new Map<string, number>();
  readonly #changing = new Map<string, RestlessEvent>();
  /** Keys that their targets keep, and that have been told. */
  readonly #kept = new Set<string>();
  /** Keys that their owners have lost since the survey, by the last pass. */
  #deleted: RestlessEvent[] = [];
  #checked = 0;

  constructor(run: RunContext, survey: Survey) {
    this.#run = run;
    this.#survey = survey;
  }

  /** The keys that did not come to rest. */
  restless(): readonly RestlessEvent[] {
    return [...this.#changing.values(), ...this.#deleted];
  }

  /** Copies again what changed; the last pass only tells it. Resolves to whether nothing was copied. */
  async run(isLast: boolean): Promise<boolean> {
    const run = this.#run;
    this.#deleted = [];
    const batches = run.batches(({ key, verdict, owner, target }) => {
      if (verdict !== "unclear" || this.#survey.wasUnclear(key)) return;
      const names = { owner: run.endpoint(owner).name, target: run.endpoint(target).name };
      this.#deleted.push({ kind: "deleted", key, ...names });
    });
    const work = async (moves: readonly Move[]) => ({
      keys: moves.length,
      changed: await differencesOf(moves, run.mover),
    });
    let isClean = true;
    for await (const { keys, changed } of mapInOrder(batches, work, run.pool)) {
      run.progress("check", this.#checked += keys);
      const again = changed.map(({ move }) => ({ ...move, mayBeThere: true }))
        .filter((move) => this.#isToBeCopied(move, isLast));
      if (again.length > 0) isClean = false;
      for (const group of Map.groupBy(again, ({ from }) => from).values()) {
        this.#count(await run.mover.moveMany(group));
      }
    }
    return isClean;
  }

  /** Whether a key that changed is copied again. If not, and its target does not keep it, it is told at the end. */
  #isToBeCopied({ key, from, to }: Move, isLast: boolean): boolean {
    if (this.#kept.has(key)) return false;
    const changes = (this.#changes.get(key) ?? 0) + 1;
    this.#changes.set(key, changes);
    if (changes < MOST_CHANGES && !isLast) return true;
    this.#changing.set(key, { kind: "changing", key, owner: from.name, target: to.name });
    return false;
  }

  #count({ outcomes, failure }: BatchOutcome): void {
    const { options, summary } = this.#run;
    for (const outcome of outcomes) {
      if (typeof outcome === "string") continue;
      if (outcome.kind === "newer") {
        this.#kept.add(outcome.key);
        summary.newer++;
      } else {
        summary.recopied++;
      }
      options.onEvent(outcome);
    }
    if (failure !== undefined) throw failure.error;
  }
}
