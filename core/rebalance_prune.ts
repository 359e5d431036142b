/**
 * Pruning: deletes copies on servers that will not own them, once the server that will holds the
 * value. First the left-overs of earlier runs, then, when none of these is left, the owners' copies:
 * as long as there is a left-over its owner is there to outrank it, so a run that is killed at any
 * moment leaves nothing that a further run could take for something else.
 */
import { RebalanceError } from "./errors.ts";
import { type Endpoint, sameCopy } from "./rebalance_endpoint.ts";
import { type Decision } from "./rebalance_plan.ts";
import { mapInOrder, type MapOptions } from "./rebalance_streams.ts";
import { type Copy } from "./remote.ts";

/** What pruning works with. */
export interface PruneOptions {
  readonly endpoints: readonly Endpoint[];
  /** Lists all servers anew and decides on every key. */
  readonly decisions: () => AsyncIterable<Decision>;
  readonly pool: MapOptions;
}

/** A copy that was deleted. */
export interface Pruned {
  readonly key: string;
  readonly server: Endpoint;
}

/**
 * Deletes and yields each copy deleted.
 *
 * @throws {RebalanceError} If a value changed since it was moved, or two names are the same server.
 */
export async function* prune(options: PruneOptions): AsyncGenerator<Pruned> {
  const pruner = new Pruner(options.endpoints);
  for (const pass of ["left-overs", "owners"] as const) {
    const jobs = jobsOf(options.decisions(), pass);
    const results = mapInOrder(jobs, (job) => pruner.prune(job), options.pool);
    for await (const pruned of results) yield* pruned;
    if (options.pool.signal.aborted) return;
  }
}

/** A key and the servers that lose their copy of it. */
interface Job {
  readonly decision: Decision;
  readonly servers: readonly number[];
}

async function* jobsOf(
  decisions: AsyncIterable<Decision>,
  pass: "left-overs" | "owners",
): AsyncGenerator<Job> {
  for await (const decision of decisions) {
    if (pass === "left-overs") {
      if (decision.stale.length > 0) yield { decision, servers: decision.stale };
    } else if (decision.verdict === "move") {
      yield { decision, servers: [decision.owner] };
    }
  }
}

class Pruner {
  readonly #endpoints: readonly Endpoint[];
  /** By the pair of a server that loses copies and one that keeps them: proof that they are two. */
  readonly #proofs = new Map<string, Promise<void>>();

  constructor(endpoints: readonly Endpoint[]) {
    this.#endpoints = endpoints;
  }

  async prune({ decision, servers }: Job): Promise<readonly Pruned[]> {
    const { key, owner, target } = decision;
    const kept = this.#endpoint(target);
    const counts = await this.#verified(key, this.#endpoint(owner), kept);
    const pruned: Pruned[] = [];
    for (const index of servers) {
      const server = this.#endpoint(index);
      const copy = index === owner ? counts : await server.load(key);
      if (copy === undefined) continue;
      if (await this.#delete(key, copy, { server, kept })) pruned.push({ key, server });
    }
    return pruned;
  }

  /** The owner's copy. @throws {RebalanceError} Unless the target holds the very same value. */
  async #verified(key: string, owner: Endpoint, target: Endpoint): Promise<Copy> {
    const [counts, held] = await Promise.all([
      owner.load(key),
      owner === target ? undefined : target.load(key),
    ]);
    if (
      counts === undefined || (owner !== target && !sameCopy(counts, held))
    ) {
      throw new RebalanceError(
        `"${key}" changed during the run: ${owner.name} and ${target.name} do not hold the same`,
      );
    }
    return counts;
  }

  async #delete(
    key: string,
    copy: Copy,
    pair: { readonly server: Endpoint; readonly kept: Endpoint },
  ): Promise<boolean> {
    const { server, kept } = pair;
    const name = `${server.name} ${kept.name}`;
    const proof = this.#proofs.get(name);
    if (proof !== undefined) {
      await proof;
      return await deleteCopy(key, copy, server);
    }
    // The first of its pair: the others wait for what it proves.
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    promise.catch(() => {});
    this.#proofs.set(name, promise);
    try {
      const deleted = await deleteCopy(key, copy, server);
      await proveDistinct(key, copy, pair);
      resolve();
      return deleted;
    } catch (error) {
      reject(error);
      throw error;
    }
  }

  #endpoint(index: number): Endpoint {
    const endpoint = this.#endpoints[index];
    if (endpoint === undefined) throw new RangeError(`No server has index ${index}`);
    return endpoint;
  }
}

async function deleteCopy(key: string, copy: Copy, server: Endpoint): Promise<boolean> {
  if (await server.delete(key, copy)) return true;
  if (await server.load(key) === undefined) return false;
  throw new RebalanceError(`"${key}" on ${server.name} changed during the run`);
}

/**
 * After a copy was deleted on `server`: makes sure that `kept` still has the key. It has not if both
 * are one server under two names (`localhost` and `127.0.0.1`); then the copy is put back at once.
 */
async function proveDistinct(
  key: string,
  copy: Copy,
  { server, kept }: { readonly server: Endpoint; readonly kept: Endpoint },
): Promise<void> {
  let held: Copy | undefined;
  try {
    held = await kept.load(key);
  } finally {
    if (held === undefined) await server.save(key, copy);
  }
  if (held === undefined) {
    throw new RebalanceError(`${server.name} and ${kept.name} are the same server: cannot prune`);
  }
}
