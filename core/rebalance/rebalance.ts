/**
 * Rebalance: brings every key from the server that owns it by one list to the server that owns it by another list.
 * This file has the order of the phases. Nothing is changed before all servers are listed and all values that may
 * not fit are read.
 *
 * A run keeps no state. What it finds on the servers tells what is left to do, so the next run completes a run that
 * was killed.
 */
import { KvsError, OutputError, RebalanceError, StoppedError } from "../errors.ts";
import { checkChanges } from "./check.ts";
import { type RunPhase, type Summary } from "./events.ts";
import { moveKeys } from "./move.ts";
import { prune } from "./prune.ts";
import { readAhead } from "./read_ahead.ts";
import { checkRoom } from "./room.ts";
import { type RebalanceOptions, RunContext } from "./run_context.ts";
import { Survey, takeSurvey } from "./survey.ts";

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
  const reading: [RunPhase, () => Promise<void>][] = [
    ["survey", () => takeSurvey(run, survey)],
    ["read", () => readAhead(run)],
    ["room", () => checkRoom(run, survey)],
  ];
  const changing: [RunPhase, () => Promise<void>][] = [
    ["move", () => moveKeys(run, survey)],
    ["check", () => checkChanges(run, survey)],
    ["prune", () => prune(run)],
  ];
  const runAll = async (phases: typeof reading, tellEnd: () => string) => {
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
  // A dry run tells a plan, whatever room there is.
  await runAll(options.dryRun ? reading.slice(0, 2) : reading, () => "nothing was changed");
  if (!options.dryRun) await runAll(changing, () => progressOf(summary, survey));
  summary.interrupted = options.signal.aborted;
  summary.seconds = secondsSince(start);
  return summary;
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
