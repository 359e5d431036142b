/**
 * What clients did while keys were moved. They are to be stopped first; this is for when they were
 * not: a value that changed on its owner behind its copy is copied again, and what does not come to
 * rest is told by name, so that nothing is lost in silence.
 *
 * Whether there is anything to look for, servers tell by their number of writes. Where these do not
 * add up, or are not told, all keys that move are compared once more, by ETag and size where servers
 * know them, and pass after pass until nothing changes any more.
 */
import { type CopyFacts } from "./batch_requests.ts";
import { type Endpoint, type ServerStats } from "./endpoint.ts";
import { type RestlessEvent } from "./events.ts";
import { type BatchOutcome, type Move, type Mover } from "./move.ts";
import { type Decision } from "./plan.ts";
import { mapInOrder, type MapOptions } from "./map_in_order.ts";
import { LARGE_VALUE_BYTES } from "../protocol.ts";

/** At which change of a key it is told instead of copied again. */
const MOST_CHANGES = 3;

/** After so many passes what still changes is told, however seldom each key did. */
const MOST_PASSES = 8;

/** After so many passes that found nothing it is told that clients write, whatever they write. */
const MOST_CLEAN_PASSES = 3;

/** What a check works with. */
export interface CheckOptions {
  readonly mover: Mover;
  readonly pool: MapOptions;
  /**
   * The keys to be moved, in batches, by a listing made anew; calls back for each key that its owner
   * has lost since the survey.
   */
  readonly batches: (onDeleted: (decision: Decision) => void) => AsyncIterable<readonly Move[]>;
  /**
   * Whether nobody but this run wrote to the as-is servers, and no server started anew, since it
   * was last called; `undefined` where they do not tell.
   */
  readonly isQuiet: () => Promise<boolean | undefined>;
  readonly nameOf: (server: number) => string;
  readonly onRecopied: (batch: BatchOutcome) => void;
  readonly onChecked: (keys: number) => void;
}

/** What a check came to. */
export interface Checked {
  /** The keys that did not come to rest. */
  readonly restless: readonly RestlessEvent[];
  /** Whether clients still wrote at the end; what they wrote last may be anything. */
  readonly isBusy: boolean;
}

/** Looks again at all keys that move until they have come to rest, or patience ends. */
export async function checkAgain(options: CheckOptions): Promise<Checked> {
  const { pool, isQuiet, nameOf } = options;
  const changes = new Map<string, number>();
  const changing = new Map<string, RestlessEvent>();
  /** Keys that their targets keep, and that have been told. */
  const kept = new Set<string>();
  let cleanPasses = 0;
  for (let pass = 1;; pass++) {
    await isQuiet();
    const deleted: RestlessEvent[] = [];
    const batches = options.batches(({ key, owner, target }) => {
      deleted.push({ kind: "deleted", key, owner: nameOf(owner), target: nameOf(target) });
    });
    let isDone = true;
    const work = async (batch: readonly Move[]) => ({
      keys: batch.length,
      changed: await changedOf(batch, options.mover),
    });
    for await (const { keys, changed } of mapInOrder(batches, work, pool)) {
      options.onChecked(keys);
      const again: Move[] = [];
      for (const move of changed) {
        if (kept.has(move.key)) continue;
        const count = (changes.get(move.key) ?? 0) + 1;
        changes.set(move.key, count);
        if (count < MOST_CHANGES && pass < MOST_PASSES) {
          again.push({ ...move, mayBeThere: true });
        } else {
          const { key, from, to } = move;
          changing.set(key, { kind: "changing", key, owner: from.name, target: to.name });
        }
      }
      if (again.length === 0) continue;
      isDone = false;
      for (const group of Map.groupBy(again, ({ from }) => from).values()) {
        const batch = await options.mover.moveMany(group);
        for (const outcome of batch.outcomes) {
          if (typeof outcome !== "string" && outcome.kind === "newer") kept.add(outcome.key);
        }
        options.onRecopied(batch);
      }
    }
    cleanPasses = isDone ? cleanPasses + 1 : 0;
    // A pass takes its time: what was written behind its look is for the next one.
    const quiet = await isQuiet();
    const isBusy = quiet === false;
    const isOver = isBusy
      ? cleanPasses >= MOST_CLEAN_PASSES || pass >= MOST_PASSES
      : isDone || quiet;
    if (isOver || pool.signal.aborted) {
      return { restless: [...changing.values(), ...deleted], isBusy };
    }
  }
}

