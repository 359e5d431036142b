/**
 * The phase that notices what clients did while keys were moved. Clients are to be stopped before a run; this phase is
 * for clients that were not. Each key whose owner and target differ is told by name, so that nothing is lost in
 * silence. Nothing is copied here: the next run does that.
 *
 * Servers tell their number of writes. If that number is what the run itself wrote, nothing is looked at. If it is
 * not, or is not told, all keys that move are compared once.
 */
import { RebalanceError } from "../errors.ts";
import { differencesOf, tellNewer } from "./compare.ts";
import { type RestlessEvent, type Summary } from "./events.ts";
import { mapInOrder } from "./map_in_order.ts";
import { type Move } from "./mover.ts";
import { type RunContext } from "./run_context.ts";
import { noticeClients, type Survey } from "./survey.ts";

/**
 * Looks for changes.
 *
 * @throws {RebalanceError} If so many keys have gone that a server must have lost its data.
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
  // If clients go by the new list, what others write by the old list is not the newest.
  if (isUnchanged || summary.newer > 0) return;
  await tellChanges(run, survey);
  // What clients write behind this phase, no phase sees.
  summary.busy = run.watch.look(await run.stats()) === false;
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

/** Tells each key whose target does not hold what its owner holds. */
async function tellChanges(run: RunContext, survey: Survey): Promise<void> {
  const { options, summary } = run;
  const tell = (event: RestlessEvent) => {
    summary[event.kind]++;
    options.onEvent(event);
  };
  const batches = run.batches(({ key, verdict, owner, target }) => {
    if (verdict !== "unclear" || survey.wasUnclear(key)) return;
    const names = { owner: run.endpoint(owner).name, target: run.endpoint(target).name };
    tell({ kind: "deleted", key, ...names });
  });
  const work = async (moves: readonly Move[]) => ({
    keys: moves.length,
    changed: await differencesOf(moves, run.mover),
  });
  let checked = 0;
  for await (const { keys, changed } of mapInOrder(batches, work, run.pool)) {
    run.progress("check", checked += keys);
    for (const { move: { key, from, to } } of changed) {
      tell({ kind: "changing", key, owner: from.name, target: to.name });
    }
  }
}
