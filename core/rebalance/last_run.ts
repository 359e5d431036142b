/** What the servers' notes of their last run mean for the next run. */
import { RebalanceError } from "../errors.ts";
import { type ServerStats } from "./endpoint.ts";
import { isMoved, moveName } from "./plan.ts";
import { type RunContext } from "./run_context.ts";

/**
 * Whether this run is a repeat: the same move was complete on a server. Then clients may go by the to-be list, and a
 * repeat copies nothing. It goes on as part of the runs that the servers know.
 *
 * @throws {RebalanceError} If another move has begun and is not complete.
 */
export function isRepeat(
  { options: { endpoints, layout } }: RunContext,
  stats: readonly (ServerStats | undefined)[],
): boolean {
  let isDone = false;
  for (const [index, { name: server }] of endpoints.entries()) {
    const note = stats[index]?.move;
    if (note === undefined) continue;
    const isSame = note.name === moveName(layout, index);
    if (!isSame && !note.complete) {
      throw new RebalanceError(
        `${server} has begun another move (${note.name}) that was not completed: ` +
          "complete it first, or go on with --overwrite",
      );
    }
    // A server that keeps its place in a list of the same length has the same name for different moves.
    if (isSame && note.complete && isMoved(layout, index)) isDone = true;
  }
  if (!isDone) return false;
  for (const [index, endpoint] of endpoints.entries()) {
    const note = stats[index]?.move;
    if (note !== undefined) endpoint.rejoinMove(note);
  }
  return true;
}
