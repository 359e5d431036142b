/**
 * Rebalance: carries every key from the server that owns it by one server list to the server that owns
 * it by another. `rebalance_plan.ts` decides, this does it: survey, read, move, check, prune, in this
 * order, and nothing is changed before the survey and the reading are complete.
 *
 * A run keeps no state of its own. What it finds on the servers tells it what is left to do, so a run
 * that was killed is completed by the next one. Memory holds a page of keys of each server (all
 * keys of one that speaks only the book routes) and the batches under way, never more.
 */
import { KvsError, OutputError, RebalanceError, StoppedError } from "../errors.ts";
import { checkAgain, QuietWatch } from "./check.ts";
import { checkDistinct, checkPrunable } from "./distinct.ts";
import { type ServerStats } from "./endpoint.ts";
import { isAtRest, type RunPhase, type StaleCopyEvent, type Summary } from "./events.ts";
import { type BatchOutcome, type Move } from "./move.ts";
import { type Decision, moveName } from "./plan.ts";
import { prune } from "./prune.ts";
import { readAhead } from "./read_ahead.ts";
import { type Demand, Disk, measureRoom } from "./room.ts";
import { mapInOrder } from "./map_in_order.ts";
import { Survey } from "./survey.ts";
import { type RebalanceOptions, RunContext } from "./work.ts";

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
  readonly #work: RunContext;
  readonly #summary: Summary;
  readonly #survey: Survey;
  readonly #watch: QuietWatch;
  /** What the servers said of themselves at the start. */
  #stats: readonly (ServerStats | undefined)[] = [];

  constructor(options: RebalanceOptions) {
    this.#work = new RunContext(options);
    this.#summary = this.#work.summary;
    this.#survey = new Survey(options.layout);
    this.#watch = new QuietWatch(options.endpoints, options.layout.asIs);
  }

  async run(): Promise<Summary> {
    const start = performance.now();
    const { signal, dryRun } = this.#work.options;
    const phases: [RunPhase, () => Promise<void>][] = [
      ["survey", () => this.#reading(() => this.#takeSurvey())],
      ["read", () => this.#reading(() => readAhead(this.#work))],
    ];
    if (!dryRun) {
      phases.push(
        ["room", () => this.#reading(() => this.#lookForRoom())],
        ["move", () => this.#changing(() => this.#move())],
        ["check", () => this.#changing(() => this.#check())],
        ["prune", () => this.#changing(() => this.#prune())],
      );
    }
    for (const [name, phase] of phases) {
      const phaseStart = performance.now();
      await phase();
      this.#summary.phases[name] = (performance.now() - phaseStart) / 1000;
      if (signal.aborted) break;
    }
    this.#summary.interrupted = signal.aborted;
    this.#summary.seconds = (performance.now() - start) / 1000;
    return this.#summary;
  }

  /** Lists all servers and decides on every key, to count them and to tell of those left behind. */
  async #takeSurvey(): Promise<void> {
    const { dryRun, endpoints, onEvent, prune, signal } = this.#work.options;
    this.#stats = await Promise.all(endpoints.map((endpoint) => endpoint.stats()));
    checkDistinct(endpoints, this.#stats);
    if (prune) checkPrunable(endpoints, this.#stats);
    for (const { name, native } of endpoints) {
      if (!native) onEvent({ kind: "book", server: name });
    }
    if (!dryRun) await this.#begin();
    this.#watch.compare(this.#stats);
    const summary = this.#summary;
    for await (const decisions of this.#work.decisions()) {
      if (signal.aborted) return;
      for (const decision of decisions) this.#count(decision);
      this.#work.progress("survey", summary.keys);
    }
    this.#work.progress("survey", summary.keys, summary.keys);
    summary.left = this.#survey.planned;
    if (!this.#work.options.force) this.#survey.checkPlacement();
  }

  /** From now on servers tell what clients write on them from what an earlier move left there. */
  async #begin(): Promise<void> {
    const { endpoints, layout, overwrite = false } = this.#work.options;
    await Promise.all(
      endpoints.map((endpoint, index) => endpoint.beginMove(moveName(layout, index), overwrite)),
    );
  }

  #count(decision: Decision): void {
    const { key, verdict, owner, stale, holders } = decision;
    const summary = this.#summary;
    this.#survey.add(decision);
    summary.keys++;
    for (const server of stale) this.#tellLeftBehind("stale", key, { server, owner });
    summary.leftOver += stale.length;
    summary.stale += stale.length;
    switch (verdict) {
      case "stay":
        summary.inPlace++;
        break;
      case "move":
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
    kind: StaleCopyEvent["kind"],
    key: string,
    { server, owner }: { readonly server: number; readonly owner: number },
  ): void {
    const names = {
      server: this.#work.endpoint(server).name,
      owner: this.#work.endpoint(owner).name,
    };
    this.#work.options.onEvent({ kind, key, ...names });
  }

  /** Asks servers for the sizes of values only where it is not certain without that. */
  async #lookForRoom(): Promise<void> {
    const demands: Demand[] = [];
    for (
      const [target, pairs] of Map.groupBy(this.#survey.pairs.values(), ({ target }) => target)
    ) {
      const { name } = this.#work.endpoint(target);
      const room = this.#stats[target];
      if (room === undefined) this.#work.options.onEvent({ kind: "unchecked", server: name });
      else demands.push({ target, name, room, pairs });
    }
    const statsOf = (server: number) => this.#stats[server];
    const open = Disk.group(demands).filter((disk) => !disk.isCertain(statsOf));
    if (open.length > 0) await measureRoom(this.#work, open);
  }

  /** Copies each key that moves to its target, and reads it back. */
  async #move(): Promise<void> {
    const { details, layout, signal } = this.#work.options;
    // The details tell of the moves server by server.
    if (!details) return await this.#moveAll(this.#work.batches());
    for (const server of new Set(layout.asIs)) {
      await this.#moveAll(this.#work.batchesFrom(server, ({ from, to }) => from !== to));
      if (signal.aborted) return;
    }
  }

  async #moveAll(batches: AsyncIterable<readonly Move[]>): Promise<void> {
    const { mover, pool } = this.#work;
    const failed = new AbortController();
    const signal = AbortSignal.any([pool.signal, failed.signal]);
    let failure: BatchOutcome["failure"];
    const work = async (batch: readonly Move[]) => {
      const outcome = await mover.moveMany(batch);
      if (outcome.failure !== undefined) failed.abort();
      return outcome;
    };
    for await (const batch of mapInOrder(batches, work, { ...pool, signal })) {
      this.#countMoves(batch);
      failure ??= batch.failure;
    }
    if (failure !== undefined) throw failure.error;
  }

  #countMoves({ outcomes }: BatchOutcome): void {
    const summary = this.#summary;
    const planned = this.#survey.planned;
    let bytes = 0;
    for (const outcome of outcomes) {
      // More keys than were counted: clients went on writing after the survey.
      if (summary.left > 0) summary.left--;
      else summary.keys++;
      if (outcome === "there") {
        summary.inPlace++;
      } else if (outcome === "gone") {
        summary.gone++;
      } else if (outcome.kind === "newer") {
        summary.newer++;
        this.#work.options.onEvent(outcome);
      } else {
        summary.moved++;
        bytes += outcome.bytes;
        this.#work.options.onEvent(outcome);
      }
    }
    summary.bytes += bytes;
    this.#work.batcher.learn(outcomes.length, bytes);
    const done = planned - summary.left;
    this.#work.progress("move", done, Math.max(done, planned));
  }

  /** Looks for what clients did meanwhile, and tells the servers if they go by the new list now. */
  async #check(): Promise<void> {
    const { options, summary } = this.#work;
    await this.#lookAgain();
    if (options.signal.aborted || !(isAtRest(summary) || summary.newer > 0)) return;
    await Promise.all(options.endpoints.map((endpoint) => endpoint.completeMove()));
  }

  /** Copies again what changed since it was copied, and tells what does not come to rest. */
  async #lookAgain(): Promise<void> {
    const summary = this.#summary;
    const isQuiet = await this.#watch.isQuiet();
    // A server that lost its memory lists nothing: that must not pass for a complete run.
    summary.gone += summary.left;
    summary.left = 0;
    summary.keys -= summary.gone;
    if (summary.gone > 0 && summary.gone >= this.#survey.planned / 2) {
      throw new RebalanceError(
        `${summary.gone} keys have gone from their servers since the run began`,
      );
    }
    if (isQuiet && summary.gone === 0) return;
    // Where clients go by the new list, nothing that others write by the old one comes to rest.
    if (summary.newer > 0) return;
    let checked = 0;
    const { restless, isBusy } = await checkAgain({
      mover: this.#work.mover,
      pool: this.#work.pool,
      batches: (onDeleted) =>
        this.#work.batches((decision) => {
          if (decision.verdict !== "unclear" || this.#survey.wasUnclear(decision.key)) return;
          onDeleted(decision);
        }),
      isQuiet: () => this.#watch.isQuiet(),
      nameOf: (server) => this.#work.endpoint(server).name,
      onRecopied: (batch) => this.#countRecopied(batch),
      onChecked: (keys) => this.#work.progress("check", checked += keys),
    });
    summary.busy = isBusy;
    for (const event of restless) {
      summary[event.kind]++;
      this.#work.options.onEvent(event);
    }
  }

  #countRecopied({ outcomes, failure }: BatchOutcome): void {
    for (const outcome of outcomes) {
      if (typeof outcome === "string") continue;
      if (outcome.kind === "newer") this.#summary.newer++;
      else this.#summary.recopied++;
      this.#work.options.onEvent(outcome);
    }
    if (failure !== undefined) throw failure.error;
  }

  async #prune(): Promise<void> {
    const { summary, options } = this.#work;
    // Where clients still write, the owners' copies are what counts.
    if (!options.prune || !isAtRest(summary)) return;
    // Once more: a name that reaches one of several servers may have reached another one before.
    checkDistinct(
      options.endpoints,
      await Promise.all(options.endpoints.map((endpoint) => endpoint.stats())),
    );
    const total = summary.stale;
    for await (const { key, server } of prune(this.#work)) {
      summary.pruned++;
      summary.stale--;
      options.onEvent({ kind: "pruned", key, server: server.name });
      this.#work.progress("prune", summary.pruned, total);
    }
  }

  async #reading(phase: () => Promise<void>): Promise<void> {
    try {
      await phase();
    } catch (error) {
      if (error instanceof StoppedError) return;
      if (!(error instanceof KvsError)) throw error;
      throw stopped(error, "nothing was changed");
    }
  }

  async #changing(phase: () => Promise<void>): Promise<void> {
    try {
      await phase();
    } catch (error) {
      if (error instanceof StoppedError) return;
      if (!(error instanceof KvsError)) throw error;
      const { left, gone, pruned } = this.#summary;
      const planned = this.#survey.planned;
      const deleted = pruned > 0 ? ` and ${pruned} stale copies deleted` : "";
      throw stopped(
        error,
        `${planned - left - gone} of ${planned} keys are on their new servers${deleted}, ` +
          "nothing is lost: run it again to complete it",
      );
    }
  }
}

/** The error that ends a run, with what became of it; an output that fails stays told apart. */
function stopped(cause: KvsError, end: string): KvsError {
  const errorClass = cause instanceof OutputError ? OutputError : RebalanceError;
  return new errorClass(`${cause.message}; ${end}`, { cause });
}
