/**
 * The phase that notices what clients did while keys were moved. Clients are to be stopped before a run; this phase is
 * for clients that were not. Each key whose owner and target differ is told by name, so that nothing is lost in
 * silence. Nothing is copied here: the next run does that.
 *
 * Servers tell their number of writes. If that number is what the run itself wrote, nothing is looked at. If it is
 * not, or is not told, all keys that move are compared once.
 */
import { RebalanceError } from "../errors.ts";
import { type Difference, differencesOf, tellNewer } from "./compare.ts";
import { type NewerEvent, type RestlessEvent, type Summary } from "./events.ts";
import { signsOf, type WriteSign } from "./foreign_writes.ts";
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
  const { summary, options: { layout } } = run;
  const before = await run.counts();
  const signs = signsOf(survey.counts, before);
  noticeClients(run, signs);
  countGone(summary);
  // A server that lost its data lists nothing: that must not pass for a complete run.
  if (summary.gone > 0 && summary.gone >= survey.planned / 2) {
    throw new RebalanceError(
      `${summary.gone} keys have gone from their servers since the run began`,
    );
  }
  const isUnchanged = signs.every((sign) => sign === "quiet") && summary.gone === 0;
  // If clients go by the new list, what others write by the old list is not the newest.
  if (isUnchanged || summary.newer > 0) return;
  await tellChanges(run, survey);
  const meanwhile = signsOf(before, await run.counts());
  // A server that started anew earlier has been compared.
  summary.busy = meanwhile.includes("restarted") ||
    layout.asIs.some((index) => signs[index] === "written" || meanwhile[index] === "written");
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
  const tell = (event: NewerEvent | RestlessEvent) => {
    summary[event.kind]++;
    options.onEvent(event);
  };
  const batches = run.batches(({ key, verdict, owner, target }) => {
    if (verdict !== "unclear" || survey.wasUnclear(key)) return;
    const names = { owner: run.endpoint(owner).name, target: run.endpoint(target).name };
    tell({ kind: "deleted", key, ...names });
  });
  const work = async (moves: readonly Move[]) => {
    const changed = await differencesOf(moves, run.mover);
    // Asked behind the comparison, so that each write that the comparison saw is counted.
    const signs = changed.length === 0 ? [] : signsOf(survey.counts, await run.counts());
    return { keys: moves.length, changed, signs };
  };
  let checked = 0;
  for await (const { keys, changed, signs } of mapInOrder(batches, work, run.pool)) {
    run.progress("check", checked += keys);
    for (const difference of changed) {
      const { move: { key, from, to }, isAbsent } = difference;
      const names = { key, owner: from.name, target: to.name };
      if (isNewer(run, difference, signs)) {
        // The key was counted as moved, or as in place. It is told, and stays counted there.
        tell({ kind: "newer", ...names, absent: isAbsent });
      } else {
        tell({ kind: "changing", ...names });
      }
    }
  }
}

/**
 * Whether a target differs from the owner because a client wrote to the target, by the to-be list. That is certain if
 * nobody wrote to the owner. If both were written, servers of one list only tell by which list clients go.
 */
function isNewer(
  { options: { endpoints, layout: { asIs, toBe }, overwrite = false } }: RunContext,
  { move: { from, to } }: Difference,
  signs: readonly WriteSign[],
): boolean {
  const signOf = (index: number) => signs[index];
  const [owner, target] = [endpoints.indexOf(from), endpoints.indexOf(to)];
  if (overwrite || signOf(target) !== "written") return false;
  if (signOf(owner) === "quiet") return true;
  const leaving = asIs.filter((index) => !toBe.includes(index));
  const added = toBe.filter((index) => !asIs.includes(index));
  return added.some((index) => signOf(index) === "written") ||
    leaving.length > 0 && leaving.every((index) => signOf(index) === "quiet");
}
