import { assert, assertEquals, assertMatch, assertThrows } from "@std/assert";
import fc from "fast-check";
import { InvalidLayoutError } from "../../../core/errors.ts";
import {
  formatLayout,
  isHandedOver,
  isMoving,
  isServerName,
  membersOf,
  nextOf,
  parseLayout,
  sameLayout,
  sameMove,
  storeOf,
} from "../../../core/layout/layout.ts";
import {
  CLUSTER,
  keys,
  layouts,
  marks,
  moving,
  movingLayouts,
  steady,
  storeId,
  storesOf,
} from "./layouts.ts";

Deno.test("a layout is read as it is written", () => {
  fc.assert(fc.property(layouts, (layout) => {
    const text = formatLayout(layout);
    assertEquals(formatLayout(parseLayout(JSON.parse(text))), text);
    assert(sameLayout(parseLayout(JSON.parse(text)), layout));
    assert(!text.includes("\n"));
  }));
});

Deno.test("the order of fields, stores and lost servers makes no other layout", () => {
  fc.assert(fc.property(movingLayouts, (layout) => {
    const stores = Object.fromEntries(Object.entries(layout.stores).toReversed());
    const fields = Object.entries({ ...layout, stores, lost: layout.lost.toReversed() });
    assert(sameLayout(parseLayout(Object.fromEntries(fields.toReversed())), layout));
  }));
});

Deno.test("the layout of the protocol's description is read", () => {
  const layout = parseLayout({
    cluster: CLUSTER,
    epoch: 12,
    since: 12,
    placement: "jump",
    servers: ["server-0.server", "127.0.0.1:4000"],
    next: ["server-0.server", "127.0.0.1:4000", "[::1]:8080"],
    stores: named("server-0.server", "127.0.0.1:4000", "[::1]:8080"),
  });
  assert(isMoving(layout));
  assertEquals([layout.nextPlacement, layout.lost], ["jump", []]);
  assertEquals(membersOf(layout), ["server-0.server", "127.0.0.1:4000", "[::1]:8080"]);
});

function named(...names: string[]): Record<string, string> {
  return Object.fromEntries(names.map((name, index) => [name, storeId(`s${index}`)]));
}

Deno.test("`since` of a steady layout says nothing", () => {
  const json = { cluster: CLUSTER, epoch: 12, placement: "jump", servers: ["s0"] };
  const [a, b] = [undefined, 7].map((since) => {
    return parseLayout({ ...json, ...(since && { since }), stores: storesOf(["s0"]) });
  });
  assertEquals(a, b);
  assertEquals(a?.since, 12);
});

Deno.test("a name that objects have by birth is a name like others", () => {
  for (const name of ["constructor", "__proto__", "toString"]) {
    const json = { cluster: CLUSTER, epoch: 1, placement: "jump", servers: [name] };
    assertThrows(() => parseLayout({ ...json, stores: {} }), InvalidLayoutError, "store of");
    const stores = JSON.parse(`{"${name}": "${storeId("s1")}"}`);
    const layout = parseLayout({ ...json, stores });
    assertEquals(storeOf(layout, name), storeId("s1"));
    assertEquals(storeOf(parseLayout(JSON.parse(formatLayout(layout))), name), storeId("s1"));
    assertEquals(storeOf(steady(1, ["s0"]), name), undefined);
  }
});

Deno.test("names are addresses as server lists have them", () => {
  for (
    const name of ["s0", "server-0.server", "a:80", "127.0.0.1:4000", "[::1]:8080", "https://a:1"]
  ) {
    assert(isServerName(name), name);
  }
  for (
    const name of ["", "a b", "a,b", "a/b", "a:", "a:0", "a:x", "a{0..3}", "ftp://a", "é", "a\n"]
      .concat("a".repeat(300))
  ) {
    assert(!isServerName(name), name);
  }
});

Deno.test("the same move is told by cluster, beginning and both lists", () => {
  const move = moving(12, ["s0", "s1"], ["s0"]);
  const more = { since: 12, stores: storesOf(["s0", "s1"], 1), lost: ["s1"] };
  assert(sameMove(move, moving(14, ["s0", "s1"], ["s0"], more)));
  assert(!sameMove(move, moving(14, ["s0", "s1"], ["s0"])));
  assert(!sameMove(move, moving(14, ["s0", "s1"], ["s0", "s2"], { since: 12 })));
  assert(!sameMove(move, moving(14, ["s0", "s1"], ["s0"], { since: 12, nextPlacement: "modulo" })));
  assert(!sameMove(move, steady(14, ["s0", "s1"])));
});

Deno.test("a steady layout stays as it is, a moving one becomes its next list", () => {
  const layout = steady(3, ["s0", "s1"]);
  assertEquals(nextOf(layout).servers, ["s0", "s1"]);
  const move = moving(4, ["s0", "s1"], ["s0"], { nextPlacement: "modulo" });
  assertEquals(nextOf(move), { servers: ["s0"], placement: "modulo" });
});

Deno.test("a mark covers the keys up to its own, in the order of UTF-8", () => {
  const encoder = new TextEncoder();
  const isUpTo = (a: string, b: string) => {
    const [x, y] = [encoder.encode(a), encoder.encode(b)];
    const at = x.findIndex((byte, index) => byte !== y[index]);
    return at < 0 || (x[at] ?? 0) < (y[at] ?? -1);
  };
  fc.assert(fc.property(marks, keys, (mark, key) => {
    const expected = mark.end || (mark.key !== undefined && isUpTo(key, mark.key));
    assertEquals(isHandedOver(mark, key), expected);
  }));
});

