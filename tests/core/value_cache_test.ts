import { assert, assertEquals } from "@std/assert";
import { Value } from "../../core/store.ts";
import { memoryOf, ValueCache } from "../../core/value_cache.ts";

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
