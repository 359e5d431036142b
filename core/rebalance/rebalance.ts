/**
 * Rebalance: brings every key from the server that owns it by one list to the server that owns it by another list.
 * This file has the order of the phases. Nothing is changed before all servers are listed and all values that may
 * not fit are read.
 *
 * A run keeps no state. What it finds on the servers tells what is left to do, so the next run completes a run that
 * was killed. A repeat of a complete move only compares, because clients may go by the to-be list since.
 */
import { KvsError, OutputError, RebalanceError, StoppedError } from "../errors.ts";
import { checkChanges, checkRepeat } from "./check.ts";
import { isAtRest, type RunPhase, type Summary } from "./events.ts";
import { moveKeys } from "./move.ts";
import { prune } from "./prune.ts";
import { readAhead } from "./read_ahead.ts";
import { checkRoom } from "./room.ts";
import { type RebalanceOptions, RunContext } from "./run_context.ts";
import { Survey, takeSurvey } from "./survey.ts";

type Phases = readonly (readonly [RunPhase, () => Promise<void>])[];

/**
 * Runs a rebalance; resolves to what it did, also if `signal` stopped it.
 *
 * @throws {RebalanceError} If a server fails, a value cannot be moved, or a value that was saved is read back
 * different. The message says what was done.
 */
export async function rebalance(options: RebalanceOptions): Promise<Summary> {
  const run = new RunContext(options);
  const survey = new Survey();
  const { summary } = run;
  const { details, dryRun } = options;
  const runAll = async (phases: Phases, tellEnd: () => string) => {
    for (const [name, phase] of phases) {
      if (options.signal.aborted) return;
      const start = performance.now();
      await phase().catch((error: unknown) => {
        if (error instanceof StoppedError) return;
        throw error instanceof KvsError ? ended(error, tellEnd()) : error;
      });
      summary.phases[name] = secondsSince(start);
    }
  };
  const start = performance.now();
  const unchanged = () => "nothing was changed";
  await runAll([["survey", () => takeSurvey(run, survey)]], unchanged);
  const read: Phases = [["read", () => readAhead(run)]];
  if (survey.isRepeat) {
    await runAll([...(details ? read : []), ["check", () => checkRepeat(run)]], unchanged);
  } else {
    // A dry run tells a plan, whatever room there is.
    const room: Phases = [["room", () => checkRoom(run, survey)]];
    await runAll([...read, ...(dryRun ? [] : room)], unchanged);
  }
  const move: Phases = [
    ["move", () => moveKeys(run, survey)],
    ["check", () => checkChanges(run, survey)],
  ];
  const changing: Phases = [...(survey.isRepeat ? [] : move), ["prune", () => pruneAndEnd(run)]];
  if (!dryRun) await runAll(changing, () => progressOf(summary, survey));
  summary.interrupted = options.signal.aborted;
  summary.seconds = secondsSince(start);
  return summary;
}

/** Prunes if that was asked for. Then the servers learn whether clients may go by the to-be list from now on. */
async function pruneAndEnd(run: RunContext): Promise<void> {
  const { mover, options: { endpoints, signal }, summary } = run;
  await prune(run);
  if (signal.aborted) return;
  // A further run must not replace what clients write by the to-be list already.
  if (!isAtRest(summary) && summary.newer === 0 && !mover.sparesTargets) return;
  await Promise.all(endpoints.map((endpoint) => endpoint.completeMove()));
}

function secondsSince(start: number): number {
  return (performance.now() - start) / 1000;
}

/** What a run that failed has done, as the end of a message. */
function progressOf({ left, gone, pruned }: Summary, { planned }: Survey): string {
  const deleted = pruned > 0 ? ` and ${pruned} stale copies deleted` : "";
  return `${planned - left - gone} of ${planned} keys are on their new servers${deleted}, ` +
    "nothing is lost: run it again to complete it";
}

/** The error that ends a run. The class of an output that failed is kept. */
function ended(cause: KvsError, end: string): KvsError {
  const errorClass = cause instanceof OutputError ? OutputError : RebalanceError;
  return new errorClass(`${cause.message}; ${end}`, { cause });
}
