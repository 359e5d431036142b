import { assertEquals, assertRejects } from "@std/assert";
import { KvsError } from "../../../core/errors.ts";
import { mergeListings } from "../../../core/client/merge_listings.ts";

async function* pages<T>(...items: T[]): AsyncGenerator<T> {
  for (const item of items) yield await Promise.resolve(item);
}

Deno.test("mergeListings() yields each key once with all who list it", async () => {
  const merged = await Array.fromAsync(mergeListings([
    pages(["a", "c"], [], ["e"]),
    pages<string[]>([]),
    pages(["b", "c"], ["d", "\uffff", "😀"]),
  ]));
  assertEquals(merged.flat().map(({ key, holders }) => key + holders.join("")), [
    "a0",
    "b2",
    "c02",
    "d2",
    "e0",
    "\uffff2",
    "😀2",
  ]);
});

Deno.test("mergeListings() refuses a listing that is out of order", async () => {
  for (const keys of [["b", "a"], ["a", "a"]]) {
    await assertRejects(
      () => Array.fromAsync(mergeListings([pages(keys)])),
      KvsError,
      "out of order",
    );
  }
});
