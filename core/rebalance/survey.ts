/** The phase that lists all servers and decides on every key. */
import { checkDistinct } from "./distinct.ts";
import { type ServerStats } from "./endpoint.ts";
import { type StaleCopyEvent } from "./events.ts";
import { countsOf, type WriteCount, type WriteSign } from "./foreign_writes.ts";
import { PlacementFit } from "./placement_fit.ts";
import { isRepeat } from "./last_run.ts";
import { type Decision } from "./plan.ts";
import { checkPrunable } from "./prune.ts";
import { type RunContext } from "./run_context.ts";

/** How many unclear keys are remembered by name; bounds memory. */
const MOST_REMEMBERED = 50_000;

/** Keys that move from one server to another. */
export interface Pair {
  readonly owner: number;
  readonly target: number;
  keys: number;
  /** Of those, the keys that the target does not list. */
  newKeys: number;
}

/** What the later phases have to know of a survey. */
export class Survey {
  /** What the servers told of themselves before anything was changed. */
  stats: readonly (ServerStats | undefined)[] = [];
  /** How much others had written by then. */
  counts: readonly WriteCount[] = [];
  /** Whether the same move is complete already. */
  isRepeat = false;
  /** Pairs of servers between which keys move. */
  readonly pairs = new Map<string, Pair>();
  /** Keys whose target is another server than their owner. */
  planned = 0;
  readonly #unclear = new Set<string>();

  /** Takes the decision on one key. */
  add({ key, verdict, owner, target, holders }: Decision): void {
    if (verdict === "unclear" && this.#unclear.size <= MOST_REMEMBERED) this.#unclear.add(key);
    if (verdict !== "move") return;
    const name = `${owner} ${target}`;
    const pair = this.pairs.get(name) ?? { owner, target, keys: 0, newKeys: 0 };
    pair.keys++;
    if (!holders.includes(target)) pair.newKeys++;
    this.pairs.set(name, pair);
    this.planned++;
  }

  /** Whether `key` was unclear at the survey; also `true` if there were too many unclear keys to remember. */
  wasUnclear(key: string): boolean {
    return this.#unclear.size > MOST_REMEMBERED || this.#unclear.has(key);
  }
}

/**
 * Fills `survey`, counts all keys, and tells of each copy that an earlier move left behind.
 *
 * @throws {RebalanceError} If two names are one server, copies cannot be deleted although they are to be pruned,
 * another move is under way, or another placement was meant.
 */
export async function takeSurvey(run: RunContext, survey: Survey): Promise<void> {
  const { endpoints, force, layout, onEvent, overwrite = false, signal } = run.options;
  survey.stats = await run.stats();
  survey.counts = countsOf(endpoints, survey.stats);
  checkDistinct(endpoints, survey.stats);
  if (run.options.prune) checkPrunable(endpoints, survey.stats);
  survey.isRepeat = !overwrite && isRepeat(run, survey.stats);
  for (const { name, native } of endpoints) {
    if (!native) onEvent({ kind: "book", server: name });
  }
  const { summary } = run;
  const fit = new PlacementFit(layout);
  for await (const decisions of run.decisions()) {
    if (signal.aborted) return;
    for (const decision of decisions) {
      survey.add(decision);
      fit.add(decision);
      const { verdict, target, holders } = decision;
      if (verdict === "move" && holders.includes(target)) run.hadCopies.add(target);
      count(run, decision);
    }
    run.progress("survey", summary.keys);
  }
  run.progress("survey", summary.keys, summary.keys);
  summary.left = survey.planned;
  if (!force) fit.check();
}

/**
 * Notices clients of the to-be list, if by `signs` somebody else than the run has written to a server that is in that
 * list only. The signs have to be of a time when no save was under way.
 */
export function noticeClients(
  { mover, options: { layout } }: RunContext,
  signs: readonly WriteSign[],
): void {
  const isAdded = (index: number) => !layout.asIs.includes(index);
  if (signs.some((sign, index) => sign === "written" && isAdded(index))) mover.spareTargets();
}

function count(run: RunContext, { key, verdict, owner, stale, holders }: Decision): void {
  const { summary } = run;
  const tell = (kind: StaleCopyEvent["kind"], servers: readonly number[]) => {
    for (const server of servers) {
      const names = { server: run.endpoint(server).name, owner: run.endpoint(owner).name };
      run.options.onEvent({ kind, key, ...names });
    }
  };
  summary.keys++;
  summary.leftOver += stale.length;
  summary.stale += stale.length;
  tell("stale", stale);
  switch (verdict) {
    case "stay":
      summary.inPlace++;
      break;
    case "move":
      // The copy of the owner is one more that will be in the wrong place.
      summary.stale++;
      break;
    case "unclear":
      summary.unclear++;
      tell("unclear", holders);
      break;
    case "orphan":
      summary.orphans++;
      tell("orphan", holders);
  }
}