/** The moves whose target does not hold what their owner holds. */
async function changedOf(moves: readonly Move[], mover: Mover): Promise<Move[]> {
  const from = moves[0]?.from;
  if (from === undefined) return [];
  const changed: Move[] = [];
  const targets = Map.groupBy(moves, ({ to }) => to);
  const owned = from.factsMany(moves.map(({ key }) => key));
  const held = [...targets].map(async ([to, group]) => {
    const facts = await to.factsMany(group.map(({ key }) => key));
    return group.map((move, index): [string, CopyFacts | undefined] => [move.key, facts[index]]);
  });
  const [sources, ...others] = await Promise.all([owned, ...held]);
  const there = new Map(others.flat());
  for (const [index, move] of moves.entries()) {
    const source = sources[index];
    // Deleted just now: the next listing tells, if there is a copy to tell of.
    if (source === undefined) continue;
    if (!await isSame(source, there.get(move.key), { move, mover })) changed.push(move);
  }
  return changed;
}

async function isSame(
  source: CopyFacts,
  target: CopyFacts | undefined,
  { move, mover }: { readonly move: Move; readonly mover: Mover },
): Promise<boolean> {
  if (target === undefined || source.size !== target.size) return false;
  const isNative = move.from.native && move.to.native;
  if (isNative && source.contentType !== target.contentType) return false;
  // The ETag of a large value is that of its file, which is another one on each server.
  return source.size > LARGE_VALUE_BYTES && isNative
    ? await mover.isSame(move)
    : source.etag === target.etag;
}

/**
 * Compares what servers say of their writes with what this run wrote to them, and which start of them
 * it is: one that lost its disk may be back before anybody misses it.
 */
export class QuietWatch {
  readonly #servers: readonly Endpoint[];
  readonly #asIs: ReadonlySet<number>;
  #before: readonly Count[] | undefined;

  /**
   * @param servers Those of both lists.
   * @param asIs Which of them clients write to. Writes to the others do not matter: there is nothing
   * that the owners hold to be copied after them.
   */
  constructor(servers: readonly Endpoint[], asIs: readonly number[]) {
    this.#servers = servers;
    this.#asIs = new Set(asIs);
  }

  /**
   * Whether nobody but this run wrote to the as-is servers, and no server started anew, since the
   * call before; `undefined` if servers do not tell.
   */
  async isQuiet(): Promise<boolean | undefined> {
    const stats = await Promise.all(this.#servers.map((server) => server.stats()));
    return this.compare(stats);
  }

  /** As {@link isQuiet}, with what the servers say already at hand. */
  compare(stats: readonly (ServerStats | undefined)[]): boolean | undefined {
    const now = this.#servers.map(({ ownWrites }, index): Count => {
      const { start, writes } = stats[index] ?? {};
      if (!this.#asIs.has(index)) return { start, others: 0 };
      const others = writes === undefined || ownWrites === undefined
        ? undefined
        : writes - ownWrites;
      return { start, others };
    });
    const before = this.#before;
    this.#before = now;
    // What a server held before it started anew may be gone, whatever it tells of its writes.
    const isAnew = ({ start }: Count, index: number) => {
      const old = before?.[index]?.start;
      return start !== undefined && old !== undefined && start !== old;
    };
    if (now.some(isAnew)) return false;
    if (now.some(({ start, others }) => start === undefined || others === undefined)) {
      return undefined;
    }
    return before !== undefined &&
      now.every(({ others }, index) => before[index]?.others === others);
  }
}

/** The writes of others to one start of a server. */
interface Count {
  readonly start: string | undefined;
  readonly others: number | undefined;
}
