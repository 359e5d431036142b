/** Section 3 of the specification of layouts, at the target of a move: what a take does, and which it refuses. */
import { assert, assertEquals } from "@std/assert";
import { type Shard, Shards } from "./layout_protocol.ts";
import {
  type Handover,
  headerOf,
  type KeyLine,
  type LayoutDocument,
  rangeOf,
  type Reply,
  takeBody,
  type TakeHead,
} from "./layout_words.ts";

/** Two servers that become three; `lines` are keys of server-0 as its handover tells them. */
interface Move extends AsyncDisposable {
  readonly shards: Shards;
  readonly layout: LayoutDocument;
  readonly lines: ReadonlyMap<string, KeyLine>;
}

async function begun(): Promise<Move> {
  const shards = await Shards.start(3);
  try {
    await shards.give(shards.steady(1, 2), 2);
    for (const [index, keys] of ["bdfhjnptvz", "aceg"].entries()) {
      for (const key of keys) {
        await shards.get(index).key("PUT", key, undefined, { body: `of ${key}` });
      }
    }
    const layout = shards.moving(2, 2, 3);
    await shards.give(layout, 3);
    const range = rangeOf(await shards.get(0).handover(layout, { leaseMs: 1 }));
    assert(range !== undefined);
    const lines = new Map(range.lines.map((line) => [line.key, line]));
    return { shards, layout, lines, [Symbol.asyncDispose]: () => shards[Symbol.asyncDispose]() };
  } catch (error) {
    await shards[Symbol.asyncDispose]();
    throw error;
  }
}

type Range = Omit<Handover, "lines">;

const ALL: Range = { fence: 100, after: null, upto: null };

/** Sends a take of server-0 that brings `keys`. */
async function send(
  target: Shard,
  { layout, lines }: Pick<Move, "layout" | "lines">,
  keys: string,
  range: Range,
  head: Partial<TakeHead> = {},
): Promise<Reply> {
  const content = [...keys].map((key) => {
    const line = lines.get(key);
    assert(line !== undefined, `${key} is not of the handover`);
    return line;
  });
  const body = takeBody(layout, range, { source: "server-0.server", attempt: 1, ...head }, content);
  return await target.ask("POST", "/v1/handover/take", { body });
}

async function holds(shard: Shard): Promise<string> {
  return (await shard.ask("GET", "/v1/keys")).json<{ keys: string[] }>().keys.join("");
}

function assertRefused(reply: Reply, reason: string): void {
  assertEquals(reply.status, 409, reply.text);
  const body = reply.json<Record<string, unknown>>();
  assertEquals(body.reason, reason, reply.text);
  assert("layout" in body);
}

Deno.test("a take makes its range equal, with deletes, and touches nothing else", async () => {
  await using move = await begun();
  const { shards, layout, lines } = move;
  const target = shards.get(1);
  const own = await holds(target);
  assertEquals(own, "aceg");
  const to1 = [...lines.keys()].filter((key) => "djpv".includes(key)).join("");
  assertEquals(to1, "djpv", "These go from server-0 to server-1");
  assertEquals((await send(target, move, "djpv", ALL)).status, 204);
  assertEquals(await holds(target), "acdegjpv");
  const moved = headerOf(layout, true);
  const head = await target.key("HEAD", "d", moved);
  assertEquals(head.headers.get("etag"), lines.get("d")?.etag);

  // A narrower range, in which one of two is left.
  const narrow: Range = { fence: 101, after: "d", upto: "p" };
  assertEquals((await send(target, move, "p", narrow)).status, 204);
  assertEquals(await holds(target), "acdegpv", "j is gone; d before and v behind the range stay");
  assertEquals((await send(target, move, "", { ...ALL, fence: 102 })).status, 204);
  assertEquals(await holds(target), own, "Its own keys and those of other sources stay");
  for (const key of own) assertEquals((await target.key("GET", key, moved)).text, `of ${key}`);
  assertEquals((await target.key("GET", "d", moved)).status, 404);

  // Deleted keys stay deleted, and what was taken stays, over SIGKILL.
  assertEquals((await send(target, move, "j", { ...ALL, fence: 103 })).status, 204);
  await target.restart();
  assertEquals(await holds(target), "acegj");
  assertEquals((await target.key("GET", "j", moved)).text, "of j");
});

