import { assertEquals } from "@std/assert";
import fc from "fast-check";
import { compareKeys } from "../../../core/key.ts";
import { KeyIndex } from "../../../core/storage/key_index.ts";

// Few characters, so that prefixes and neighbours are common; among them those on both sides of
// the surrogates.
const key = fc.string({
  unit: fc.constantFrom("a", "b", "ä", "\uffee", "\u{10000}", "\u{1f600}"),
  minLength: 1,
  maxLength: 4,
});

Deno.test("KeyIndex lists the same as a sorted array after any adds and deletes", () => {
  fc.assert(
    fc.property(
      fc.uniqueArray(key),
      fc.array(fc.tuple(fc.boolean(), key), { maxLength: 60 }),
      fc.option(key, { nil: undefined }),
      fc.option(key, { nil: undefined }),
      fc.integer({ min: 0, max: 20 }),
      (initial, changes, prefix, after, limit) => {
        const index = new KeyIndex([...initial]);
        const model = new Set(initial);
        for (const [adds, changed] of changes) {
          assertEquals(index.has(changed), model.has(changed));
          if (adds) {
            assertEquals(index.add(changed), !model.has(changed));
            model.add(changed);
          } else {
            assertEquals(index.delete(changed), model.delete(changed));
          }
        }
        const sorted = [...model].sort(compareKeys);
        assertEquals(index.list(), sorted);
        assertEquals(index.size, sorted.length);
        const page = sorted.filter((found) =>
          found.startsWith(prefix ?? "") && (after === undefined || compareKeys(found, after) > 0)
        ).slice(0, limit);
        const options = {
          limit,
          ...(prefix === undefined ? {} : { prefix }),
          ...(after === undefined ? {} : { after }),
        };
        assertEquals(index.list(options), page);
      },
    ),
    { numRuns: 2000 },
  );
});

Deno.test("KeyIndex keeps the order over many chunks", () => {
  const index = new KeyIndex();
  const keys = Array.from({ length: 20_000 }, (_, i) => `key-${(i * 7919) % 20_000}`);
  for (const added of keys) index.add(added);
  keys.sort();
  assertEquals(index.list(), keys);
  assertEquals(index.list({ after: keys[9_999] ?? "", limit: 3 }), keys.slice(10_000, 10_003));
  for (let i = 0; i < keys.length; i += 2) index.delete(keys[i] ?? "");
  assertEquals(index.list(), keys.filter((_, i) => i % 2 === 1));
  for (let i = 1; i < keys.length; i += 2) index.delete(keys[i] ?? "");
  assertEquals(index.list(), []);
  index.add("again");
  assertEquals(index.list(), ["again"]);
});

Deno.test("KeyIndex finds the next page when the last key of the one before is gone", () => {
  const index = new KeyIndex(["a", "b", "c"]);
  index.delete("b");
  assertEquals(index.list({ after: "b" }), ["c"]);
});
