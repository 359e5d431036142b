/**
 * Rebalance: carries every key from the server that owns it by one server list to the server that owns
 * it by another. `rebalance_plan.ts` decides, this does it: survey, read, move, prune, in this order,
 * and nothing is changed before the survey and the reading are complete.
 *
 * A run keeps no state of its own. What it finds on the servers tells it what is left to do, so a run
 * that was killed is completed by the next one. Memory holds a page of keys of each server (all
 * keys of one that speaks only the book routes) and the values under way, never more.
 */
import { KvsError, RebalanceError } from "./errors.ts";
import { KEY_NOT_FOUND } from "./protocol.ts";
import { type Endpoint, sameCopy } from "./rebalance_endpoint.ts";
import {
  type LeftBehindEvent,
  type Phase,
  type RebalanceEvent,
  type Summary,
} from "./rebalance_events.ts";
import { checkFits, type Move, moveKey } from "./rebalance_move.ts";
import { decide, type Decision, type Layout, ownerOf, targetOf } from "./rebalance_plan.ts";
import { prune } from "./rebalance_prune.ts";
import { mapInOrder, type MapOptions, mergeListings } from "./rebalance_streams.ts";

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
  /** The most keys under way at once. */
  readonly concurrency: number;
  /** When it fires, the run stops between keys. */
  readonly signal: AbortSignal;
  readonly onEvent: (event: RebalanceEvent) => void;
}

const SENTINEL = new TextEncoder().encode(KEY_NOT_FOUND);

/** In the survey progress is told once in this many keys. */
const SURVEY_STEP = 1000;

/**
 * Runs a rebalance; resolves to what it did, also when `signal` stopped it.
 *
 * @throws {RebalanceError} If a server fails, a value cannot be carried, or what was saved is read
 * back different. The message says what was done.
 */
export async function rebalance(options: RebalanceOptions): Promise<Summary> {
  return await new Run(options).run();
}