Deno.test("a write at the target goes with a later take of the same range", async () => {
  await using move = await begun();
  const { shards, layout } = move;
  const target = shards.get(2);
  const moved = headerOf(layout, true);
  assertEquals((await send(target, move, "bh", ALL)).status, 204);
  assertEquals((await target.key("PUT", "b", moved, { body: "newer" })).status, 204);
  assertEquals((await send(target, move, "bh", ALL, { attempt: 2 })).status, 204);
  assertEquals((await target.key("GET", "b", moved)).text, "of b", "Equal means equal");
});

Deno.test("old, repeated and misplaced takes are refused, also after SIGKILL", async () => {
  await using move = await begun();
  const { shards, layout } = move;
  const target = shards.get(2);
  const at = (fence: number): Range => ({ ...ALL, fence });
  assertEquals((await send(target, move, "b", at(10), { attempt: 2 })).status, 204);
  for (const restarted of [false, true]) {
    if (restarted) await target.restart();
    assertRefused(await send(target, move, "", at(10), { attempt: 2 }), "repeated");
    assertRefused(await send(target, move, "", at(10), { attempt: 1 }), "old");
    assertRefused(await send(target, move, "", at(9), { attempt: 7 }), "old");
    assertEquals(await holds(target), "b", "What is refused changes nothing");
  }
  // Each source has a memory of its own.
  const other = await send(target, move, "", at(1), { source: "server-1.server" });
  assertEquals(other.status, 204, other.text);
  assertEquals(await holds(target), "b", "A take of one source leaves the keys of another");
  assertEquals((await send(target, move, "bh", at(10), { attempt: 3 })).status, 204);
  assertEquals((await send(target, move, "b", at(11))).status, 204);
  assertRefused(await send(target, move, "", at(10), { attempt: 9 }), "old");
  assertEquals(await holds(target), "b");

  for (
    const other of [
      { ...layout, epoch: 3 },
      { ...layout, epoch: 1, since: 1 },
      { ...layout, cluster: crypto.randomUUID() },
    ]
  ) {
    const reply = await send(target, { ...move, layout: other }, "", at(50));
    assertRefused(reply, "behind");
  }
  const self = await send(shards.get(1), move, "", at(50), { source: "server-1.server" });
  assertRefused(self, "behind");
  const stranger = await send(target, move, "", at(50), { source: "server-9.server" });
  assert(stranger.status === 400 || stranger.status === 409, stranger.text);
  assertEquals(await holds(target), "b");
});

Deno.test("a target without a layout, or in a steady one, refuses a take", async () => {
  await using move = await begun();
  const { shards, layout } = move;
  assertEquals((await send(shards.get(2), move, "b", ALL)).status, 204);
  const steady = shards.steady(3, 3);
  await shards.get(2).take(steady);
  assertRefused(await send(shards.get(2), move, "", { ...ALL, fence: 200 }), "behind");
  const later = { ...layout, epoch: 3, since: 3 };
  const reply = await send(shards.get(2), { ...move, layout: later }, "", { ...ALL, fence: 200 });
  assertRefused(reply, "behind");
  assertEquals((await shards.get(2).key("GET", "b")).text, "of b");

  await using bare = await Shards.start(1);
  const refused = await send(bare.get(0), move, "b", ALL);
  assertEquals(refused.status, 409, refused.text);
  assertEquals((await bare.get(0).state()).keys, 0);
});

