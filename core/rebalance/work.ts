/** What the phases of a run share: the servers, the keys in batches, the pace, and the counts. */
import { mergeListings } from "../client/merge_listings.ts";
import { type Endpoint } from "./endpoint.ts";
import { emptySummary, type RebalanceEvent, type RunPhase, type Summary } from "./events.ts";
import { type MapOptions } from "./map_in_order.ts";
import { type Move, Mover } from "./move.ts";
import { Pace } from "./pace.ts";
import { decide, type Decision, type Layout, ownerOf, targetOf } from "./plan.ts";

/**
 * Keys under way at once where a server knows only the book routes: such servers have accept queues
 * as small as 5, and the kernel tries a connection that found the queue full again after a second.
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
  /** Whether to go on where the keys look as if they were placed in another way. */
  readonly force: boolean;
  /** Whether to replace also what clients wrote on the targets since the same move began. */
  readonly overwrite?: boolean;
  /** The most batches under way at once. */
  readonly concurrency: number;
  /** The most keys to be copied in a second; without it as many as possible. */
  readonly keysPerSecond?: number;
  /** The most keys of a batch, besides the limits that values and pace set. */
  readonly batchKeys?: number;
  /** When it fires, the run stops between batches. */
  readonly signal: AbortSignal;
  readonly onEvent: (event: RebalanceEvent) => void;
}

/** A run under way. */
export class RunContext {
  readonly options: RebalanceOptions;
  readonly pool: MapOptions;
  readonly summary: Summary = emptySummary();
  readonly mover: Mover;
  /** To be told what batches came to. */
  readonly batcher: MoveBatcher;

  constructor(options: RebalanceOptions) {
    this.options = options;
    const { endpoints, concurrency, keysPerSecond, signal } = options;
    const bound = endpoints.every(({ native }) => native) ? concurrency : BOOK_CONCURRENCY;
    this.pool = { concurrency: Math.min(concurrency, bound), signal };
    const pace = new Pace(keysPerSecond, signal);
    this.mover = new Mover(pace);
    this.batcher = new MoveBatcher(Math.min(options.batchKeys ?? Infinity, pace.mostAtOnce));
  }

  /** The server that the lists name by `index`. */
  endpoint(index: number): Endpoint {
    const endpoint = this.options.endpoints[index];
    if (endpoint === undefined) throw new RangeError(`No server has index ${index}`);
    return endpoint;
  }

  /** Tells how far a phase is. */
  progress(phase: RunPhase, done: number, total?: number): void {
    const known = total === undefined ? {} : { total };
    this.options.onEvent({ kind: "progress", phase, done, ...known });
  }

  /** The decision on every key of all servers, in order, by a listing made anew. */
  async *decisions(): AsyncGenerator<readonly Decision[]> {
    const { endpoints, layout } = this.options;
    const listings = endpoints.map((endpoint) => endpoint.sortedKeys());
    for await (const holdings of mergeListings(listings)) {
      yield holdings.map((holding) => decide(layout, holding));
    }
  }

  /**
   * The keys that have to be moved, in batches of one owner each.
   *
   * @param onOther Called for each other key.
   * @param batcher What gathers them.
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
        const mayBeThere = holders.includes(target);
        const [from, to] = [this.endpoint(owner), this.endpoint(target)];
        const batch = batcher.add({ key, from, to, mayBeThere });
        if (batch !== undefined) yield batch;
      }
    }
    yield* batcher.takeRest();
  }

  /** The keys that as-is server `server` lists and owns, as far as wanted, in its own order. */
  async *batchesFrom(
    server: number,
    wanted: (move: Move) => boolean,
  ): AsyncGenerator<readonly Move[]> {
    const { layout } = this.options;
    const from = this.endpoint(server);
    for await (const page of from.keys()) {
      for (const key of page) {
        if (ownerOf(layout, key) !== server) continue;
        const to = this.endpoint(targetOf(layout, key));
        const move = { key, from, to, mayBeThere: true };
        if (!wanted(move)) continue;
        // Keeps the order, where one of the targets takes keys one by one.
        if (!move.to.native) yield* this.batcher.takeRest();
        const batch = this.batcher.add(move);
        if (batch !== undefined) yield batch;
      }
    }
    yield* this.batcher.takeRest();
  }
}

/**
 * The most keys of a batch: its answer then fits into what the runtime frees soon; an object over
 * 128 KiB stays until all of the heap is gone through.
 */
const MOST_KEYS = 300;

/** What the values of a batch come to, about, in bytes. */
const BATCH_BYTES = 64 * 1024;

/** What a value is taken to have (bytes) before any was seen. */
const FIRST_GUESS_BYTES = 4096;

/** Gathers moves by the server that they come from. */
export class MoveBatcher {
  readonly #waiting = new Map<unknown, Move[]>();
  readonly #mostKeys: number;
  #averageBytes: number;

  /**
   * @param mostKeys A limit besides the one that values set.
   * @param guessBytes What a value is taken to have before any was seen; 0 where none is carried.
   */
  constructor(mostKeys: number, guessBytes = FIRST_GUESS_BYTES) {
    this.#mostKeys = Math.min(mostKeys, MOST_KEYS);
    this.#averageBytes = guessBytes;
  }

  /** The most keys of a batch, by the values seen so far. */
  get mostKeys(): number {
    return Math.min(this.#mostKeys, Math.ceil(BATCH_BYTES / this.#averageBytes));
  }

  /** Takes a move; returns the batch that is full with it. */
  add(move: Move): readonly Move[] | undefined {
    const { from, to } = move;
    // The book routes take a key a request, so there is nothing to be gained.
    if (!from.native || !to.native) return [move];
    let batch = this.#waiting.get(from);
    if (batch === undefined) {
      batch = [];
      this.#waiting.set(from, batch);
    }
    batch.push(move);
    if (batch.length < this.mostKeys) return undefined;
    this.#waiting.delete(from);
    return batch;
  }

  /** Returns what has not come to a full batch, and begins anew. */
  takeRest(): (readonly Move[])[] {
    const rest = [...this.#waiting.values()];
    this.#waiting.clear();
    return rest;
  }

  /** To be told what batches came to: later ones have as many keys as fit. */
  learn(keys: number, bytes: number): void {
    if (keys > 0) this.#averageBytes = (this.#averageBytes + bytes / keys + 1) / 2;
  }
}
