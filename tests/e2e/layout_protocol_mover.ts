/** Section 5 of the specification of layouts as a mover of its own: it keeps no state and may stop anywhere. */
import { delay } from "@std/async/delay";
import { type Shard, type Shards } from "./layout_protocol.ts";
import {
  type Handover,
  type LayoutDocument,
  rangeOf,
  type Reply,
  type State,
} from "./layout_words.ts";

const PAUSE_MS = 15;
const FIRST_LEASE_MS = 500;
const LONGEST_LEASE_MS = 4_000;
const MOST_ATTEMPTS = 40;
const MOST_KEYS = 24;
const PATIENCE_MS = 60_000;

/** The mover was ended between two requests. */
export class AbandonedError extends Error {}

/** Something else went on meanwhile: look at the servers again. */
class AgainError extends Error {}

export class Mover {
  readonly #shards: Shards;
  readonly #random: () => number;
  readonly #chance: number;
  #isAbandoned = false;
  #leaseMs = FIRST_LEASE_MS;

  /** `chance` is that of being ended, and of falling asleep, before each request. */
  constructor(shards: Shards, random: () => number, chance: number) {
    this.#shards = shards;
    this.#random = random;
    this.#chance = chance;
  }

  /** Brings the cluster to the first `count` servers. @throws {AbandonedError} If it was ended. */
  async run(count: number): Promise<void> {
    const goal = this.#shards.all.slice(0, count).map(({ name }) => name);
    const end = performance.now() + PATIENCE_MS;
    while (true) {
      try {
        if (await this.#round(goal)) return;
      } catch (error) {
        if (!(error instanceof AgainError || error instanceof TypeError)) throw error;
        if (performance.now() > end) throw new Error("The move does not end", { cause: error });
        await delay(PAUSE_MS);
      }
    }
  }

  async #pause(): Promise<void> {
    if (this.#random() < this.#chance) await delay(this.#random() * 2 * FIRST_LEASE_MS);
    if (this.#random() < this.#chance) this.#isAbandoned = true;
    if (this.#isAbandoned) throw new AbandonedError();
  }

  /** One walk through the steps; true if the goal is reached. */
  async #round(goal: readonly string[]): Promise<boolean> {
    const states = await Promise.all(this.#shards.all.map((shard) => this.#stateOf(shard)));
    const newest = states.map(({ layout }) => layout).filter((layout) => layout !== null)
      .sort((a, b) => b.epoch - a.epoch)[0];
    if (newest === undefined) throw new Error("No server has a layout");
    await this.#giveTo(newest, states);
    if (newest.next !== undefined) {
      await this.#carryAll(newest);
      const { cluster, epoch, next, nextPlacement = "modulo", stores } = newest;
      await this.#giveAll({
        cluster,
        epoch: epoch + 1,
        since: epoch + 1,
        placement: nextPlacement,
        servers: next,
        stores: Object.fromEntries(next.map((name) => [name, stores[name] ?? ""])),
      }, [...next, ...newest.servers]);
      return false;
    }
    if (newest.servers.join() === goal.join()) return true;
    const members = [...new Set([...newest.servers, ...goal])];
    await this.#giveAll({
      ...newest,
      epoch: newest.epoch + 1,
      since: newest.epoch + 1,
      next: goal,
      nextPlacement: "modulo",
      lost: [],
      stores: Object.fromEntries(members.map((name) => [name, this.#shards.named(name).store])),
    }, members);
    return false;
  }

  async #stateOf(shard: Shard): Promise<State> {
    await this.#pause();
    const reply = await shard.ask("GET", "/v1/layout");
    if (reply.status !== 200) throw new AgainError(`${shard.name}: ${reply.status}`);
    const state = reply.json<State>();
    if (state.stopped) throw new Error(`${shard.name} has stopped: ${reply.text}`);
    return state;
  }

  /** Gives the newest layout to those of its servers that have another. */
  async #giveTo(newest: LayoutDocument, states: readonly State[]): Promise<void> {
    const members = new Set([...newest.servers, ...newest.next ?? []]);
    for (const [index, { layout }] of states.entries()) {
      const shard = this.#shards.get(index);
      const isBehind = layout === null ? members.has(shard.name) : layout.epoch < newest.epoch;
      if (isBehind) await this.#give(shard, newest);
    }
  }

  async #giveAll(layout: LayoutDocument, names: readonly string[]): Promise<void> {
    for (const name of new Set(names)) await this.#give(this.#shards.named(name), layout);
  }

  async #give(shard: Shard, layout: LayoutDocument): Promise<void> {
    await this.#pause();
    const reply = await shard.give(layout);
    if (reply.status === 409 || reply.status === 503) throw new AgainError(reply.text);
    if (reply.status !== 204) throw new Error(`${shard.name}: ${reply.status} ${reply.text}`);
  }

  async #carryAll(layout: LayoutDocument): Promise<void> {
    const sources = layout.servers.map((name) => this.#carry(layout, this.#shards.named(name)));
    for (const result of await Promise.allSettled(sources)) {
      if (result.status === "rejected") throw result.reason;
    }
  }

  /** Carries one source to its end. */
  async #carry(layout: LayoutDocument, source: Shard): Promise<void> {
    const end = performance.now() + PATIENCE_MS;
    while (true) {
      if (performance.now() > end) throw new Error(`${source.name} does not come to its end`);
      await this.#pause();
      const keys = 1 + Math.floor(this.#random() * MOST_KEYS);
      const reply = await this.#patiently(() =>
        source.handover(layout, { keys, leaseMs: this.#leaseMs })
      );
      if (reply === undefined) continue;
      if (reply.status === 409) {
        const state = await this.#stateOf(source);
        if (state.layout?.epoch !== layout.epoch) throw new AgainError(reply.text);
        await delay(PAUSE_MS);
        continue;
      }
      const range = rangeOf(reply);
      if (range === undefined) return;
      if (!await this.#takeAll(layout, source, range)) continue;
      await this.#pause();
      const done = await this.#patiently(() => source.done(layout, range.fence));
      if (done?.status === 409) this.#leaseMs = Math.min(2 * this.#leaseMs, LONGEST_LEASE_MS);
      else if (done !== undefined && done.status !== 204) {
        throw new Error(`done: ${done.status} ${done.text}`);
      }
    }
  }

  /** Brings a range to all targets; false if it has to be fenced again. */
  async #takeAll(layout: LayoutDocument, source: Shard, range: Handover): Promise<boolean> {
    for (const target of layout.next ?? []) {
      if (target === source.name) continue;
      for (let attempt = 1;; attempt++) {
        await this.#pause();
        const reply = await this.#patiently(() =>
          this.#shards.sendRange(layout, source, range, target, attempt)
        );
        if (reply?.status === 204) break;
        if (reply?.status === 409 || attempt === MOST_ATTEMPTS) return false;
        if (reply !== undefined) throw new Error(`take: ${reply.status} ${reply.text}`);
      }
    }
    return true;
  }

  /** Its answer; undefined after a pause if the server is away or about to be. */
  async #patiently(request: () => Promise<Reply | undefined>): Promise<Reply | undefined> {
    try {
      const reply = await request();
      if (reply?.status !== 503) return reply;
    } catch (error) {
      if (!(error instanceof TypeError)) throw error;
    }
    await delay(PAUSE_MS);
    return undefined;
  }
}