Deno.test("keys that are not from this source to this target are never touched", async () => {
  await using move = await begun();
  const { shards, layout } = move;
  const moved = headerOf(layout, true);
  const cases: [index: number, source: string, key: string, range: Range][] = [
    [2, "server-0.server", "d", ALL], // goes to server-1
    [1, "server-0.server", "a", ALL], // server-1's own, by both lists
    [1, "server-0.server", "f", ALL], // stays on server-0
    [2, "server-0.server", "e", ALL], // of server-1
    [0, "server-1.server", "b", ALL], // of server-0, to server-2
    [2, "server-0.server", "b", { ...ALL, after: "b" }], // before the range
    [2, "server-0.server", "h", { ...ALL, upto: "g" }], // behind it
  ];
  const [line] = move.lines.values();
  assert(line !== undefined);
  let fence = 100;
  for (const [index, source, key, range] of cases) {
    const target = shards.get(index);
    const before = await holds(target);
    const head = { source, attempt: 1 };
    const body = takeBody(layout, { ...range, fence: ++fence }, head, [{ ...line, key }]);
    const reply = await target.ask("POST", "/v1/handover/take", { body });
    assert(reply.status === 400 || reply.status === 204, `${key}: ${reply.text}`);
    assertEquals(await holds(target), before, `${key} on ${target.name}`);
  }
  assertEquals((await shards.get(1).key("GET", "a", moved)).text, "of a");
});

Deno.test("a take whose bytes are not those of its etag stores nothing", async () => {
  await using move = await begun();
  const { shards, layout, lines } = move;
  const target = shards.get(2);
  const [b, h] = [lines.get("b"), lines.get("h")];
  assert(b !== undefined && h !== undefined);
  const head = { source: "server-0.server", attempt: 1 };
  for (const wrong of [{ ...b, value: "other" }, { ...b, etag: h.etag }]) {
    const body = takeBody(layout, ALL, head, [h, wrong]);
    const reply = await target.ask("POST", "/v1/handover/take", { body });
    assert(reply.status >= 400 && reply.status < 500, `${reply.status} ${reply.text}`);
    assertEquals(await holds(target), "", "All or nothing");
  }
  assertEquals((await send(target, move, "bh", ALL)).status, 204, "It was not taken before");
});

Deno.test("a large value comes as raw bytes, whole or not at all", async () => {
  await using move = await begun();
  const { shards, layout } = move;
  const target = shards.get(2);
  const bytes = crypto.getRandomValues(new Uint8Array(65_000));
  const value = new Uint8Array(200_000);
  for (const at of [0, 65_000, 130_000]) value.set(bytes, at);
  const large = { key: "b", type: "image/png", size: value.length };
  const range: Range = { fence: 5, after: null, upto: "b" };
  const head = (attempt: number) => ({ source: "server-0.server", attempt, large });
  for (const [index, size] of [100_000, 0].entries()) {
    const body = takeBody(layout, range, head(index + 1), value.slice(0, size));
    const reply = await target.ask("POST", "/v1/handover/take", { body });
    assertEquals(reply.status, 400, reply.text);
  }
  const longer = takeBody(layout, range, head(3), new Uint8Array(200_001));
  assertEquals((await target.ask("POST", "/v1/handover/take", { body: longer })).status, 400);
  assertEquals(await holds(target), "");
  const whole = takeBody(layout, range, head(4), value);
  assertEquals((await target.ask("POST", "/v1/handover/take", { body: whole })).status, 204);
  await target.restart();
  const got = await target.key("GET", "b", headerOf(layout, true));
  assertEquals(got.headers.get("content-type"), "image/png");
  assert(got.bytes.length === value.length && got.bytes.every((byte, i) => byte === value[i]));
  const gone = await send(target, move, "", { ...range, fence: 6 });
  assertEquals(gone.status, 204, gone.text);
  assertEquals(await holds(target), "", "A later take deletes it");
});

Deno.test("a large value that goes to another target still makes the range equal", async () => {
  await using move = await begun();
  const { shards, layout } = move;
  const target = shards.get(1);
  assertEquals((await send(target, move, "dj", ALL)).status, 204);
  const value = new Uint8Array(200_000);
  const large = { key: "b", type: "image/png", size: value.length };
  const head = { source: "server-0.server", attempt: 1, large };
  const body = takeBody(layout, { fence: 101, after: null, upto: "d" }, head, value);
  assertEquals((await target.ask("POST", "/v1/handover/take", { body })).status, 204);
  assertEquals(await holds(target), "acegj", "The source has no d in its range any more");
  assertRefused(await send(target, move, "d", ALL), "old");
});
