/**
 * Section 3 of the specification of layouts: which layouts a server takes, row by row of its table. The servers
 * know nothing of each other, so one process is enough for each case: it plays the server that the case is about.
 */
import { assert, assertEquals } from "@std/assert";
import { pooledMap } from "@std/async/pool";
import { TempDir } from "./program.ts";
import { type LayoutDocument, rangeOf, type Reply, Shard } from "./layout_protocol.ts";

const CLUSTER = crypto.randomUUID();
const NAMES = [0, 1, 2, 3].map((ordinal) => `server-${ordinal}.server`);
const STORES = NAMES.map(() => crypto.randomUUID());

/** What a case says of a layout, over what it has by itself. */
type More = Partial<LayoutDocument>;

type Make = (self: Shard) => LayoutDocument;

/** The stores of the first `count` servers; the process under test has its own. */
function stores(self: Shard, count: number, others: More["stores"] = {}): Record<string, string> {
  const named = NAMES.slice(0, count).map((name, index): [string, string] => [
    name,
    name === self.name ? self.store : STORES[index] ?? "",
  ]);
  return { ...Object.fromEntries(named), ...others };
}

function steady(epoch: number, count: number, more: More = {}): Make {
  return (self) => ({
    cluster: CLUSTER,
    epoch,
    since: epoch,
    placement: "modulo",
    servers: NAMES.slice(0, count),
    ...more,
    stores: stores(self, count, more.stores),
  });
}

function moving(epoch: number, from: number, to: number, more: More = {}): Make {
  return (self) => ({
    ...steady(epoch, from)(self),
    next: NAMES.slice(0, to),
    nextPlacement: "modulo",
    lost: [],
    ...more,
    stores: stores(self, Math.max(from, to), more.stores),
  });
}

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

type Outcome = "takes" | "refuses" | "stops";

interface Case {
  readonly what: string;
  /** The place of the server in the lists; 0 is the anchor. */
  readonly self: number;
  readonly has?: readonly Make[];
  readonly keys?: readonly string[];
  readonly drained?: true;
  readonly offer: Make;
  readonly body?: Record<string, unknown>;
  readonly outcome: Outcome;
  readonly after?: (shard: Shard) => Promise<void>;
}

const OTHER = crypto.randomUUID();
const OTHER_STORE = { "server-1.server": crypto.randomUUID() };
const OTHER_ANCHOR = { "server-0.server": crypto.randomUUID() };

const NONE: readonly Case[] = [
  { what: "no layout: a steady one", self: 1, offer: steady(1, 2), outcome: "takes" },
  { what: "no layout: any epoch", self: 0, offer: steady(7, 2), outcome: "takes" },
  { what: "no layout: one as a source", self: 1, offer: moving(4, 2, 3), outcome: "takes" },
  { what: "no layout: one as a target alone", self: 2, offer: moving(4, 2, 3), outcome: "takes" },
  {
    what: "no layout: one that does not name it",
    self: 3,
    offer: moving(4, 2, 3),
    outcome: "takes",
  },
  {
    what: "no layout: the store of the body is not its own",
    self: 1,
    offer: steady(1, 2),
    body: { store: OTHER },
    outcome: "refuses",
  },
  {
    what: "no layout: the layout names another store for it",
    self: 1,
    offer: steady(1, 2, { stores: OTHER_STORE }),
    outcome: "refuses",
  },
  {
    what: "no layout, keys: steady",
    self: 1,
    keys: ["a", "b"],
    offer: steady(1, 2),
    outcome: "takes",
    after: async (shard) => assertEquals((await shard.state()).keys, 2),
  },
  {
    what: "no layout, keys: a source",
    self: 1,
    keys: ["a"],
    offer: moving(2, 2, 3),
    outcome: "takes",
  },
  {
    what: "no layout, keys: a target alone",
    self: 2,
    keys: ["b", "a"],
    offer: moving(2, 2, 3),
    outcome: "refuses",
    after: async (shard) => {
      assertEquals((await shard.state()).keys, 2);
      assertEquals((await shard.key("GET", "b")).text, "b", "It serves as before");
    },
  },
  {
    what: "no layout, keys: a target alone, to replace",
    self: 2,
    keys: ["b", "a"],
    offer: moving(2, 2, 3),
    body: { replace: true },
    outcome: "takes",
    after: async (shard) => assertEquals((await shard.state()).keys, 0),
  },
];

const OUTSIDE = { self: 3, has: [steady(3, 2)] } as const;
const STEADY = { self: 1, has: [steady(3, 2)] } as const;
const ANCHOR = { self: 0, has: [steady(3, 2)] } as const;

