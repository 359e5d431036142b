import { assert, assertEquals } from "@std/assert";
import { hash31 } from "../../../core/placement.ts";
import { memoryOf, SeenKeys, ValueCache } from "../../../core/storage/value_cache.ts";
import { Value } from "../../../core/value.ts";

const value = (size: number) => new Value(new Uint8Array(size));

Deno.test("ValueCache keeps what is used and stays within its bytes", () => {
  const bytes = memoryOf("k000", value(100));
  const cache = new ValueCache(20 * bytes);
  const keys = Array.from({ length: 200 }, (_, i) => `k${String(i).padStart(3, "0")}`);
  cache.set("k000", value(100));
  for (const key of keys.slice(1)) {
    cache.set(key, value(100));
    assert(cache.get("k000") !== undefined, key);
  }
  const kept = keys.filter((key) => cache.get(key) !== undefined);
  assert(kept.length >= 10 && kept.length <= 20, `${kept.length} kept`);
  assert(kept.includes("k199"));
});

Deno.test("ValueCache never answers with a value that was replaced or deleted", () => {
  const bytes = memoryOf("k", value(10));
  const cache = new ValueCache(6 * bytes);
  const model = new Map<string, Value>();
  let state = 1;
  for (let i = 0; i < 20_000; i++) {
    state = (Math.imul(state, 1103515245) + 12345) >>> 0;
    const key = `${(state >>> 8) % 12}`;
    const action = (state >>> 16) % 4;
    if (action === 0) {
      cache.delete(key);
      model.delete(key);
    } else if (action === 1) {
      // Every now and then one that is too large to be kept.
      const next = value(i % 50 === 0 ? 5000 : i % 10);
      cache.set(key, next);
      model.set(key, next);
    } else {
      const found = cache.get(key);
      if (found !== undefined) assertEquals(found, model.get(key));
    }
  }
});

Deno.test("ValueCache of 0 bytes keeps nothing", () => {
  const cache = new ValueCache(0);
  cache.set("a", value(0));
  assertEquals(cache.get("a"), undefined);
});

Deno.test("ValueCache takes what is read, once it is full only what is read again", () => {
  const bytes = memoryOf("k000", value(100));
  const cache = new ValueCache(20 * bytes);
  const read = (key: string) => {
    if (cache.get(key) !== undefined) return true;
    if (cache.admits(key)) cache.set(key, value(100));
    return false;
  };
  const keys = (prefix: string, count: number) =>
    Array.from({ length: count }, (_, i) => `${prefix}${String(i).padStart(3, "0")}`);
  // Until something has to be dropped, all is kept.
  keys("f", 15).forEach(read);
  assertEquals(keys("f", 15).slice(10).filter((key) => !read(key)), []);
  keys("g", 30).forEach(read);
  const used = keys("a", 8);
  for (let round = 0; round < 3; round++) used.forEach(read);
  // Reading very many once each does not drive out what is used meanwhile, though seldom.
  keys("b", 900).forEach((key, i) => {
    read(key);
    if (i % 100 === 0) assertEquals(used.filter((each) => !read(each)), [], key);
  });
  assertEquals(used.filter((key) => !read(key)), []);
  // What is read again is kept.
  assertEquals(["c", "c", "c"].map(read), [false, false, true]);
});

Deno.test("ValueCache that was full fills again when it was emptied", () => {
  const cache = new ValueCache(100 * memoryOf("k000", value(100)));
  const keys = Array.from({ length: 300 }, (_, i) => `k${String(i).padStart(3, "0")}`);
  for (const key of keys) cache.set(key, value(100));
  for (const key of keys) cache.delete(key);
  let hits = 0;
  for (let round = 0; round < 4; round++) {
    for (const key of keys.slice(0, 30)) {
      if (cache.get(key) !== undefined) hits++;
      else if (cache.admits(key)) cache.set(key, value(100));
    }
  }
  assertEquals(hits, 60);
});

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
