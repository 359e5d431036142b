/** What the phases of a run share: servers, keys in batches, limits, and counts. */
import { mergeListings } from "../client/merge_listings.ts";
import { type Endpoint, type ServerStats } from "./endpoint.ts";
import { emptySummary, type RebalanceEvent, type RunPhase, type Summary } from "./events.ts";
import { countsOf, type WriteCount } from "./foreign_writes.ts";
import { type MapOptions } from "./map_in_order.ts";
import { MoveBatcher } from "./move_batcher.ts";
import { type Move, Mover } from "./mover.ts";
import { Pace } from "./pace.ts";
import { decide, type Decision, type Layout, ownerOf, targetOf } from "./plan.ts";

/**
 * The most keys under way at once if one server speaks only the book routes. Such a server may accept as few as 5
 * connections at once, and the system tries a refused connection again only after a second.
 */
const BOOK_CONCURRENCY = 4;

/** What a run works with. */
export interface RebalanceOptions {
  /** The distinct servers of both lists; `layout` names them by index. */
  readonly endpoints: readonly Endpoint[];
  readonly layout: Layout;
  /** Whether to delete, at the end, the copies on servers that will not own them. */
  readonly prune: boolean;
  /** Whether to change nothing and to tell what would move. */
  readonly dryRun: boolean;
  /** Whether to tell each server's keys, and each key's value, before anything moves. */
  readonly details: boolean;
  /** Whether to go on if the keys look as if they were placed in another way. */
  readonly force: boolean;
  /** Whether to go on whatever move the servers know, and to replace what targets hold. */
  readonly overwrite?: boolean;
  /** The most batches under way at once. */
  readonly concurrency: number;
  /** The most keys to be copied in a second; without it as many as possible. */
  readonly keysPerSecond?: number;
  /** The most keys of a batch, besides the limits that values and pace set. */
  readonly batchKeys?: number;
  /** An abort stops the run between batches. */
  readonly signal: AbortSignal;
  readonly onEvent: (event: RebalanceEvent) => void;
}

/** A run under way. */
export class RunContext {
  readonly options: RebalanceOptions;
  readonly pool: MapOptions;
  readonly summary: Summary = emptySummary();
  readonly mover: Mover;
  readonly batcher: MoveBatcher;
  /** Targets that listed keys to be moved to them at the survey. On another target each copy is newer than that. */
  readonly hadCopies = new Set<number>();

  constructor(options: RebalanceOptions) {
    this.options = options;
    const { endpoints, concurrency, keysPerSecond, signal } = options;
    const bound = endpoints.every(({ native }) => native) ? Infinity : BOOK_CONCURRENCY;
    this.pool = { concurrency: Math.min(concurrency, bound), signal };
    const pace = new Pace(keysPerSecond, signal);
    this.mover = new Mover(pace, options.overwrite ?? false);
    this.batcher = new MoveBatcher(Math.min(options.batchKeys ?? Infinity, pace.mostAtOnce));
  }

  /** The server that the lists name by `index`. */
  endpoint(index: number): Endpoint {
    const endpoint = this.options.endpoints[index];
    if (endpoint === undefined) throw new RangeError(`No server has index ${index}`);
    return endpoint;
  }

  /** What all servers tell of themselves now, in the order of the endpoints. */
  stats(): Promise<readonly (ServerStats | undefined)[]> {
    return Promise.all(this.options.endpoints.map((endpoint) => endpoint.stats()));
  }

  /** How much others than the run have written to each server, in the order of the endpoints. */
  async counts(): Promise<readonly WriteCount[]> {
    return countsOf(this.options.endpoints, await this.stats());
  }

  /** Counts keys that move, and that a phase has come to. */
  countSeen(keys: number): void {
    const { summary } = this;
    const planned = Math.min(keys, summary.left);
    summary.left -= planned;
    // Clients went on writing after the survey if there are more keys than it counted.
    summary.keys += keys - planned;
  }

  /** Tells how far a phase is. */
  progress(phase: RunPhase, done: number, total?: number): void {
    const known = total === undefined ? {} : { total };
    this.options.onEvent({ kind: "progress", phase, done, ...known });
  }

  /** Lists all servers anew and yields the decision on every key, in the order of the keys. */
  async *decisions(): AsyncGenerator<readonly Decision[]> {
    const { endpoints, layout } = this.options;
    const listings = endpoints.map((endpoint) => endpoint.sortedKeys());
    for await (const holdings of mergeListings(listings)) {
      yield holdings.map((holding) => decide(layout, holding));
    }
  }

  /**
   * Lists all servers anew and yields the keys that have to move, in batches of one owner each.
   *
   * @param onOther Called for each other key.
   * @param batcher What gathers the keys.
   */
  async *batches(
    onOther: (decision: Decision) => void = () => {},
    batcher = this.batcher,
  ): AsyncGenerator<readonly Move[]> {
    for await (const decisions of this.decisions()) {
      for (const decision of decisions) {
        const { key, verdict, owner, target, holders } = decision;
        if (verdict !== "move") {
          onOther(decision);
          continue;
        }
        const mayBeThere = this.hadCopies.has(target) && holders.includes(target);
        const [from, to] = [this.endpoint(owner), this.endpoint(target)];
        const batch = batcher.add({ key, from, to, mayBeThere });
        if (batch !== undefined) yield batch;
      }
    }
    yield* batcher.takeRest();
  }

  /** The keys that the as-is server of this index lists and owns and that `wanted` picks, in the server's order. */
  async *batchesFrom(
    server: number,
    wanted: (move: Move) => boolean,
  ): AsyncGenerator<readonly Move[]> {
    const { layout } = this.options;
    const from = this.endpoint(server);
    for await (const page of from.keys()) {
      for (const key of page) {
        if (ownerOf(layout, key) !== server) continue;
        const target = targetOf(layout, key);
        const to = this.endpoint(target);
        const move = { key, from, to, mayBeThere: this.hadCopies.has(target) };
        if (!wanted(move)) continue;
        // Keeps the order: a key for a book server is a batch by itself.
        if (!to.native) yield* this.batcher.takeRest();
        const batch = this.batcher.add(move);
        if (batch !== undefined) yield batch;
      }
    }
    yield* this.batcher.takeRest();
  }
}