const AT_REST: readonly Case[] = [
  { what: "owns nothing: joins", ...OUTSIDE, offer: moving(4, 2, 4), outcome: "takes" },
  { what: "owns nothing: any list", ...OUTSIDE, offer: steady(8, 4), outcome: "takes" },
  { what: "owns nothing: still out", ...OUTSIDE, offer: moving(6, 3, 1), outcome: "takes" },
  { what: "owns nothing: a lower epoch", ...OUTSIDE, offer: steady(2, 4), outcome: "refuses" },
  {
    what: "owns nothing: another of its epoch",
    ...OUTSIDE,
    offer: steady(3, 4),
    outcome: "refuses",
  },
  {
    what: "owns nothing: another cluster",
    ...OUTSIDE,
    offer: steady(9, 4, { cluster: OTHER }),
    outcome: "refuses",
  },
  { what: "steady: the same again", ...STEADY, offer: steady(3, 2), outcome: "takes" },
  { what: "steady: a move", ...STEADY, offer: moving(4, 2, 3), outcome: "takes" },
  {
    what: "steady: a move that it missed the start of",
    ...STEADY,
    offer: moving(9, 2, 1),
    outcome: "takes",
  },
  {
    what: "steady: a move to another placement",
    ...STEADY,
    offer: moving(4, 2, 2, { nextPlacement: "jump" }),
    outcome: "takes",
  },
  { what: "steady: a higher epoch alone", ...STEADY, offer: steady(8, 2), outcome: "takes" },
  {
    what: "steady: another store of another server",
    ...STEADY,
    offer: steady(4, 2, { stores: OTHER_ANCHOR }),
    outcome: "takes",
  },
  {
    what: "steady: another store of its own",
    ...STEADY,
    offer: steady(4, 2, { stores: OTHER_STORE }),
    outcome: "stops",
  },
  { what: "steady: a longer list", ...STEADY, offer: steady(4, 3), outcome: "stops" },
  { what: "steady: a shorter list without it", ...STEADY, offer: steady(5, 1), outcome: "stops" },
  {
    what: "steady: another placement",
    ...STEADY,
    offer: steady(4, 2, { placement: "jump" }),
    outcome: "stops",
  },
  { what: "steady: a move from another list", ...STEADY, offer: moving(4, 3, 2), outcome: "stops" },
  { what: "steady: a lower epoch", ...STEADY, offer: moving(2, 2, 3), outcome: "refuses" },
  { what: "steady: another of its epoch", ...STEADY, offer: moving(3, 2, 3), outcome: "refuses" },
  {
    what: "steady: another cluster",
    ...STEADY,
    offer: moving(4, 2, 3, { cluster: OTHER }),
    outcome: "refuses",
  },
  {
    what: "steady: by another name",
    ...STEADY,
    offer: moving(4, 2, 3),
    body: { self: "server-0.server" },
    outcome: "refuses",
  },
  { what: "anchor: one epoch higher", ...ANCHOR, offer: moving(4, 2, 3), outcome: "takes" },
  { what: "anchor: one epoch higher, steady", ...ANCHOR, offer: steady(4, 2), outcome: "takes" },
];

const SOURCE = { self: 1, has: [moving(3, 2, 3)], keys: ["a", "c", "e"] } as const;
const TARGET = { self: 2, has: [moving(3, 2, 3)] } as const;
const LEAVER = { self: 2, has: [steady(2, 3), moving(3, 3, 2)], keys: ["b", "e"] } as const;
const LOST = { since: 3, lost: ["server-0.server"] };

const UNDER_WAY: readonly Case[] = [
  { what: "source: more is lost", ...SOURCE, offer: moving(4, 2, 3, LOST), outcome: "takes" },
  {
    what: "source: more is lost, with its new store",
    ...SOURCE,
    offer: moving(6, 2, 3, { ...LOST, stores: OTHER_ANCHOR }),
    outcome: "takes",
  },
  {
    what: "source: lost itself",
    ...SOURCE,
    offer: moving(4, 2, 3, { since: 3, lost: ["server-1.server"] }),
    outcome: "takes",
    after: async (shard) => {
      const { end, layout } = await shard.state();
      assertEquals(end, true);
      assert(layout !== null);
      const reply = await shard.handover(layout);
      assert(reply.status === 409 || rangeOf(reply) === undefined, reply.text);
    },
  },
  { what: "source: its move is not complete", ...SOURCE, offer: steady(4, 3), outcome: "stops" },
  { what: "source: the move is taken back", ...SOURCE, offer: steady(4, 2), outcome: "stops" },
  { what: "source: the next move", ...SOURCE, offer: moving(5, 3, 4), outcome: "stops" },
  {
    what: "source: the same lists, begun anew",
    ...SOURCE,
    offer: moving(4, 2, 3),
    outcome: "stops",
  },
  {
    what: "source, drained: steady",
    ...SOURCE,
    drained: true,
    offer: steady(4, 3),
    outcome: "takes",
  },
  {
    what: "source, drained: the next move",
    ...SOURCE,
    drained: true,
    offer: moving(7, 3, 4),
    outcome: "takes",
  },
  {
    what: "source, drained: taken back",
    ...SOURCE,
    drained: true,
    offer: steady(4, 2),
    outcome: "stops",
  },
  { what: "target: steady", ...TARGET, offer: steady(4, 3), outcome: "takes" },
  { what: "target: the next move", ...TARGET, offer: moving(6, 3, 1), outcome: "takes" },
  { what: "target: a source is lost", ...TARGET, offer: moving(4, 2, 3, LOST), outcome: "takes" },
  { what: "target: taken back", ...TARGET, offer: steady(4, 2), outcome: "stops" },
  { what: "leaver: not complete", ...LEAVER, offer: steady(4, 2), outcome: "stops" },
  {
    what: "leaver, drained: steady",
    ...LEAVER,
    drained: true,
    offer: steady(4, 2),
    outcome: "takes",
  },
  {
    what: "leaver, drained: any",
    ...LEAVER,
    drained: true,
    offer: moving(9, 1, 3),
    outcome: "takes",
  },
  {
    what: "stayer, drained: steady",
    self: 1,
    has: [steady(2, 3), moving(3, 3, 2)],
    drained: true,
    offer: steady(4, 2),
    outcome: "takes",
  },
  {
    what: "moving: a lower epoch",
    ...SOURCE,
    drained: true,
    offer: steady(2, 3),
    outcome: "refuses",
  },
];

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
