/**
 * The phase that deletes copies on servers that will not own them, once the target holds the value. It deletes the
 * stale copies of earlier moves first. The owners' copies go only when none of these remains: as long as the owner
 * holds the key, a stale copy does not count. So a run that is killed leaves nothing that the next run mistakes.
 */
import { type Copy } from "../client/remote.ts";
import { RebalanceError } from "../errors.ts";
import { displayKey } from "../key.ts";
import { sameCopy } from "./copy.ts";
import { checkDistinct } from "./distinct.ts";
import { type Endpoint, type KeyedCopy, type ServerStats } from "./endpoint.ts";
import { isAtRest } from "./events.ts";
import { mapInOrder } from "./map_in_order.ts";
import { type Mover } from "./mover.ts";
import { type Decision } from "./plan.ts";
import { type RunContext } from "./run_context.ts";

/**
 * Makes sure that copies may be deleted.
 *
 * @throws {RebalanceError} If a server cannot delete, or does not tell which start of a server it is.
 */
export function checkPrunable(
  endpoints: readonly Endpoint[],
  stats: readonly (ServerStats | undefined)[],
): void {
  for (const [index, { name, native }] of endpoints.entries()) {
    if (!native) {
      throw new RebalanceError(
        `Cannot prune: ${name} speaks only the book routes, which cannot delete`,
      );
    }
    if (stats[index]?.start === undefined) {
      throw new RebalanceError(
        `Cannot prune: ${name} does not tell which start of a server it is, so it may be another one by name`,
      );
    }
  }
}

/**
 * Deletes the copies, if the run was asked to and clients left the keys alone.
 *
 * @throws {RebalanceError} If two names are one server, or a value changed since it was moved.
 */
export async function prune(run: RunContext): Promise<void> {
  const { summary, options } = run;
  if (!options.prune || !isAtRest(summary)) return;
  // Once more: a name that reaches one of several servers may have reached another one before.
  checkDistinct(options.endpoints, await run.stats());
  const total = summary.stale;
  for (const pass of ["stale", "owners"] as const) {
    const work = (jobs: readonly Job[]) => pruneBatch(jobs, run.mover);
    for await (const pruned of mapInOrder(batchesOf(run, pass), work, run.pool)) {
      for (const { key, server } of pruned) {
        summary.pruned++;
        summary.stale--;
        options.onEvent({ kind: "pruned", key, server: server.name });
        run.progress("prune", summary.pruned, total);
      }
    }
    if (run.pool.signal.aborted) return;
  }
}

/** A key and the servers that lose their copy of it. */
interface Job {
  readonly key: string;
  readonly owner: Endpoint;
  readonly target: Endpoint;
  readonly losers: readonly Endpoint[];
}

/** A copy that a server is to lose. */
interface Loss extends KeyedCopy {
  readonly server: Endpoint;
}

async function* batchesOf(
  run: RunContext,
  pass: "stale" | "owners",
): AsyncGenerator<readonly Job[]> {
  let batch: Job[] = [];
  for await (const decisions of run.decisions()) {
    for (const decision of decisions) {
      const losers = losersOf(decision, pass).map((server) => run.endpoint(server));
      if (losers.length === 0) continue;
      const [owner, target] = [run.endpoint(decision.owner), run.endpoint(decision.target)];
      batch.push({ key: decision.key, owner, target, losers });
      if (batch.length < run.batcher.mostKeys) continue;
      yield batch;
      batch = [];
    }
  }
  if (batch.length > 0) yield batch;
}

function losersOf(decision: Decision, pass: "stale" | "owners"): readonly number[] {
  if (pass === "stale") return decision.stale;
  return decision.verdict === "move" ? [decision.owner] : [];
}

/** Deletes the losers' copies and returns those that were deleted. */
async function pruneBatch(jobs: readonly Job[], mover: Mover): Promise<readonly Loss[]> {
  const owned = await verify(jobs, mover);
  const losses: Loss[] = [];
  const stale: { readonly key: string; readonly server: Endpoint }[] = [];
  for (const { key, owner, losers } of jobs) {
    for (const server of losers) {
      const copy = owned.get(key);
      if (server !== owner) stale.push({ key, server });
      else if (copy !== undefined) losses.push({ key, copy, server });
    }
  }
  for (const [server, group] of Map.groupBy(stale, ({ server }) => server)) {
    for (const [key, copy] of await mover.load(server, group.map(({ key }) => key))) {
      if (copy !== undefined) losses.push({ key, copy, server });
    }
  }
  const groups = Map.groupBy(losses, ({ server }) => server);
  return (await Promise.all([...groups].map(deleteFrom))).flat();
}

/** The owners' copies. @throws {RebalanceError} Unless the targets hold the very same values. */
async function verify(jobs: readonly Job[], mover: Mover): Promise<ReadonlyMap<string, Copy>> {
  const verified = new Map<string, Copy>();
  for (const [owner, owned] of Map.groupBy(jobs, ({ owner }) => owner)) {
    const copies = await mover.load(owner, owned.map(({ key }) => key));
    for (const [target, group] of Map.groupBy(owned, ({ target }) => target)) {
      const held = owner === target
        ? copies
        : await mover.load(target, group.map(({ key }) => key));
      for (const { key } of group) {
        const copy = copies.get(key);
        if (copy === undefined || !sameCopy(copy, held.get(key))) {
          const names = `${owner.name} and ${target.name}`;
          throw new RebalanceError(
            `"${displayKey(key)}" changed during the run: ${names} do not hold the same`,
          );
        }
        verified.set(key, copy);
      }
    }
  }
  return verified;
}

/** Deletes copies of one server and returns those that were deleted. */
async function deleteFrom([server, losses]: [Endpoint, readonly Loss[]]): Promise<readonly Loss[]> {
  const deleted = await server.deleteMany(losses);
  for (const [index, { key }] of losses.entries()) {
    if (!deleted[index] && await server.load(key) !== undefined) {
      throw new RebalanceError(`"${displayKey(key)}" on ${server.name} changed during the run`);
    }
  }
  return losses.filter((_, index) => deleted[index]);
}
