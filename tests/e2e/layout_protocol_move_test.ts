/**
 * Sections 2 to 5 of the specification of layouts together: a cluster grows from 3 servers to 4 and shrinks to 2 while
 * clients write and list. Servers are killed and movers are ended at random; KVS_TEST_SEED repeats a run.
 */
import { assert, assertEquals } from "@std/assert";
import { delay } from "@std/async/delay";
import { isHandedOver, LayoutClient, type Owned } from "./layout_protocol_client.ts";
import { Shards } from "./layout_protocol.ts";
import { compareKeys, placed } from "./layout_words.ts";
import { AbandonedError, Mover } from "./layout_protocol_mover.ts";

const SEED = Number(Deno.env.get("KVS_TEST_SEED") ?? Math.floor(Math.random() * 2 ** 31));
const WRITERS = 6;
const KEYS_OF_A_WRITER = 15;
/** A whole run has to stay short on a busy machine. */
const MOST_KILLS = 5;
/** Over 64 KiB: such a value is carried by itself (characters). */
const LARGE = 80_000;
const STABLE_KEYS = 300;
const HEADS = ["a", "z", "\u00e9", "\ue001", "\u{1f680}"];

/** mulberry32 by Tommy Ettinger: numbers from 0 to below 1. */
function randomOf(seed: number): () => number {
  let state = seed | 0;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** What goes on while keys move. */
interface Scene {
  readonly shards: Shards;
  readonly client: LayoutClient;
  going: boolean;
  /** How many servers have been killed: a request that saw one die may have been carried out twice. */
  kills: number;
  /** True while one of them is away. */
  dying: boolean;
}

/** The one writer of its keys, so it knows what each of them has to be. */
class Writer {
  readonly expected = new Map<string, string | undefined>();
  writes = 0;
  readonly #scene: Scene;
  readonly #random: () => number;

  constructor(scene: Scene, index: number, random: () => number) {
    this.#scene = scene;
    this.#random = random;
    for (let n = 0; n < KEYS_OF_A_WRITER; n++) {
      this.expected.set(`${HEADS[n % HEADS.length]}-w${index}-${n}`, undefined);
    }
  }

  async run(): Promise<void> {
    const keys = [...this.expected.keys()];
    while (this.#scene.going) {
      const key = keys[Math.floor(this.#random() * keys.length)] ?? "";
      const choice = this.#random();
      if (choice < 0.4) await this.#put(key);
      else if (choice < 0.6) await this.#putIfUnchanged(key);
      else if (choice < 0.75) await this.#delete(key);
      else await this.check(key);
      await delay(this.#random() * 25);
    }
  }

  /** Loads a key, and it has to be what was saved last. Resolves to its ETag. */
  async check(key: string): Promise<string | null> {
    const { reply } = await this.#scene.client.ask("GET", key);
    const expected = this.expected.get(key);
    if (expected === undefined) assertEquals(reply.status, 404, `${key} came back: ${reply.text}`);
    else {
      assertEquals(reply.status, 200, `${key} is lost: ${expected.slice(0, 20)} ${reply.text}`);
      assert(
        reply.text === expected,
        `${key} is ${reply.text.slice(0, 20)}, not ${expected.slice(0, 20)}`,
      );
    }
    return reply.headers.get("etag");
  }

  #value(key: string): string {
    const value = `${key} ${++this.writes} `;
    return this.#random() < 0.05 ? value.padEnd(LARGE, "large") : value;
  }

  /** True if a request may have been carried out more than once. */
  async #ask(
    ...[method, key, ask]: Parameters<LayoutClient["ask"]>
  ): Promise<Owned> {
    const { kills, dying } = this.#scene;
    const { reply, uncertain } = await this.#scene.client.ask(method, key, ask);
    return { reply, uncertain: uncertain || dying || kills !== this.#scene.kills };
  }

  async #put(key: string): Promise<void> {
    const body = this.#value(key);
    const { reply, uncertain } = await this.#ask("PUT", key, { body });
    const success = this.expected.get(key) === undefined ? 201 : 204;
    if (!uncertain || reply.status !== 204) {
      assertEquals(reply.status, success, `PUT ${key} ${reply.text}`);
    }
    this.expected.set(key, body);
  }

  async #putIfUnchanged(key: string): Promise<void> {
    const etag = await this.check(key);
    const body = this.#value(key);
    const headers: Record<string, string> = etag === null
      ? { "if-none-match": "*" }
      : { "if-match": etag };
    const { reply, uncertain } = await this.#ask("PUT", key, { body, headers });
    const before = this.expected.get(key);
    if (reply.status === 412) {
      // A large value has another ETag on another server, so this may have changed nothing.
      if (before !== undefined && before.length >= LARGE) {
        const found = (await this.#scene.client.ask("GET", key)).reply.text;
        if (found === before) return;
      } else assert(uncertain, `PUT ${key}: nobody else writes it`);
    } else assertEquals(reply.status, etag === null ? 201 : 204, `PUT ${key} ${reply.text}`);
    this.expected.set(key, body);
    if (reply.status === 412) await this.check(key);
  }

  async #delete(key: string): Promise<void> {
    const { reply, uncertain } = await this.#ask("DELETE", key);
    const success = this.expected.get(key) === undefined ? 404 : 204;
    if (!uncertain || reply.status !== 404) {
      assertEquals(reply.status, success, `DELETE ${key} ${reply.text}`);
    }
    this.expected.set(key, undefined);
    this.writes++;
  }
}

/** Lists all keys again and again; those that nobody writes are all there, once, in every listing. */
async function list(
  scene: Scene,
  stable: readonly string[],
  random: () => number,
): Promise<number> {
  const known = new Set(stable);
  let listings = 0;
  while (scene.going) {
    const keys = await scene.client.keys(20 + Math.floor(random() * 200));
    assertEquals(keys.filter((key) => known.has(key)), stable, "A listing is complete");
    listings++;
    await delay(5);
  }
  return listings;
}

/** Kills a server now and then, and starts it again. */
async function havoc(scene: Scene, random: () => number): Promise<void> {
  while (scene.going && scene.kills < MOST_KILLS) {
    await delay(100 + random() * 400);
    const shard = scene.shards.get(Math.floor(random() * scene.shards.all.length));
    scene.kills++;
    scene.dying = true;
    await shard.kill();
    await delay(random() * 60);
    await shard.restart();
    scene.dying = false;
  }
}

/** Moves to `count` servers with as many movers as it takes; two at a time. */
async function scaleTo(shards: Shards, count: number, random: () => number): Promise<void> {
  const mover = async () => {
    while (true) {
      try {
        await new Mover(shards, random, 0.005).run(count);
        return;
      } catch (error) {
        if (!(error instanceof AbandonedError)) throw error;
      }
    }
  };
  await Promise.all([mover(), mover()]);
}

Deno.test(`3 to 4 to 2 servers under writers, kills and lost movers (seed ${SEED})`, async () => {
  console.log(`KVS_TEST_SEED=${SEED}`);
  await using shards = await Shards.start(4);
  const first = shards.steady(1, 3);
  await shards.give(first, 3);
  const scene: Scene = {
    shards,
    client: new LayoutClient(shards, first),
    going: true,
    kills: 0,
    dying: false,
  };
  const stable = Array.from({ length: STABLE_KEYS }, (_, n) => `${HEADS[n % HEADS.length]}${n}`)
    .sort(compareKeys);
  const values = new Map(stable.map((key, n) => [key, n % 50 === 0 ? key.repeat(40_000) : key]));
  await Promise.all([...values].map(async ([key, body]) => {
    assertEquals((await scene.client.ask("PUT", key, { body })).reply.status, 201);
  }));
  const writers = Array.from(
    { length: WRITERS },
    (_, index) => new Writer(scene, index, randomOf(SEED + index)),
  );
  const others = Promise.all([
    ...writers.map((writer) => writer.run()),
    list(scene, stable, randomOf(SEED + 101)),
    havoc(scene, randomOf(SEED + 102)),
  ]);
  try {
    const moves = (async () => {
      await scaleTo(shards, 4, randomOf(SEED + 103));
      await scaleTo(shards, 2, randomOf(SEED + 104));
    })();
    await Promise.race([moves, others]);
    await moves;
  } finally {
    scene.going = false;
    await Promise.allSettled([others]);
  }
  await others;

  const expected = new Set(stable);
  for (const writer of writers) {
    for (const [key, value] of writer.expected) if (value !== undefined) expected.add(key);
  }
  const sorted = [...expected].sort(compareKeys);
  for (const restarted of [false, true]) {
    if (restarted) await Promise.all(shards.all.map((shard) => shard.restart()));
    assertEquals(await scene.client.keys(100), sorted, "All that was saved, and nothing else");
    const { layout } = await shards.get(0).state();
    assertEquals(layout?.servers, [shards.get(0).name, shards.get(1).name]);
    for (const shard of shards.all.slice(0, 2)) {
      const owned = sorted.filter((key) => placed(layout?.servers ?? [], key) === shard.name);
      assertEquals((await shard.state()).keys, owned.length, "Nothing is left over");
    }
    for (const writer of writers) {
      for (const key of writer.expected.keys()) await writer.check(key);
    }
    for (const [key, value] of values) {
      assert((await scene.client.ask("GET", key)).reply.text === value, `${key} is as it was`);
    }
  }
  const writes = writers.reduce((sum, writer) => sum + writer.writes, 0);
  assert(writes > 0 && scene.kills > 0, `${writes} writes, ${scene.kills} kills`);
});

Deno.test("the order of this test's own client is that of bytes", () => {
  const progress = { mark: "\uffee", end: false };
  assertEquals(isHandedOver(progress, "\ue000"), true);
  assertEquals(isHandedOver(progress, "\u{1f600}"), false);
});
