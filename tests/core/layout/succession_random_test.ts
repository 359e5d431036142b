/** Which layout a server takes: as the model has it that the protocol was found with, and along a line of layouts. */
import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import {
  END_MARK,
  isMoving,
  type Layout,
  membersOf,
  nextOf,
  NO_MARK,
  sameLayout,
  sameMove,
} from "../../../core/layout/layout.ts";
import { lists, moving, OTHER_CLUSTER, placements, steady, storeId } from "./layouts.ts";
import { putLayout } from "./model.ts";
import { held, offer, wordOf } from "./offers.ts";

const ALL = ["s0", "s1", "s2", "s3"];
const THREE = ["s0", "s1", "s2"];
const TWO = ["s0", "s1"];

const short = lists.map((names) => names.filter((name) => ALL.includes(name)));
const disks = fc.integer({ min: 0, max: 9 }).map((n) => n === 0 ? 1 : 0);

/** A layout near epoch 10, of few servers, so that two of them often fit. */
const nearby: fc.Arbitrary<Layout> = fc.record({
  epoch: fc.integer({ min: 8, max: 12 }),
  back: fc.nat(2),
  servers: fc.oneof(fc.constantFrom(TWO, THREE), short),
  next: fc.option(fc.oneof(fc.constantFrom(TWO, THREE), short), { nil: undefined }),
  placement: placements,
  nextPlacement: placements,
  lost: fc.oneof(fc.constant([]), fc.constant(["s1"]), fc.constant(["s0", "s1"])),
  disks: fc.tuple(disks, disks, disks, disks),
  cluster: fc.integer({ min: 0, max: 19 }),
}).map(({ epoch, back, servers, next, placement, nextPlacement, lost, disks, cluster }) => {
  const stores = Object.fromEntries(ALL.map((name, i) => [name, storeId(name, disks[i])]));
  const more = { stores, placement, ...(cluster === 0 && { cluster: OTHER_CLUSTER }) };
  if (next === undefined) return steady(epoch, servers, more);
  const gone = lost.filter((name) => servers.includes(name));
  return moving(epoch, servers, next, { ...more, nextPlacement, lost: gone, since: epoch - back });
});

/** A layout that often is a successor of `had`: its own servers or those of its move. */
function successors(had: Layout): fc.Arbitrary<Layout> {
  const after = nextOf(had);
  const later = nearby.map((n) => ({ ...n, epoch: had.epoch + 1, since: had.epoch + 1 }));
  const from = ({ servers, placement }: { servers: readonly string[]; placement: string }) => {
    return later.map((n) => {
      const next = n.next === undefined ? {} : { next: n.next, nextPlacement: n.nextPlacement };
      const { cluster, epoch, stores } = n;
      const steadyOne = steady(epoch, servers, { cluster, stores, placement });
      return n.next === undefined
        ? steadyOne
        : moving(epoch, servers, n.next, { cluster, stores, placement, ...next });
    });
  };
  const again = nearby.map((n) => ({ ...had, epoch: had.epoch + 1, stores: n.stores }));
  const loses = again.map((n) => isMoving(n) ? { ...n, lost: ["s0", "s1"] } : n);
  return fc.oneof(nearby, from(had), from(after), again, loses, fc.constant(had));
}

const pairs = fc.option(nearby, { nil: undefined, freq: 10 }).chain((had) =>
  fc.record({
    had: fc.constant(had),
    given: had === undefined ? nearby : successors(had),
    self: fc.constantFrom(...ALL),
    disk: disks,
    told: disks,
    hasKeys: fc.boolean(),
    mark: fc.constantFrom(NO_MARK, END_MARK, { key: "k", end: false }),
  })
);

Deno.test("a server takes what the model's server takes, and stops when that stops", () => {
  const words = new Map<string, number>();
  fc.assert(
    fc.property(pairs, ({ had, given, self, disk, told, hasKeys, mark }) => {
      const one = held(self, had, { store: storeId(self, disk), hasKeys, mark });
      const put = offer(self, given, { store: storeId(self, told) });
      // The model has two moves of one beginning only when they are one, and no keys on a disk that no layout names.
      const isMade = had !== undefined && isMoving(given) && !sameMove(had, given) &&
        given.since <= had.epoch;
      const isKept = had !== undefined && hasKeys && had.stores[self] !== storeId(self, disk);
      // The table lets a server that owns nothing take any newer layout; the model has one exception.
      const isFound = had?.lost?.some((name) => given.lost?.includes(name) === false);
      const isOutside = had !== undefined && !membersOf(had).includes(self);
      if (isMade || isKept || (isFound && isOutside)) return;
      const word = wordOf(one, put);
      words.set(word, (words.get(word) ?? 0) + 1);
      const model = putLayout(one, put);
      const isOk = ["taken", "continued", "same"].includes(word);
      assertEquals({ isOk, isStopped: word === "stopped", isBarred: word === "barred" }, model);
    }),
    { numRuns: 20_000 },
  );
  for (const word of ["taken", "continued", "same", "refused", "stopped", "barred"]) {
    assert((words.get(word) ?? 0) >= 20, `${word} was seen ${words.get(word)} times`);
  }
});

/** A line of layouts as a cluster has it: steady, moving, some servers lost, steady, and so on. */
const lines: fc.Arbitrary<Layout[]> = fc.array(
  fc.record({ next: short, nextPlacement: placements, isLost: fc.boolean(), touches: fc.nat(1) }),
  { minLength: 1, maxLength: 5 },
).map((moves) => {
  const line = [steady(1, TWO)];
  for (const { next, nextPlacement, isLost, touches } of moves) {
    const had = line.at(-1);
    if (had === undefined) break;
    const { servers, placement } = had;
    const since = had.epoch + 1;
    const move = { since, placement, nextPlacement };
    line.push(moving(since, servers, next, move));
    if (isLost) line.push(moving(since + 1, servers, next, { ...move, lost: ["s0"] }));
    for (let i = 0; i <= touches; i++) {
      line.push(steady((line.at(-1)?.epoch ?? 0) + 1, next, { placement: nextPlacement }));
    }
  }
  return line;
});

Deno.test("a server that hears of each layout in time takes them all, and keeps its mark within a move", () => {
  fc.assert(
    fc.property(lines, fc.constantFrom(...ALL), (line, self) => {
      let layout: Layout | undefined;
      for (const given of line) {
        const one = held(self, layout, { mark: layout?.next ? END_MARK : NO_MARK, hasKeys: false });
        const isLater = layout !== undefined && sameMove(layout, given);
        assertEquals(wordOf(one, offer(self, given)), isLater ? "continued" : "taken");
        assertEquals(wordOf(held(self, given), offer(self, given)), "same");
        layout = given;
      }
    }),
  );
});

Deno.test("no server goes back, and no replace of old news empties one", () => {
  fc.assert(
    fc.property(lines, fc.nat(), fc.nat(), fc.constantFrom(...ALL), (line, a, b, self) => {
      const [early, late] = [a % line.length, b % line.length].toSorted((x, y) => x - y);
      const [old, had] = [line[early ?? 0], line[late ?? 0]];
      assert(old !== undefined && had !== undefined);
      for (const replace of [false, true]) {
        const word = wordOf(held(self, had), offer(self, old, { replace }));
        assertEquals(word, sameLayout(old, had) ? "same" : "refused");
      }
    }),
  );
});
