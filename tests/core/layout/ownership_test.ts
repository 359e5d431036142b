/** Who answers for a key: the table of the protocol, and that it names one server for each key. */
import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import { type Claim } from "../../../core/layout/claim.ts";
import {
  END_MARK,
  isMoving,
  type Layout,
  type Mark,
  membersOf,
  nextOf,
  NO_MARK,
  ownerIn,
} from "../../../core/layout/layout.ts";
import {
  type FencedRange,
  isInRange,
  isListed,
  Place,
  type Standing,
  type Verdict,
  verdictOf,
} from "../../../core/layout/ownership.ts";
import {
  CLUSTER,
  fences,
  keys,
  layouts,
  lists,
  marks,
  moving,
  movingLayouts,
  OTHER_CLUSTER,
  placements,
  steady,
} from "./layouts.ts";

/** Each server of the tests' clusters. */
const ALL = ["s0", "s1", "s2", "s3", "s4", "s5"];

const NONE: Standing = {
  place: undefined,
  isMember: false,
  isOut: false,
  mark: NO_MARK,
  fence: undefined,
};

function standing(layout: Layout, self: string, more: Partial<Standing> = {}): Standing {
  return { ...NONE, place: new Place(layout, self), ...more };
}

const claims: fc.Arbitrary<Claim | undefined> = fc.option(
  fc.record({
    cluster: fc.constantFrom(CLUSTER, CLUSTER, CLUSTER, OTHER_CLUSTER),
    epoch: fc.integer({ min: 1, max: 35 }),
    moved: fc.boolean(),
  }),
  { nil: undefined },
);

const encoder = new TextEncoder();

/** Whether the UTF-8 of `a` is greater than that of `b`. */
function isGreater(a: string, b: string): boolean {
  const [x, y] = [encoder.encode(a), encoder.encode(b)];
  for (let i = 0; i < x.length && i < y.length; i++) {
    if (x[i] !== y[i]) return (x[i] ?? 0) > (y[i] ?? 0);
  }
  return x.length > y.length;
}

/** The table, word for word. */
function tableOf(
  { place, isMember, isOut, mark, fence }: Standing,
  key: string,
  isWrite: boolean,
  claim: Claim | undefined,
): Verdict {
  if (isOut) return "unavailable";
  if (place === undefined) {
    if (isMember) return "unavailable";
    return claim === undefined ? "serve" : "misdirected";
  }
  const { layout, self } = place;
  if (claim && (claim.cluster !== layout.cluster || claim.epoch > layout.epoch)) {
    return "misdirected";
  }
  const source = ownerIn(layout, key);
  const target = ownerIn(nextOf(layout), key);
  if (!isMoving(layout)) return source === self ? "serve" : "misdirected";
  if (source === self && target === self) return "serve";
  const isHandedOver = layout.lost.includes(source) || mark.end ||
    (mark.key !== undefined && !isGreater(key, mark.key));
  if (source === self && !isHandedOver) {
    const isFenced = fence !== undefined &&
      (fence.after === undefined || isGreater(key, fence.after)) &&
      (fence.upto === undefined || !isGreater(key, fence.upto));
    return isWrite && isFenced ? "wait" : "serve";
  }
  if (source === self) return "misdirected";
  const isSent = claim?.moved === true && claim.epoch === layout.epoch;
  return target === self && isSent ? "serve" : "misdirected";
}

const standings: fc.Arbitrary<Standing> = fc.record({
  place: fc.option(
    fc.tuple(layouts, fc.constantFrom(...ALL)).map(([layout, self]) => new Place(layout, self)),
    { nil: undefined, freq: 20 },
  ),
  isMember: fc.boolean(),
  isOut: fc.integer({ min: 0, max: 9 }).map((n) => n === 0),
  mark: marks,
  fence: fences,
});

const someKeys = fc.array(keys, { minLength: 12, maxLength: 12 });

Deno.test("verdictOf() is the table of the protocol", () => {
  const seen = new Map<Verdict, number>();
  fc.assert(
    fc.property(standings, someKeys, claims, (one, keys, claim) => {
      for (const key of keys) {
        for (const isWrite of [false, true]) {
          const verdict = verdictOf(one, key, isWrite, claim);
          assertEquals(verdict, tableOf(one, key, isWrite, claim));
          seen.set(verdict, (seen.get(verdict) ?? 0) + 1);
        }
      }
    }),
    { numRuns: 3000 },
  );
  for (const verdict of ["serve", "wait", "misdirected", "unavailable"] as const) {
    assert((seen.get(verdict) ?? 0) > 0, `${verdict} was seen ${seen.get(verdict)} times`);
  }
});

