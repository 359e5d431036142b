import { assert, assertAlmostEquals, assertEquals, assertThrows } from "@std/assert";
import { KvsError } from "../../../core/errors.ts";
import { ownerIn } from "../../../core/layout/layout.ts";
import { parseRange } from "../../../core/scale/answers.ts";
import {
  firstLayout,
  movingLayout,
  steadyLayout,
  withLoss,
} from "../../../core/scale/next_layout.ts";
import { partRange } from "../../../core/scale/range.ts";
import { sharesOf } from "../../../core/scale/survey.ts";

const ONE = "00000000-0000-4000-8000-000000000001";
const TWO = "00000000-0000-4000-8000-000000000002";
const THREE = "00000000-0000-4000-8000-000000000003";
const STORES = { a: ONE, b: TWO, c: THREE };
const FIRST = firstLayout({ servers: ["a"], placement: "modulo" }, { a: ONE });
const MOVE = movingLayout(FIRST, { servers: ["a", "b", "c"], placement: "jump" }, STORES);

Deno.test("a range is parted by the targets of its keys, and each line stays as it is", () => {
  const keys = Array.from({ length: 50 }, (_, index) => `key ${index} "ü"`);
  const lines = keys.map((key) => JSON.stringify({ key, value: "12345", type: "", etag: '"1"' }));
  const parcels = partRange({ fence: 1, after: null, upto: null, lines }, MOVE);
  assertEquals(parcels.keys, 50);
  assertEquals(parcels.bytes, 250);
  assertEquals(parcels.large, undefined);
  const parted = [...parcels.lines].flatMap(([target, text]) =>
    text.split("\n").slice(0, -1).map((line) => {
      assertEquals(
        ownerIn({ servers: MOVE.next, placement: "jump" }, JSON.parse(line).key),
        target,
      );
      return line;
    })
  );
  assertEquals(parted.toSorted(), lines.toSorted());
});

Deno.test("a large value is no line, and goes to its target", () => {
  const line = JSON.stringify({ key: "k", type: "t", etag: '"1"', size: 70_000 });
  const { large, lines, bytes } = partRange(
    { fence: 1, after: "a", upto: "k", lines: [line] },
    MOVE,
  );
  const target = ownerIn({ servers: MOVE.next, placement: "jump" }, "k");
  assertEquals(large, { key: "k", type: "t", size: 70_000, target });
  assertEquals([lines.size, bytes], [0, 70_000]);
});

Deno.test("an answer that is cut short is none, and a line without a value is refused", () => {
  const head = '{"fence":3,"after":null,"upto":"k"}\n';
  assertEquals(parseRange('{"end":true}\n'), "end");
  assertEquals(parseRange(head), { fence: 3, after: null, upto: "k", lines: [] });
  assertEquals(parseRange(`${head}{"key":"k","va`), undefined);
  assertEquals(parseRange('{"fence":3}\n'), undefined);
  for (const line of ['{"key":"k"}', "{", "1"]) {
    const range = { fence: 1, after: null, upto: null, lines: [line] };
    assertThrows(() => partRange(range, MOVE), KvsError);
  }
});

Deno.test("each layout has the next epoch, and a move keeps the epoch that it began with", () => {
  assertEquals([MOVE.epoch, MOVE.since], [2, 2]);
  const lossy = withLoss(MOVE, "a", TWO);
  assertEquals([lossy.epoch, lossy.since, lossy.lost], [3, 2, ["a"]]);
  const steady = steadyLayout(lossy);
  assertEquals([steady.epoch, steady.since, steady.placement], [4, 4, "jump"]);
  assertEquals(steady.servers, ["a", "b", "c"]);
  assertEquals(steady.stores, { ...STORES, a: TWO });
});

Deno.test("the shares of a source are what placement gives each target", () => {
  const shares = sharesOf(MOVE, "a");
  assertEquals([...shares.keys()].toSorted(), ["b", "c"]);
  for (const share of shares.values()) assertAlmostEquals(share, 1 / 3, 0.03);
  assert(sharesOf(MOVE, "b").size === 0);
});
