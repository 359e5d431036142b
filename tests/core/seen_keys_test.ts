/** Which keys were asked for not long ago. */
import { assert, assertEquals } from "@std/assert";
import { hash31 } from "../../core/placement.ts";
import { SeenKeys } from "../../core/seen_keys.ts";

const KEYS = 1024;

function* keysOf(prefix: string): Generator<string> {
  for (let i = 0;; i++) yield `${prefix}${i}`;
}

/** The share of the next `count` keys that `seen` takes for one that it has seen. */
function shareKnown(seen: SeenKeys, keys: Iterator<string>, count: number): number {
  let known = 0;
  for (let i = 0; i < count; i++) if (seen.see(keys.next().value)) known++;
  return known / count;
}

Deno.test("SeenKeys knows each of the keys that it saw last, as many as it is for", () => {
  const seen = new SeenKeys(KEYS);
  const last: string[] = [];
  let i = 0;
  for (const key of keysOf("k")) {
    if (i++ === 10 * KEYS) break;
    seen.see(key);
    last.push(key);
    if (last.length > KEYS) last.shift();
    if (i % 700 === 0) assertEquals(last.filter((each) => !seen.see(each)), [], `after ${i} keys`);
  }
});

Deno.test("SeenKeys takes few keys for others, be they much alike or all of one shard", () => {
  const shapes: Record<string, (i: number) => string> = {
    counted: (i) => `key-${i}`,
    padded: (i) => `m${String(i).padStart(12, "0")}`,
    inside: (i) => `user:${i}:name`,
    spread: (i) => (i * 0x9e37_79b1_2345 % 2 ** 48).toString(16),
  };
  const many = 2 ** 16;
  for (const [shape, keyOf] of Object.entries(shapes)) {
    for (const servers of [1, 3, 8]) {
      const ofShard = keysOf("").map((_, i) => keyOf(i))
        .filter((key) => servers === 1 || hash31(key) % servers === 0);
      const seen = new SeenKeys(many);
      const parts = Array.from({ length: 8 }, () => shareKnown(seen, ofShard, many / 4));
      const mean = parts.reduce((sum, part) => sum + part) / parts.length;
      const told = `${shape} keys of one in ${servers}: ${parts.join(", ")}`;
      assert(mean > 0 && mean < 0.18 && Math.max(...parts) < 0.25, told);
    }
  }
});

Deno.test("SeenKeys forgets what is long ago, and earlier where it is asked for fewer", () => {
  const first = Array.from({ length: 100 }, (_, i) => `first-${i}`);
  const knownAfter = (others: number, keys?: number) => {
    const seen = new SeenKeys(KEYS);
    for (const key of first) seen.see(key, keys);
    let i = 0;
    for (const key of keysOf("k")) {
      if (i++ === others) break;
      seen.see(key, keys);
    }
    return first.filter((key) => seen.see(key, keys)).length;
  };
  assertEquals(knownAfter(KEYS - 100), 100);
  assert(knownAfter(3 * KEYS) < 40);
  assertEquals(knownAfter(100, 200), 100);
  assert(knownAfter(800, 200) < 20);
});
