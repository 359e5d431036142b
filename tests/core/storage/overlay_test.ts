import { assert, assertEquals, assertStrictEquals } from "@std/assert";
import fc from "fast-check";
import { LargeValueFile, Overlay, type OverlayEntry } from "../../../core/storage/overlay.ts";
import { Value } from "../../../core/value.ts";
import { ValueCache } from "../../../core/storage/value_cache.ts";

const MEBIBYTE = 1024 * 1024;

function prepare() {
  const cache = new ValueCache(MEBIBYTE);
  return { cache, overlay: new Overlay(cache) };
}

/** The entry of a key that has one. */
function entryOf(overlay: Overlay, key: string): OverlayEntry {
  const entry = overlay.get(key);
  assert(entry !== undefined);
  return entry;
}

Deno.test("a value is in the overlay until it is a file, then in the cache", () => {
  const { cache, overlay } = prepare();
  const value = new Value("new");
  cache.set("k", new Value("old"));
  overlay.put("k", value, 1);
  const entry = entryOf(overlay, "k");
  assertStrictEquals(entry.state, value);
  overlay.placed(entry);
  assertEquals(overlay.get("k"), undefined);
  assertStrictEquals(cache.get("k"), value);
});

Deno.test("what was deleted, or is large, is not in the cache when that is in the file", () => {
  const facts = { size: MEBIBYTE, contentType: "text/plain", etag: '"e"', hash: 0n };
  const large = new LargeValueFile("/large-1", facts);
  for (const state of [undefined, large]) {
    const { cache, overlay } = prepare();
    cache.set("k", new Value("old"));
    overlay.put("k", state, 1);
    overlay.placed(entryOf(overlay, "k"));
    assertEquals(cache.get("k"), undefined);
  }
});

Deno.test("a file of a value that was replaced meanwhile changes nothing", () => {
  const { cache, overlay } = prepare();
  overlay.put("k", new Value("first"), 1);
  const first = entryOf(overlay, "k");
  const second = new Value("second");
  overlay.put("k", second, 2);
  assertEquals([first.isPending, first.state], [false, undefined]);
  overlay.placed(first);
  overlay.forget(1);
  assertStrictEquals(entryOf(overlay, "k").state, second);
  assertEquals(cache.get("k"), undefined);
});

Deno.test("overlay and cache together tell the newest write, whatever was placed and dropped", () => {
  const key = fc.constantFrom("a", "b", "c");
  const step = fc.oneof(
    { weight: 6, arbitrary: fc.record({ put: key, size: fc.nat(600) }) },
    { weight: 2, arbitrary: fc.record({ delete: key }) },
    { weight: 3, arbitrary: fc.record({ place: key }) },
    { weight: 2, arbitrary: fc.constant("seal" as const) },
    { weight: 2, arbitrary: fc.constant("drop" as const) },
  );
  fc.assert(fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
    const { cache, overlay } = prepare();
    const model = new Map<string, Value | undefined>();
    let oldest = 1;
    let segment = 1;
    const put = (key: string, state: Value | undefined) => {
      const before = overlay.get(key)?.state;
      assertStrictEquals(overlay.put(key, state, segment), before);
      model.set(key, state);
    };
    for (const step of steps) {
      if (step === "seal") segment++;
      else if (step === "drop") {
        if (oldest < segment) overlay.forget(oldest++);
      } else if ("put" in step) {
        put(step.put, new Value(new Uint8Array(step.size).fill(120)));
      } else if ("delete" in step) put(step.delete, undefined);
      else {
        const entry = overlay.get(step.place);
        if (entry !== undefined) overlay.placed(entry);
      }
      for (const [key, value] of model) {
        const entry = overlay.get(key);
        assertStrictEquals(entry === undefined ? cache.get(key) : entry.state, value);
      }
    }
    while (oldest <= segment) overlay.forget(oldest++);
    assertEquals(overlay.bytes, 0);
  }));
});
