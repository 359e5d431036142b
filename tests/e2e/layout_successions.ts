/**
 * The rows of the table in section 3 of the specification of layouts as cases: what a server has, what it is offered,
 * and whether it takes that, refuses it, or stops because the cluster went on without it.
 */
import { assert, assertEquals } from "@std/assert";
import { Shard } from "./layout_protocol.ts";
import { type LayoutDocument, rangeOf } from "./layout_words.ts";

const CLUSTER = crypto.randomUUID();
/** The servers that a case speaks of; the first is the anchor. */
export const NAMES = [0, 1, 2, 3].map((ordinal) => `server-${ordinal}.server`);
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

/** The layout of the first `count` servers. */
export function steady(epoch: number, count: number, more: More = {}): Make {
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

/** The layout of a move from the first `from` servers to the first `to`. */
export function moving(epoch: number, from: number, to: number, more: More = {}): Make {
  return (self) => ({
    ...steady(epoch, from)(self),
    next: NAMES.slice(0, to),
    nextPlacement: "modulo",
    lost: [],
    ...more,
    stores: stores(self, Math.max(from, to), more.stores),
  });
}

type Outcome = "takes" | "refuses" | "stops";

/** One offer to one server. */
export interface Case {
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

/** The row "no layout". */
export const NONE: readonly Case[] = [
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
    outcome: "takes",
    after: async (shard) => {
      assertEquals((await shard.key("GET", "a")).status, 503, "Its disk is new: it serves nothing");
      assertEquals((await shard.key("PUT", "a", undefined, { body: "a" })).status, 503);
      assertEquals((await shard.ask("GET", "/readyz")).status, 503);
      await shard.take(steady(2, 2)(shard));
      assertEquals((await shard.key("GET", "a")).status, 404, "Now it is named");
    },
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
/** A server of a steady layout that is not the anchor. */
export const STEADY = { self: 1, has: [steady(3, 2)] } as const;
/** The anchor of a steady layout. */
export const ANCHOR = { self: 0, has: [steady(3, 2)] } as const;

/** The rows of servers that own nothing, or are in a steady layout. */
export const AT_REST: readonly Case[] = [
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

/** The rows of servers in a move. */
export const UNDER_WAY: readonly Case[] = [
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
