/**
 * Pruning: deletes copies on servers that will not own them, once the server that will holds the
 * value. First the left-overs of earlier runs, then, when none of these is left, the owners' copies:
 * as long as there is a left-over its owner is there to outrank it, so a run that is killed at any
 * moment leaves nothing that a further run could take for something else.
 */
import { RebalanceError } from "../errors.ts";
import { displayKey } from "../key.ts";
import { BY_ITSELF } from "./batch_requests.ts";
import { type Endpoint, type Loaded, sameCopy } from "./endpoint.ts";
import { type Decision } from "./plan.ts";
import { mapInOrder } from "./map_in_order.ts";
import { type RunContext } from "./work.ts";
import { type Copy } from "../client/remote.ts";

/** A copy that was deleted. */
export interface Pruned {
  readonly key: string;
  readonly server: Endpoint;
}

/**
 * Deletes and yields each copy deleted. No two endpoints may be one server.
 *
 * @throws {RebalanceError} If a value changed since it was moved.
 */
export async function* prune(work: RunContext): AsyncGenerator<Pruned> {
  const pruner = new Pruner(work);
  for (const pass of ["left-overs", "owners"] as const) {
    const batches = batchesOf(work, pass);
    const results = mapInOrder(batches, (batch) => pruner.prune(batch), work.pool);
    for await (const pruned of results) yield* pruned;
    if (work.pool.signal.aborted) return;
  }
}

/** A key and the servers that lose their copy of it. */
interface Job {
  readonly key: string;
  readonly owner: Endpoint;
  readonly target: Endpoint;
  readonly servers: readonly Endpoint[];
}

/** A copy that a server is to lose. */
interface Loss {
  readonly key: string;
  readonly copy: Copy;
  readonly server: Endpoint;
}

async function* batchesOf(
  work: RunContext,
  pass: "left-overs" | "owners",
): AsyncGenerator<readonly Job[]> {
  let batch: Job[] = [];
  for await (const decisions of work.decisions()) {
    for (const decision of decisions) {
      const servers = losersOf(decision, pass);
      if (servers.length === 0) continue;
      const [owner, target] = [work.endpoint(decision.owner), work.endpoint(decision.target)];
      const losers = servers.map((server) => work.endpoint(server));
      batch.push({ key: decision.key, owner, target, servers: losers });
      if (batch.length < work.batcher.mostKeys) continue;
      yield batch;
      batch = [];
    }
  }
  if (batch.length > 0) yield batch;
}

function losersOf(decision: Decision, pass: "left-overs" | "owners"): readonly number[] {
  if (pass === "left-overs") return decision.stale;
  return decision.verdict === "move" ? [decision.owner] : [];
}

class Pruner {
  readonly #work: RunContext;

  constructor(work: RunContext) {
    this.#work = work;
  }

  async prune(jobs: readonly Job[]): Promise<readonly Pruned[]> {
    const counts = await this.#verified(jobs);
    const losses: Loss[] = [];
    const leftOvers: [Endpoint, Job][] = [];
    for (const job of jobs) {
      for (const server of job.servers) {
        const copy = counts.get(job);
        if (server !== job.owner) leftOvers.push([server, job]);
        else if (copy !== undefined) losses.push({ key: job.key, copy, server });
      }
    }
    for (const [server, group] of Map.groupBy(leftOvers, ([server]) => server)) {
      const copies = await this.#load(server, group.map(([, job]) => job));
      for (const [job, copy] of copies) {
        if (copy !== undefined) losses.push({ key: job.key, copy, server });
      }
    }
    const groups = Map.groupBy(losses, ({ server }) => server).values();
    return (await Promise.all([...groups].map(deleteMany))).flat();
  }

  /** The owners' copies. @throws {RebalanceError} Unless the targets hold the very same values. */
  async #verified(jobs: readonly Job[]): Promise<ReadonlyMap<Job, Copy>> {
    const counts = new Map<Job, Copy>();
    for (const [owner, owned] of Map.groupBy(jobs, ({ owner }) => owner)) {
      const copies = await this.#load(owner, owned);
      for (const [target, group] of Map.groupBy(owned, ({ target }) => target)) {
        const held = owner === target ? copies : await this.#load(target, group);
        for (const job of group) {
          const copy = copies.get(job);
          if (copy === undefined || !sameCopy(copy, held.get(job))) {
            throw new RebalanceError(
              `"${
                displayKey(job.key)
              }" changed during the run: ${owner.name} and ${target.name} do not hold ` +
                "the same",
            );
          }
          counts.set(job, copy);
        }
      }
    }
    return counts;
  }

  async #load(
    server: Endpoint,
    jobs: readonly Job[],
  ): Promise<ReadonlyMap<Job, Copy | undefined>> {
    const loaded: readonly Loaded[] = await server.loadMany(jobs.map(({ key }) => key));
    const copies = new Map<Job, Copy | undefined>();
    for (const [index, job] of jobs.entries()) {
      const copy = loaded[index];
      const isLarge = copy === BY_ITSELF;
      copies.set(job, isLarge ? await this.#work.mover.loadAlone(server, job.key) : copy);
    }
    return copies;
  }
}

/** Deletes copies of one server. */
async function deleteMany(losses: readonly Loss[]): Promise<readonly Pruned[]> {
  const server = losses[0]?.server;
  if (server === undefined) return [];
  const deleted = await server.deleteMany(losses);
  const pruned: Pruned[] = [];
  for (const [index, { key }] of losses.entries()) {
    if (deleted[index]) {
      pruned.push({ key, server });
    } else if (await server.load(key) !== undefined) {
      throw new RebalanceError(`"${displayKey(key)}" on ${server.name} changed during the run`);
    }
  }
  return pruned;
}