/** The servers of a cluster, each with its own layout, mark and fence. */
type Cluster = ReadonlyMap<string, Standing>;

/**
 * All servers that serve a request for `key` of some client that keeps the rules: by any layout, or by none, and with
 * `moved` only if the key's source answered 421 by the same layout.
 */
function serversOf(cluster: Cluster, known: readonly Layout[], key: string, isWrite: boolean) {
  const serving = new Set<string>();
  const ask = (self: string, claim: Claim | undefined) => {
    const one = cluster.get(self) ?? NONE;
    const verdict = verdictOf(one, key, isWrite, claim);
    if (verdict === "serve" || verdict === "wait") serving.add(self);
    return verdict;
  };
  for (const self of cluster.keys()) ask(self, undefined);
  for (const layout of known) {
    const claim = { cluster: CLUSTER, epoch: layout.epoch, moved: false };
    for (const self of cluster.keys()) ask(self, claim);
    if (!isMoving(layout)) continue;
    const source = ownerIn(layout, key);
    const isLost = layout.lost.includes(source);
    const sent = ask(source, claim) === "misdirected" &&
      cluster.get(source)?.place?.layout.epoch === layout.epoch;
    if (isLost || sent) ask(ownerIn(nextOf(layout), key), { ...claim, moved: true });
  }
  return [...serving];
}

const perServer = <T>(values: fc.Arbitrary<T>) =>
  fc.array(values, { minLength: ALL.length, maxLength: ALL.length });

Deno.test("one server serves a key, by any layout, marks and fences", () => {
  const scenes = fc.tuple(layouts, perServer(marks), perServer(fences));
  fc.assert(
    fc.property(scenes, keys, fc.boolean(), ([layout, marks, fences], key, isWrite) => {
      const cluster = new Map(ALL.map((self, index) => {
        const more = { mark: marks[index] ?? NO_MARK, fence: fences[index] };
        return [self, standing(layout, self, more)];
      }));
      assertEquals(serversOf(cluster, [layout], key, isWrite).length, 1);
    }),
    { numRuns: 5000 },
  );
});

/**
 * A cluster in the middle of a move. `before` and `after` the hand-over each server has one of two layouts; during it
 * all have the same, and each source its own mark.
 */
interface Passage {
  readonly phase: "before" | "during" | "after";
  readonly lists: readonly [string[], string[]];
  readonly placements: readonly ["modulo" | "jump", "modulo" | "jump"];
  readonly isNewer: readonly boolean[];
  readonly marks: readonly Mark[];
  readonly fences: readonly (FencedRange | undefined)[];
}

const passages: fc.Arbitrary<Passage> = fc.record({
  phase: fc.constantFrom("before", "during", "after"),
  lists: fc.tuple(lists, lists),
  placements: fc.tuple(placements, placements),
  isNewer: perServer(fc.boolean()),
  marks: perServer(marks),
  fences: perServer(fences),
});

/** The servers of a passage, and the three layouts of its move. */
function clusterOf({ phase, lists, placements, isNewer, marks, fences }: Passage) {
  const [placement, nextPlacement] = placements;
  const [servers, next] = lists;
  const first = steady(7, servers, { placement });
  const move = moving(8, servers, next, { placement, nextPlacement });
  const last = steady(9, next, { placement: nextPlacement });
  const cluster = new Map<string, Standing>();
  for (const [index, self] of ALL.entries()) {
    const newer = isNewer[index] ?? false;
    const mark = marks[index] ?? NO_MARK;
    if (phase === "during") {
      // A range is carried only when all servers of the next list have the move; another source may be late.
      const isLate = newer && !next.includes(self);
      const more = { mark, fence: fences[index] };
      cluster.set(self, isLate ? standing(first, self) : standing(move, self, more));
    } else if (phase === "before") {
      const isNew = !servers.includes(self) && !newer;
      cluster.set(self, isNew ? { ...NONE, isMember: true } : standing(newer ? move : first, self));
    } else {
      cluster.set(self, newer ? standing(last, self) : standing(move, self, { mark: END_MARK }));
    }
  }
  return { cluster, known: [first, move, last] };
}

