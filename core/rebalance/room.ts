/** The phase that asks whether the disks of the targets have room for what they will get. */
import { type Demand, Disk, MOST_SIZES, Need } from "./disk_room.ts";
import { mapInOrder } from "./map_in_order.ts";
import { MoveBatcher } from "./move_batcher.ts";
import { type Move } from "./mover.ts";
import { type RunContext } from "./run_context.ts";
import { type Survey } from "./survey.ts";

/**
 * Compares what will move with the room of the targets. Asks for the sizes of values only if it has to.
 *
 * @throws {RebalanceError} If a target has no room.
 */
export async function checkRoom(run: RunContext, { pairs, stats }: Survey): Promise<void> {
  const demands: Demand[] = [];
  for (const [target, group] of Map.groupBy(pairs.values(), ({ target }) => target)) {
    const { name } = run.endpoint(target);
    const room = stats[target];
    if (room === undefined) run.options.onEvent({ kind: "unchecked", server: name });
    else demands.push({ target, name, room, pairs: group });
  }
  const open = Disk.group(demands).filter((disk) => !disk.isCertain(stats));
  if (open.length > 0) await measureRoom(run, open);
}

/**
 * Adds up what the values that are new to the targets of these disks take.
 *
 * @throws {RebalanceError} If one of the disks has less room than that.
 */
async function measureRoom(run: RunContext, disks: readonly Disk[]): Promise<void> {
  const demands = disks.flatMap((disk) => disk.demands);
  const needs = new Map(
    demands.map(({ target, room }) => [run.endpoint(target), new Need(room)]),
  );
  const measure = async (moves: readonly Move[]) => {
    const wanted = moves.filter(({ to, mayBeThere }) => !mayBeThere && needs.has(to));
    const from = wanted[0]?.from;
    if (from === undefined) return moves.length;
    const facts = await from.factsMany(wanted.map(({ key }) => key));
    for (const [index, { to }] of wanted.entries()) needs.get(to)?.add(facts[index]?.size ?? 0);
    return moves.length;
  };
  const batcher = new MoveBatcher(Math.min(run.options.batchKeys ?? Infinity, MOST_SIZES), 0);
  let done = 0;
  for await (const keys of mapInOrder(run.batches(undefined, batcher), measure, run.pool)) {
    run.progress("room", done += keys);
  }
  if (run.options.signal.aborted) return;
  for (const disk of disks) disk.check((target) => needs.get(run.endpoint(target)));
}
