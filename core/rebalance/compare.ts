/** Compares what owners and targets hold, and tells what differs. Nothing is changed here. */
import { LARGE_VALUE_BYTES } from "../protocol.ts";
import { type CopyFacts } from "./copy.ts";
import { mapInOrder } from "./map_in_order.ts";
import { type Move, type Mover } from "./mover.ts";
import { type RunContext } from "./run_context.ts";

/** A key whose target does not hold what its owner holds. */
export interface Difference {
  readonly move: Move;
  /** Whether the target holds no value at all. */
  readonly isAbsent: boolean;
}

/** The differences among the keys of one owner. */
export async function differencesOf(
  moves: readonly Move[],
  mover: Mover,
): Promise<readonly Difference[]> {
  const from = moves[0]?.from;
  if (from === undefined) return [];
  const owned = from.factsMany(moves.map(({ key }) => key));
  const held = [...Map.groupBy(moves, ({ to }) => to)].map(async ([to, group]) => {
    const facts = await to.factsMany(group.map(({ key }) => key));
    return group.map((move, index): [string, CopyFacts | undefined] => [move.key, facts[index]]);
  });
  const [sources, ...others] = await Promise.all([owned, ...held]);
  const there = new Map(others.flat());
  const differences: Difference[] = [];
  for (const [index, move] of moves.entries()) {
    const source = sources[index];
    // The key was deleted just now: the next listing tells whether its target has a copy.
    if (source === undefined) continue;
    const target = there.get(move.key);
    if (target === undefined || !await isSame(source, target, { move, mover })) {
      differences.push({ move, isAbsent: target === undefined });
    }
  }
  return differences;
}

/**
 * Tells each key that a repeat of a complete move would copy. Clients may go by the to-be list since, so a target that
 * differs, or that lacks the key, may be newer than the owner.
 */
export async function tellNewer(run: RunContext): Promise<void> {
  const { summary, options } = run;
  const work = async (moves: readonly Move[]) => ({
    keys: moves.length,
    differences: await differencesOf(moves, run.mover),
  });
  let done = 0;
  for await (const { keys, differences } of mapInOrder(run.batches(), work, run.pool)) {
    run.countSeen(keys);
    summary.inPlace += keys - differences.length;
    summary.newer += differences.length;
    for (const { move: { key, from, to }, isAbsent } of differences) {
      options.onEvent({ kind: "newer", key, owner: from.name, target: to.name, absent: isAbsent });
    }
    run.progress("check", done += keys);
  }
}

async function isSame(
  source: CopyFacts,
  target: CopyFacts,
  { move, mover }: { readonly move: Move; readonly mover: Mover },
): Promise<boolean> {
  if (source.size !== target.size) return false;
  const isNative = move.from.native && move.to.native;
  if (isNative && source.contentType !== target.contentType) return false;
  // The ETag of a large value is that of its file, which differs from server to server.
  return source.size > LARGE_VALUE_BYTES && isNative
    ? await mover.isSame(move)
    : source.etag === target.etag;
}