class Run {
  readonly #options: RebalanceOptions;
  readonly #pool: MapOptions;
  readonly #summary: Summary = {
    keys: 0,
    moved: 0,
    inPlace: 0,
    left: 0,
    stale: 0,
    leftOver: 0,
    pruned: 0,
    unclear: 0,
    orphans: 0,
    bytes: 0,
    seconds: 0,
    interrupted: false,
  };
  /** Keys whose target is another server than their owner, by the survey. */
  #planned = 0;

  constructor(options: RebalanceOptions) {
    this.#options = options;
    const { endpoints, concurrency, signal } = options;
    const bound = endpoints.every(({ native }) => native) ? concurrency : BOOK_CONCURRENCY;
    this.#pool = { concurrency: Math.min(concurrency, bound), signal };
  }

  async run(): Promise<Summary> {
    const start = performance.now();
    const { signal, dryRun } = this.#options;
    const phases: (() => Promise<void>)[] = [
      () => this.#reading(() => this.#survey()),
      () => this.#reading(() => this.#read()),
    ];
    if (!dryRun) {
      phases.push(() => this.#changing(() => this.#move()));
      if (this.#options.prune) phases.push(() => this.#changing(() => this.#prune()));
    }
    for (const phase of phases) {
      await phase();
      if (signal.aborted) break;
    }
    this.#summary.interrupted = signal.aborted;
    this.#summary.seconds = (performance.now() - start) / 1000;
    return this.#summary;
  }

  /** Lists all servers and decides on every key, to count them and to tell of those left behind. */
  async #survey(): Promise<void> {
    const { endpoints, onEvent, signal } = this.#options;
    for (const endpoint of endpoints) {
      if (endpoint.native) continue;
      if (this.#options.prune) {
        throw new RebalanceError(
          `Cannot prune: ${endpoint.name} speaks only the book routes, which cannot delete`,
        );
      }
      onEvent({ kind: "book", server: endpoint.name });
    }
    const summary = this.#summary;
    for await (const decision of this.#decisions()) {
      if (signal.aborted) return;
      if (++summary.keys % SURVEY_STEP === 0) this.#progress("survey", summary.keys);
      this.#count(decision);
    }
    this.#progress("survey", summary.keys, summary.keys);
    summary.left = this.#planned;
  }

  #count({ key, verdict, owner, stale, holders }: Decision): void {
    const summary = this.#summary;
    for (const server of stale) this.#tellLeftBehind("stale", key, { server, owner });
    summary.leftOver += stale.length;
    summary.stale += stale.length;
    switch (verdict) {
      case "stay":
        summary.inPlace++;
        break;
      case "move":
        this.#planned++;
        // Its owner's copy is one more that will be in the wrong place.
        summary.stale++;
        break;
      case "unclear":
        summary.unclear++;
        for (const server of holders) this.#tellLeftBehind("unclear", key, { server, owner });
        break;
      case "orphan":
        summary.orphans++;
        for (const server of holders) this.#tellLeftBehind("orphan", key, { server, owner });
    }
  }

  #tellLeftBehind(
    kind: LeftBehindEvent["kind"],
    key: string,
    { server, owner }: { readonly server: number; readonly owner: number },
  ): void {
    const names = { server: this.#endpoint(server).name, owner: this.#endpoint(owner).name };
    this.#options.onEvent({ kind, key, ...names });
  }

  /**
   * Loads values before anything is changed: all of them for the details, those that move for a dry
   * run, and those for which it is not certain that their target can take them.
   */
  async #read(): Promise<void> {
    const { details, dryRun, onEvent, signal } = this.#options;
    const plan = new Map<string, { keys: number; bytes: number; move: Move }>();
    let done = 0;
    const needed = (move: Move) =>
      details ||
      (move.from !== move.to && (dryRun || !move.from.native || !move.to.native));
    for (const server of new Set(this.#options.layout.asIs)) {
      if (details) await this.#tellListing(this.#endpoint(server));
      const moves = this.#movesFrom(server, needed);
      for await (const { move, copy, there } of mapInOrder(moves, this.#inspect, this.#pool)) {
        this.#progress("read", ++done);
        const { key, from, to } = move;
        if (details) {
          const value = copy?.bytes ?? SENTINEL;
          onEvent({ kind: "found", key, value, from: from.name, to: to.name });
        }
        if (!dryRun || copy === undefined || from === to) continue;
        this.#summary.left--;
        if (there) {
          this.#summary.inPlace++;
          continue;
        }
        const pair = `${from.name} ${to.name}`;
        const sum = plan.get(pair) ?? { keys: 0, bytes: 0, move };
        sum.keys++;
        sum.bytes += copy.bytes.length;
        plan.set(pair, sum);
        this.#summary.moved++;
        this.#summary.bytes += copy.bytes.length;
      }
      if (signal.aborted) return;
    }
    for (const { keys, bytes, move } of plan.values()) {
      onEvent({ kind: "plan", from: move.from.name, to: move.to.name, keys, bytes });
    }
  }

  async #tellListing(endpoint: Endpoint): Promise<void> {
    const { onEvent } = this.#options;
    for await (const keys of endpoint.keys()) {
      onEvent({ kind: "listing", server: endpoint.name, keys });
    }
    onEvent({ kind: "listed", server: endpoint.name });
  }

  /** Loads the owner's copy and, in a dry run, compares the target's. */
  readonly #inspect = async (move: Move) => {
    const { key, from, to } = move;
    const moves = from !== to;
    const [copy, there] = await Promise.all([
      from.load(key),
      moves && this.#options.dryRun ? to.load(key) : undefined,
    ]);
    if (moves && copy === undefined && !from.native) {
      throw new RebalanceError(
        `Cannot move "${key}": ${from.name} lists it but answers ${KEY_NOT_FOUND}, which is its ` +
          "value or tells that it is gone: the book routes cannot tell these apart",
      );
    }
    if (moves && copy !== undefined) checkFits(move, copy);
    return { move, copy, there: copy !== undefined && sameCopy(copy, there) };
  };

  /** Copies each key that moves to its target, and reads it back. */
  async #move(): Promise<void> {
    const summary = this.#summary;
    let done = 0;
    for (const server of new Set(this.#options.layout.asIs)) {
      const moves = this.#movesFrom(server, ({ from, to }) => from !== to);
      for await (const event of mapInOrder(moves, moveKey, this.#pool)) {
        // More keys than were counted: clients went on writing after the survey.
        if (summary.left > 0) summary.left--;
        else summary.keys++;
        if (event === undefined) {
          summary.inPlace++;
        } else {
          summary.moved++;
          summary.bytes += event.copy.bytes.length;
          this.#options.onEvent(event);
        }
        this.#progress("move", ++done, Math.max(done, this.#planned));
      }
      if (this.#options.signal.aborted) return;
    }
    if (summary.left > 0) {
      // A server that lost its memory lists nothing: that must not pass for a complete run.
      throw new RebalanceError(
        `${summary.left} keys have gone from their servers since the run began`,
      );
    }
  }

  async #prune(): Promise<void> {
    const total = this.#summary.stale;
    const pruned = prune({
      endpoints: this.#options.endpoints,
      decisions: () => this.#decisions(),
      pool: this.#pool,
    });
    for await (const { key, server } of pruned) {
      this.#summary.pruned++;
      this.#summary.stale--;
      this.#options.onEvent({ kind: "pruned", key, server: server.name });
      this.#progress("prune", this.#summary.pruned, total);
    }
  }

  /** The decision on every key of all servers, in order. */
  async *#decisions(): AsyncGenerator<Decision> {
    const { endpoints, layout } = this.#options;
    const listings = endpoints.map((endpoint) => endpoint.sortedKeys());
    for await (const holding of mergeListings(listings)) yield decide(layout, holding);
  }

  /** The keys that as-is server `server` lists and owns, as far as they are wanted. */
  async *#movesFrom(server: number, wanted: (move: Move) => boolean): AsyncGenerator<Move> {
    const { layout } = this.#options;
    const from = this.#endpoint(server);
    for await (const page of from.keys()) {
      for (const key of page) {
        if (ownerOf(layout, key) !== server) continue;
        const move = { key, from, to: this.#endpoint(targetOf(layout, key)) };
        if (wanted(move)) yield move;
      }
    }
  }

  #endpoint(index: number): Endpoint {
    const endpoint = this.#options.endpoints[index];
    if (endpoint === undefined) throw new RangeError(`No server has index ${index}`);
    return endpoint;
  }

  #progress(phase: Phase, done: number, total?: number): void {
    const known = total === undefined ? {} : { total };
    this.#options.onEvent({ kind: "progress", phase, done, ...known });
  }

  async #reading(phase: () => Promise<void>): Promise<void> {
    try {
      await phase();
    } catch (error) {
      if (!(error instanceof KvsError)) throw error;
      throw new RebalanceError(`${error.message}; nothing was changed`, { cause: error });
    }
  }

  async #changing(phase: () => Promise<void>): Promise<void> {
    try {
      await phase();
    } catch (error) {
      if (!(error instanceof KvsError)) throw error;
      const { left, pruned } = this.#summary;
      const deleted = pruned > 0 ? ` and ${pruned} stale copies deleted` : "";
      throw new RebalanceError(
        `${error.message}; ${this.#planned - left} of ${this.#planned} keys are on their new ` +
          `servers${deleted}, nothing is lost: run it again to complete it`,
        { cause: error },
      );
    }
  }
}