const STEADY = {
  cluster: CLUSTER,
  epoch: 12,
  placement: "jump",
  servers: ["s0", "s1"],
  stores: storesOf(["s0", "s1"]),
};
const MOVING = { ...STEADY, since: 12, next: ["s0"] };

for (
  const [json, detail] of [
    [null, "expected an object"],
    ["layout", "expected an object"],
    [[], "expected an object"],
    [{}, '"cluster" is no UUID'],
    [{ ...STEADY, cluster: "0B7D" }, '"cluster" is no UUID'],
    [{ ...STEADY, epoch: 0 }, '"epoch" is no positive whole number'],
    [{ ...STEADY, epoch: 1.5 }, '"epoch" is no positive whole number'],
    [{ ...STEADY, epoch: "12" }, '"epoch" is no positive whole number'],
    [{ ...STEADY, epoch: 2 ** 53 }, '"epoch" is no positive whole number'],
    [{ ...STEADY, since: 13 }, '"since" is no epoch up to "epoch"'],
    [{ ...STEADY, since: null }, '"since" is no epoch up to "epoch"'],
    [{ ...STEADY, placement: "hash" }, '"placement" is none'],
    [{ ...STEADY, placement: "constructor" }, '"placement" is none'],
    [{ ...STEADY, servers: [] }, '"servers" is no list of different names'],
    [{ ...STEADY, servers: "s0" }, '"servers" is no list of different names'],
    [{ ...STEADY, servers: ["s0", "s0"] }, '"servers" is no list of different names'],
    [{ ...STEADY, servers: ["s0", "a\nb"] }, '"servers" is no list of different names'],
    [{ ...STEADY, stores: undefined }, '"stores" is no object'],
    [{ ...STEADY, stores: [] }, '"stores" is no object'],
    [{ ...STEADY, stores: storesOf(["s0"]) }, '"stores" does not name the store of s1'],
    [{ ...STEADY, stores: { "a\nb": "x" } }, "the store of a%0Ab is no UUID"],
    [{ ...STEADY, lost: [] }, '"next" is missing'],
    [{ ...STEADY, nextPlacement: "jump" }, '"next" is missing'],
    [{ ...STEADY, "more\n": 1 }, 'unknown field "more%0A"'],
    [{ ...STEADY, ["x".repeat(1e6)]: 1 }, `unknown field "${"x".repeat(60)}…"`],
    [{ ...MOVING, since: undefined }, '"since" is missing'],
    [{ ...MOVING, since: 13 }, '"since" is no epoch up to "epoch"'],
    [{ ...MOVING, next: null }, '"next" is no list of different names'],
    [{ ...MOVING, next: ["s0", "s0"] }, '"next" is no list of different names'],
    [{ ...MOVING, next: ["s1"] }, "the first server is the anchor and has to stay"],
    [{ ...MOVING, next: ["s0", "s2"] }, '"stores" does not name the store of s2'],
    [{ ...MOVING, nextPlacement: "hash" }, '"nextPlacement" is none'],
    [{ ...MOVING, lost: "s1" }, '"lost" is no list of different names'],
    [{ ...MOVING, lost: ["s1", "s1"] }, '"lost" is no list of different names'],
    [{ ...MOVING, lost: ["s2"] }, '"lost" names s2, which is in neither list'],
  ] as const
) {
  Deno.test(`no layout: ${detail}`, () => {
    // What JSON cannot say is left out by it, as by a sender.
    const sent = JSON.parse(JSON.stringify(json));
    const { message } = assertThrows(() => parseLayout(sent), InvalidLayoutError);
    assertEquals(message, `Invalid layout: ${detail}`);
  });
}

Deno.test("any other JSON is a layout or one clear line", () => {
  const fields = fc.record({
    cluster: fc.oneof(fc.constant(CLUSTER), fc.jsonValue()),
    epoch: fc.oneof(fc.constant(12), fc.jsonValue()),
    since: fc.oneof(fc.constant(12), fc.jsonValue()),
    placement: fc.oneof(fc.constant("jump"), fc.jsonValue()),
    servers: fc.oneof(fc.constant(["s0", "s1"]), fc.jsonValue()),
    next: fc.oneof(fc.constant(["s0"]), fc.jsonValue()),
    nextPlacement: fc.oneof(fc.constant("modulo"), fc.jsonValue()),
    lost: fc.oneof(fc.constant(["s1"]), fc.jsonValue()),
    stores: fc.oneof(fc.constant(storesOf(["s0", "s1"])), fc.jsonValue()),
  }, { requiredKeys: [] });
  fc.assert(
    fc.property(fc.oneof({ weight: 9, arbitrary: fields }, fc.jsonValue()), (json) => {
      try {
        const layout = parseLayout(json);
        assert(sameLayout(parseLayout(JSON.parse(formatLayout(layout))), layout));
      } catch (error) {
        assert(error instanceof InvalidLayoutError, String(error));
        assertMatch(error.message, /^Invalid layout: [^\p{Cc}]{1,400}$/u);
      }
    }),
    { numRuns: 3000 },
  );
});