Deno.test("never two servers serve a key, while servers learn of a move one by one", () => {
  let served = 0;
  fc.assert(
    fc.property(passages, keys, fc.boolean(), (passage, key, isWrite) => {
      const { cluster, known } = clusterOf(passage);
      const serving = serversOf(cluster, known, key, isWrite);
      assert(serving.length <= 1, serving.join());
      served += serving.length;
    }),
    { numRuns: 5000 },
  );
  assert(served > 2500, `${served}`);
});

Deno.test("a range begins behind one key and ends with another, in the order of UTF-8", () => {
  fc.assert(
    fc.property(fences, keys, (range, key) => {
      for (const one of [range, { after: key, upto: undefined }, { after: undefined, upto: key }]) {
        const expected = one !== undefined &&
          (one.after === undefined || isGreater(key, one.after)) &&
          (one.upto === undefined || !isGreater(key, one.upto));
        assertEquals(isInRange(one, key), expected);
      }
    }),
    { numRuns: 1000 },
  );
});

Deno.test("a write waits only in the fence, and only for a key that leaves", () => {
  fc.assert(
    fc.property(standings, someKeys, claims, (one, keys, claim) => {
      for (const key of keys) {
        const read = verdictOf(one, key, false, claim);
        const write = verdictOf(one, key, true, claim);
        assert(read !== "wait");
        const isHeld = read === "serve" && one.place?.isMoving === true && one.place.leaves(key) &&
          isInRange(one.fence, key);
        assertEquals(write, isHeld ? "wait" : read);
      }
    }),
    { numRuns: 1000 },
  );
});

Deno.test("a client of another cluster, or ahead of the server, is misdirected", () => {
  fc.assert(fc.property(standings, keys, fc.boolean(), (one, key, isWrite) => {
    const layout = one.place?.layout;
    if (one.isOut || layout === undefined) return;
    for (const moved of [false, true]) {
      const ahead = { cluster: CLUSTER, epoch: layout.epoch + 1, moved };
      const stranger = { cluster: OTHER_CLUSTER, epoch: layout.epoch, moved };
      assertEquals(verdictOf(one, key, isWrite, ahead), "misdirected");
      assertEquals(verdictOf(one, key, isWrite, stranger), "misdirected");
    }
  }));
});

Deno.test("a client that is behind is served by the table, but is never believed that a key moved", () => {
  fc.assert(fc.property(standings, keys, fc.boolean(), (one, key, isWrite) => {
    const layout = one.place?.layout;
    if (layout === undefined || layout.epoch === 1) return;
    const without = verdictOf(one, key, isWrite, undefined);
    for (const moved of [false, true]) {
      const behind = { cluster: CLUSTER, epoch: layout.epoch - 1, moved };
      assertEquals(verdictOf(one, key, isWrite, behind), without);
    }
  }));
});

Deno.test("a listing holds what the table serves, and what the server is the target of", () => {
  fc.assert(
    fc.property(standings, keys, (one, key) => {
      if (one.isOut || one.place === undefined) return;
      const { layout, self } = one.place;
      const isTarget = ownerIn(nextOf(layout), key) === self;
      assertEquals(isListed(one, key), isTarget || tableOf(one, key, false, undefined) === "serve");
    }),
    { numRuns: 3000 },
  );
  assert(isListed(NONE, "a"));
});

Deno.test("a source leaves a key if another server is its target", () => {
  fc.assert(fc.property(movingLayouts, fc.constantFrom(...ALL), keys, (layout, self, key) => {
    const place = new Place(layout, self);
    const [source, target] = [ownerIn(layout, key), ownerIn(nextOf(layout), key)];
    assertEquals(place.isSourceOf(key), source === self);
    assertEquals(place.isTargetOf(key), target === self);
    assertEquals(place.leaves(key), source === self && target !== self);
    assertEquals([place.isSource, place.isNext], [
      layout.servers.includes(self),
      layout.next.includes(self),
    ]);
    assert(membersOf(layout).includes(source) && membersOf(layout).includes(target));
  }));
});
