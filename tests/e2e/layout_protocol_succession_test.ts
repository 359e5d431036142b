/**
 * Section 3 of the specification of layouts: which layouts a server takes, row by row of its table. The servers
 * know nothing of each other, so one process is enough for each case: it plays the server that the case is about.
 */
import { assert, assertEquals } from "@std/assert";
import { pooledMap } from "@std/async/pool";
import { TempDir } from "./program.ts";
import { Shard } from "./layout_protocol.ts";
import {
  ANCHOR,
  AT_REST,
  type Case,
  moving,
  NAMES,
  NONE,
  STEADY,
  steady,
  UNDER_WAY,
} from "./layout_successions.ts";
import { type LayoutDocument, rangeOf, type Reply } from "./layout_words.ts";

/** Hands all over; the targets need not exist, since a source asks nobody. */
async function drained(shard: Shard): Promise<void> {
  const { layout } = await shard.state();
  assert(layout !== null);
  while (true) {
    const range = rangeOf(await shard.handover(layout));
    if (range === undefined) return;
    assertEquals((await shard.done(layout, range.fence)).status, 204);
  }
}

/** A server that a case has brought to where its offer comes. */
async function prepared(each: Case, dir: string): Promise<Shard> {
  const shard = await Shard.start(NAMES[each.self] ?? "", dir);
  try {
    for (const key of each.keys ?? []) {
      assertEquals((await shard.key("PUT", key, undefined, { body: key })).status, 201);
    }
    for (const make of each.has ?? []) await shard.take(make(shard));
    if (each.drained === true) await drained(shard);
    return shard;
  } catch (error) {
    await shard.kill();
    throw error;
  }
}

function assertRefused(reply: Reply, before: LayoutDocument | null): void {
  assertEquals(reply.status, 409, reply.text);
  const { error, detail, layout } = reply.json<Record<string, unknown>>();
  assertEquals([error, typeof detail], ["conflict", "string"]);
  assertEquals(layout, before, "The current layout comes with it");
}

async function assertStopped(shard: Shard): Promise<void> {
  assert((await shard.state()).stopped, "It has stopped");
  for (const key of ["a", "b", "c"]) {
    assertEquals((await shard.key("GET", key)).status, 503);
    assertEquals((await shard.key("PUT", key, undefined, { body: "x" })).status, 503);
  }
  assertEquals((await shard.ask("GET", "/load/a")).status, 503);
  assertEquals((await shard.ask("GET", "/v1/keys")).status, 503);
  const ready = await shard.ask("GET", "/readyz");
  assertEquals(ready.status, 503);
  assert(ready.text.includes("--replace"), `/readyz says what to do: ${ready.text}`);
}

async function play(each: Case): Promise<void> {
  await using dir = new TempDir();
  await using shard = await prepared(each, dir.path);
  const before = await shard.state();
  const offered = each.offer(shard);
  const reply = await shard.give(offered, each.body);
  if (each.outcome === "takes") {
    assertEquals(reply.status, 204, reply.text);
    const { layout, self, stopped } = await shard.state();
    const { cluster, epoch, servers, next, stores } = offered;
    assert(layout !== null);
    assertEquals(
      [layout.cluster, layout.epoch, layout.servers, layout.next, layout.stores],
      [cluster, epoch, servers, next, stores],
    );
    assertEquals(self, shard.name);
    assert(!stopped);
  } else {
    assertRefused(reply, before.layout);
    if (each.outcome === "stops") {
      await assertStopped(shard);
      await shard.kill();
      await shard.restart();
      await assertStopped(shard);
      assertEquals((await shard.state()).layout, before.layout);
    } else {
      assertEquals(await shard.state(), before, "Nothing is changed");
    }
  }
  await each.after?.(shard);
}

async function playAll(cases: readonly Case[]): Promise<void> {
  const failed: string[] = [];
  const played = pooledMap(3, cases, async (each) => {
    await play(each).catch((error) => {
      failed.push(`${each.what} (${each.outcome}): ${error}`);
    });
  });
  for await (const _ of played);
  assertEquals(failed, [], failed.join("\n\n"));
}

Deno.test("a server without a layout takes any but what would cost its keys", async () => {
  await playAll(NONE);
});

Deno.test("in a steady layout a server takes what begins where it stands", async () => {
  await playAll(AT_REST);
});

Deno.test("in a move a server takes its end, or what goes on from it", async () => {
  await playAll(UNDER_WAY);
});

Deno.test("the anchor takes an epoch that is exactly one higher", async () => {
  for (const offer of [moving(5, 2, 3), steady(5, 2), moving(40, 2, 1)]) {
    await using dir = new TempDir();
    await using shard = await prepared(
      { ...ANCHOR, what: "", offer, outcome: "refuses" },
      dir.path,
    );
    const { layout } = await shard.state();
    assertRefused(await shard.give(offer(shard)), layout);
    assertEquals((await shard.state()).layout, layout);
  }
});

Deno.test("of two layouts for one epoch the anchor takes the first", async () => {
  await using dir = new TempDir();
  await using shard = await prepared(
    { ...ANCHOR, what: "", offer: steady(4, 2), outcome: "takes" },
    dir.path,
  );
  const offers = [moving(4, 2, 3), moving(4, 2, 4), moving(4, 2, 1), steady(4, 2)];
  const replies = await Promise.all(offers.map((offer) => shard.give(offer(shard))));
  assertEquals(replies.map(({ status }) => status).sort(), [204, 409, 409, 409]);
  const won = offers[replies.findIndex(({ status }) => status === 204)];
  assertEquals((await shard.state()).layout?.next, won?.(shard).next);
  assertEquals((await shard.ask("GET", "/readyz")).status, 200, "Losing a race stops nothing");
});

Deno.test("a server that was left behind serves again with a layout that it can take", async () => {
  await using dir = new TempDir();
  await using shard = await prepared({
    ...STEADY,
    what: "",
    offer: steady(4, 3),
    outcome: "stops",
    keys: ["a"],
  }, dir.path);
  assertEquals((await shard.give(steady(4, 3)(shard))).status, 409);
  await shard.restart();
  await assertStopped(shard);
  await shard.take(moving(6, 2, 3)(shard));
  assertEquals((await shard.key("GET", "a")).text, "a");
  assert(!(await shard.state()).stopped);
});

Deno.test("a server that was left behind is emptied and joins if it is told to", async () => {
  await using dir = new TempDir();
  await using shard = await prepared({
    ...STEADY,
    what: "",
    offer: steady(4, 3),
    outcome: "stops",
    keys: ["a"],
  }, dir.path);
  assertEquals((await shard.give(steady(4, 1)(shard))).status, 409);
  const joining = moving(5, 1, 2)(shard);
  assertEquals((await shard.give(joining)).status, 409, "Not without `replace`");
  assertEquals((await shard.state()).keys, 1);
  await shard.take(joining, { replace: true });
  const { keys, stopped, layout } = await shard.state();
  assertEquals([keys, layout?.epoch], [0, 5]);
  assert(!stopped);
  await shard.kill();
  await shard.restart();
  assertEquals((await shard.state()).keys, 0, "It stays empty");
});
