/** Section 4 of the specification of layouts as a client of its own: who is asked for a key, and listings. */
import { delay } from "@std/async/delay";
import { type Ask, type Shard, type Shards } from "./layout_protocol.ts";
import {
  compareKeys,
  headerOf,
  type LayoutDocument,
  type Progress,
  type Reply,
  sourceOf,
  targetOf,
} from "./layout_words.ts";

const ROUNDS = 20;
const PAUSE_MS = 10;

/** An answer of the owner of a key. */
export interface Owned {
  readonly reply: Reply;
  /** True if an attempt before the one that was answered may have been carried out. */
  readonly uncertain: boolean;
}

type Misdirected = Progress & { readonly layout: LayoutDocument | null };

interface Page extends Progress {
  readonly keys: readonly string[];
  readonly next: string | null;
  readonly epoch: number;
}

/** What a stretch lacked, so that it has to be listed again. */
class StretchError extends Error {}

export function isHandedOver({ mark, end }: Progress, key: string): boolean {
  return end || mark !== null && compareKeys(key, mark) <= 0;
}

export class LayoutClient {
  readonly #shards: Shards;
  #layout: LayoutDocument;
  #marks = new Map<string, Progress>();

  constructor(shards: Shards, layout: LayoutDocument) {
    this.#shards = shards;
    this.#layout = layout;
  }

  /** Asks the owner of a key until it answers; servers that are away are waited for. */
  async ask(method: string, key: string, ask: Ask = {}): Promise<Owned> {
    let uncertain = false;
    for (let round = 0; round < ROUNDS;) {
      const layout = this.#layout;
      const source = sourceOf(layout, key);
      const moved = targetOf(layout, key) !== source && this.#isMoved(source, key);
      const shard = this.#shards.named(moved ? targetOf(layout, key) : source);
      let reply: Reply;
      try {
        reply = await shard.key(method, key, headerOf(layout, moved), ask);
      } catch (error) {
        if (!(error instanceof TypeError)) throw error;
        uncertain = true;
        await this.#refresh();
        await delay(PAUSE_MS);
        continue;
      }
      if (reply.status === 503) {
        await this.#refresh();
        await delay(PAUSE_MS);
      } else if (reply.status === 421) {
        round++;
        await this.#learn(shard, reply.json<Misdirected>());
      } else return { reply, uncertain };
    }
    throw new Error(`No server answers for ${key} in epoch ${this.#layout.epoch}`);
  }

  /** All keys in order, also while they move. */
  async keys(limit: number): Promise<string[]> {
    const found = new Set<string>();
    let after: string | null = null;
    while (true) {
      try {
        after = await this.#stretch(after, limit, found);
        if (after === null) return [...found].sort(compareKeys);
      } catch (error) {
        if (!(error instanceof StretchError || error instanceof TypeError)) throw error;
        await this.#refresh();
        await delay(PAUSE_MS);
      }
    }
  }

  #isMoved(source: string, key: string): boolean {
    if (this.#layout.next === undefined) return false;
    if (this.#layout.lost?.includes(source) === true) return true;
    const progress = this.#marks.get(source);
    return progress !== undefined && isHandedOver(progress, key);
  }

  #adopt(layout: LayoutDocument): void {
    if (layout.cluster !== this.#layout.cluster || layout.epoch <= this.#layout.epoch) return;
    this.#layout = layout;
    this.#marks = new Map();
  }

  /** Takes the news of a 421, or gives its own layout to a server that is behind. */
  async #learn(shard: Shard, { layout, mark, end }: Misdirected): Promise<void> {
    const asked = this.#layout.epoch;
    if (layout !== null) this.#adopt(layout);
    if (layout?.epoch === this.#layout.epoch) this.#marks.set(shard.name, { mark, end });
    if (layout !== null && layout.epoch < asked) {
      await shard.give(this.#layout).catch(() => {});
    }
  }

  /** Asks all servers for a newer layout. */
  async #refresh(): Promise<void> {
    await Promise.all(this.#shards.all.map(async (shard) => {
      const state = await shard.state().catch(() => undefined);
      if (state?.layout != null) this.#adopt(state.layout);
    }));
  }

  async #page(
    layout: LayoutDocument,
    name: string,
    after: string | null,
    limit: number,
  ): Promise<Page> {
    const shard = this.#shards.named(name);
    const query = after === null ? "" : `&after=${encodeURIComponent(after)}`;
    const reply = await shard.ask("GET", `/v1/keys?limit=${limit}${query}`, {
      headers: { "kvs-layout": headerOf(layout) },
    });
    if (reply.status === 421) await this.#learn(shard, reply.json<Misdirected>());
    if (reply.status !== 200) throw new StretchError(`${name}: ${reply.status}`);
    const page = reply.json<Page>();
    if (page.epoch !== layout.epoch) throw new StretchError(`${name} is in ${page.epoch}`);
    return page;
  }

  /** Adds the keys of one stretch; resolves to its end, or null behind the last key. */
  async #stretch(after: string | null, limit: number, found: Set<string>): Promise<string | null> {
    const layout = this.#layout;
    const lost = new Set(layout.lost ?? []);
    const pagesOf = async (names: readonly string[]): Promise<[string, Page][]> =>
      await Promise.all(names.map(async (name): Promise<[string, Page]> => {
        return [name, await this.#page(layout, name, after, limit)];
      }));
    const sources = new Map(await pagesOf(layout.servers.filter((name) => !lost.has(name))));
    const targets = await pagesOf(layout.next ?? []);
    let bound: string | null = null;
    for (const [, { next }] of [...sources, ...targets]) {
      if (next !== null && (bound === null || compareKeys(next, bound) < 0)) bound = next;
    }
    const isInside = (key: string) => bound === null || compareKeys(key, bound) <= 0;
    for (const [name, { keys }] of sources) {
      for (const key of keys) {
        if (isInside(key) && sourceOf(layout, key) === name) found.add(key);
      }
    }
    for (const [name, { keys }] of targets) {
      for (const key of keys) {
        const source = sourceOf(layout, key);
        if (!isInside(key) || source === name || targetOf(layout, key) !== name) continue;
        const progress = sources.get(source);
        if (lost.has(source) || progress !== undefined && isHandedOver(progress, key)) {
          found.add(key);
        }
      }
    }
    return bound;
  }
}
