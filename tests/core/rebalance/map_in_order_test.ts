/** What decides a move, and the streams of keys that it is decided on. */
import { assert, assertEquals, assertRejects } from "@std/assert";
import { RebalanceError } from "../../../core/errors.ts";
import { PLACEMENTS } from "../../../core/placement.ts";
import { decide } from "../../../core/rebalance/plan.ts";
import { mapInOrder } from "../../../core/rebalance/map_in_order.ts";

Deno.test("decide() lets only the owner's copy count", () => {
  // On three servers "a" belongs on 1 and "b" on 2; on two "a" on 1 and "b" on 0.
  const layout = { asIs: [0, 1, 2], toBe: [0, 1], placement: PLACEMENTS.modulo };
  const table: [string, number[], string, number[]][] = [
    ["a", [1], "stay", []],
    ["a", [0, 1, 2], "stay", [0, 2]],
    ["a", [0, 2], "orphan", []],
    ["b", [2], "move", []],
    ["b", [0, 2], "move", []],
    ["b", [0, 1, 2], "move", [1]],
    ["b", [0], "unclear", []],
    ["b", [0, 1], "unclear", []],
    ["b", [1], "orphan", []],
  ];
  for (const [key, holders, verdict, stale] of table) {
    const decision = decide(layout, { key, holders });
    assertEquals([key, holders, decision.verdict, decision.stale], [key, holders, verdict, stale]);
  }
});

async function* pages<T>(...items: T[]): AsyncGenerator<T> {
  for (const item of items) yield await Promise.resolve(item);
}

async function gather<T>(source: AsyncIterable<T>): Promise<T[]> {
  const items: T[] = [];
  for await (const item of source) items.push(item);
  return items;
}

Deno.test("mapInOrder() keeps the order and bounds the calls under way", async () => {
  let underWay = 0;
  let most = 0;
  const work = async (item: number) => {
    most = Math.max(most, ++underWay);
    // Later items take fewer turns.
    for (let turn = item; turn < 40; turn++) await Promise.resolve();
    underWay--;
    return item;
  };
  const items = Array.from({ length: 40 }, (_, index) => index);
  const options = { concurrency: 5, signal: new AbortController().signal };
  assertEquals(await gather(mapInOrder(pages(...items), work, options)), items);
  assertEquals(most, 5);
});

Deno.test("mapInOrder() yields what was under way when a call fails, then throws", async () => {
  const started: number[] = [];
  const work = (item: number) => {
    started.push(item);
    return item === 2 ? Promise.reject(new RebalanceError("two")) : Promise.resolve(item);
  };
  const done: number[] = [];
  await assertRejects(
    async () => {
      const options = { concurrency: 4, signal: new AbortController().signal };
      for await (const item of mapInOrder(pages(1, 2, 3, 4, 5, 6, 7, 8), work, options)) {
        done.push(item);
      }
    },
    RebalanceError,
    "two",
  );
  assertEquals(done, started.filter((item) => item !== 2));
  assert(started.length < 8);
});
