/** What every `Store` has to do: one suite, run against each implementation. */
import { assert, assertEquals, assertRejects } from "@std/assert";
import { InvalidKeyError, PreconditionFailedError } from "../../../core/errors.ts";
import { compareKeys } from "../../../core/key.ts";
import { type Condition, type LargeValue, type Store } from "../../../core/store.ts";
import { LARGE_VALUE_BYTES } from "../../../core/protocol.ts";
import { Value } from "../../../core/value.ts";
import { DEFAULT_CONTENT_TYPE } from "../../../core/protocol.ts";

/** A store under test. */
export interface StoreUnderTest {
  /** The store as it is now; another one after `reopen`. */
  readonly store: () => Store;
  /** Closes the store and opens it again on the same data; left out where nothing is kept. */
  readonly reopen?: () => Promise<void>;
  /** Puts something in the way of the key file of this name; left out where there are no files. */
  readonly block?: (fileName: string) => Promise<void>;
  readonly close: () => Promise<void>;
}

/** Whatever `Store.get` answers, in memory. */
export interface Found {
  readonly bytes: Uint8Array;
  readonly contentType: string;
  readonly etag: string;
}

/** Returns the value of `key`, read to the end. */
export async function load(store: Store, key: string): Promise<Found | undefined> {
  const value: Value | LargeValue | undefined = await store.get(key);
  if (value === undefined || value instanceof Value) return value;
  const bytes = await new Response(value.open()).bytes();
  assertEquals(bytes.length, value.size);
  return { bytes, contentType: value.contentType, etag: value.etag };
}

/** Returns the value of `key` as text. */
export async function loadText(store: Store, key: string): Promise<string | undefined> {
  const found = await load(store, key);
  return found && new TextDecoder().decode(found.bytes);
}

/** Returns bytes that differ everywhere, the same for the same arguments. */
export function pattern(size: number, seed = 1): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(size);
  let state = seed * 2654435761 >>> 0;
  for (let i = 0; i < size; i++) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    bytes[i] = state >>> 24;
  }
  return bytes;
}

/** Yields `bytes` in pieces. */
export async function* chunked(
  bytes: Uint8Array,
  pieceBytes = 10_000,
): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += pieceBytes) {
    yield bytes.subarray(at, at + pieceBytes);
    await Promise.resolve();
  }
}

const text = (word: string) => new Value(word);
const LARGE = LARGE_VALUE_BYTES + 1;

/** Registers the suite for the stores that `open` makes. */
export function testStore(name: string, open: () => Promise<StoreUnderTest>): void {
  const test = (what: string, run: (under: StoreUnderTest, store: Store) => Promise<void>) => {
    Deno.test(`${name} ${what}`, async () => {
      const under = await open();
      try {
        await run(under, under.store());
      } finally {
        await under.close();
      }
    });
  };

  test("get() returns undefined for an absent key, not a promise", async (_, store) => {
    assertEquals(store.get("absent"), undefined);
    assertEquals(store.size, 0);
    assertEquals(store.list(), []);
    await Promise.resolve();
  });

  test("set() says whether it created, and the ETag", async (_, store) => {
    const first = await store.set("a", text("1"));
    assertEquals([first.created, first.etag], [true, text("1").etag]);
    const second = await store.set("a", text("2"));
    assertEquals([second.created, second.etag], [false, text("2").etag]);
    assertEquals(await loadText(store, "a"), "2");
    assertEquals(store.size, 1);
  });

  test("delete() says whether the key was there", async (_, store) => {
    assertEquals(await store.delete("a"), false);
    await store.set("a", text("1"));
    assertEquals(await store.delete("a"), true);
    assertEquals(await store.delete("a"), false);
    assertEquals(store.get("a"), undefined);
    assertEquals(store.size, 0);
    assertEquals((await store.set("a", text("2"))).created, true);
  });

  test("keeps values of any bytes and any size", async (under, store) => {
    const sizes = [0, 1, 4096, LARGE_VALUE_BYTES, LARGE, 300_000];
    for (const size of sizes) {
      await store.set(`whole-${size}`, new Value(pattern(size)));
      await store.set(`pieces-${size}`, {
        chunks: chunked(pattern(size)),
        contentType: DEFAULT_CONTENT_TYPE,
      });
    }
    const check = async () => {
      for (const size of sizes) {
        for (const kind of ["whole", "pieces"]) {
          const found = await load(under.store(), `${kind}-${size}`);
          assertEquals(found?.bytes, pattern(size), `${kind}-${size}`);
        }
      }
      assertEquals(under.store().size, 2 * sizes.length);
    };
    await check();
    await under.reopen?.();
    await check();
  });

  test("keeps content types", async (under, store) => {
    const large = { chunks: chunked(pattern(LARGE)), contentType: "image/png" };
    await store.set("plain", text("1"));
    await store.set("json", new Value("{}", "application/json"));
    await store.set("large", large);
    await store.set("was", new Value("", "text/html"));
    await store.set("was", text("plain now"));
    await store.set("gone", new Value("", "text/html"));
    await store.delete("gone");
    const check = async () => {
      const types = [];
      for (const key of ["plain", "json", "large", "was", "gone"]) {
        types.push((await load(under.store(), key))?.contentType);
      }
      assertEquals(types, [
        DEFAULT_CONTENT_TYPE,
        "application/json",
        "image/png",
        DEFAULT_CONTENT_TYPE,
        undefined,
      ]);
    };
    await check();
    await under.reopen?.();
    await check();
    await under.store().set("json", text("plain again"));
    await under.store().set("gone", text("back"));
    await under.reopen?.();
    const found = await load(under.store(), "json");
    assertEquals(found?.contentType, DEFAULT_CONTENT_TYPE);
    assertEquals((await load(under.store(), "gone"))?.contentType, DEFAULT_CONTENT_TYPE);
  });

  test("takes writes to one key in the order of the calls", async (under, store) => {
    const results = await Promise.all([
      store.set("k", text("1")),
      store.set("k", new Value(pattern(LARGE))),
      store.delete("k"),
      store.set("k", text("2")),
      store.set("k", new Value(pattern(LARGE, 2))),
      store.set("k", text("3"), "present"),
      store.set("other", new Value(pattern(LARGE))),
    ]);
    assertEquals(
      results.map((result) => typeof result === "boolean" ? result : result.created),
      [true, false, true, true, false, false, true],
    );
    assertEquals(await loadText(store, "k"), "3");
    await under.reopen?.();
    assertEquals(await loadText(under.store(), "k"), "3");
    assertEquals((await load(under.store(), "other"))?.bytes, pattern(LARGE));
  });

  test("takes a value that comes in slowly when it is here", async (under, store) => {
    const here = Promise.withResolvers<void>();
    async function* slow() {
      yield pattern(1000);
      await here.promise;
      yield* chunked(pattern(LARGE), 1000);
    }
    const arriving = store.set("k", { chunks: slow(), contentType: DEFAULT_CONTENT_TYPE });
    assertEquals((await store.set("k", text("1"))).created, true);
    assertEquals(await loadText(store, "k"), "1");
    here.resolve();
    assertEquals((await arriving).created, false);
    assertEquals((await load(store, "k"))?.bytes.length, LARGE + 1000);
    await under.reopen?.();
    assertEquals((await load(under.store(), "k"))?.bytes.length, LARGE + 1000);
  });

  test("a large value wins over the small one before it, and the other way round", async (
    under,
    store,
  ) => {
    await store.set("up", text("small"));
    await store.set("up", new Value(pattern(LARGE)));
    await store.set("down", new Value(pattern(LARGE)));
    await store.set("down", text("small"));
    await store.set("twice", new Value(pattern(LARGE, 1)));
    await store.set("twice", new Value(pattern(LARGE, 2)));
    await store.set("off", new Value(pattern(LARGE)));
    await store.delete("off");
    const check = async () => {
      assertEquals((await load(under.store(), "up"))?.bytes, pattern(LARGE));
      assertEquals(await loadText(under.store(), "down"), "small");
      assertEquals((await load(under.store(), "twice"))?.bytes, pattern(LARGE, 2));
      assertEquals(await load(under.store(), "off"), undefined);
    };
    await check();
    await under.reopen?.();
    await check();
  });

  test("decides conditions in order", async (_, store) => {
    const etag = text("1").etag;
    const refused = (key: string, condition: Condition) =>
      assertRejects(() => store.set(key, text("no"), condition), PreconditionFailedError);
    await refused("a", "present");
    await refused("a", { etags: [etag] });
    await assertRejects(() => store.delete("a", "present"), PreconditionFailedError);
    assertEquals((await store.set("a", text("1"), "absent")).created, true);
    await refused("a", "absent");
    await refused("a", { etags: [] });
    await refused("a", { etags: [text("2").etag] });
    await assertRejects(
      () => store.delete("a", { etags: [text("2").etag] }),
      PreconditionFailedError,
    );
    assertEquals(await loadText(store, "a"), "1");
    assertEquals((await store.set("a", text("2"), { etags: ["x", etag] })).created, false);
    assertEquals(await store.delete("a", { etags: [text("2").etag] }), true);
    assertEquals(store.size, 0);
  });

  test("lets one of many concurrent writers win", async (_, store) => {
    const outcome = async (word: string, condition: Condition) => {
      const results = await Promise.allSettled(
        Array.from({ length: 20 }, (_, i) => store.set("k", text(`${word}${i}`), condition)),
      );
      for (const result of results) {
        assert(result.status === "fulfilled" || result.reason instanceof PreconditionFailedError);
      }
      return results.map((result) => result.status === "fulfilled" ? 1 : 0).join("");
    };
    assertEquals(await outcome("v", "absent"), "1" + "0".repeat(19));
    assertEquals(await outcome("w", { etags: [text("v0").etag] }), "10000000000000000000");
  });

  test("ETags survive a restart and change with the value", async (under, store) => {
    await store.set("small", text("1"));
    const { etag: saved } = await store.set("large", new Value(pattern(LARGE)));
    assertEquals((await load(store, "large"))?.etag, saved);
    await under.reopen?.();
    assertEquals((await load(under.store(), "small"))?.etag, text("1").etag);
    assertEquals((await load(under.store(), "large"))?.etag, saved);
    const { etag } = await under.store().set("large", new Value(pattern(LARGE, 2)), {
      etags: [saved],
    });
    assert(etag !== saved);
    await assertRejects(
      () => under.store().set("large", text("no"), { etags: [saved] }),
      PreconditionFailedError,
    );
    assertEquals(await under.store().delete("large", { etags: [etag] }), true);
  });

  test("a reader of a large value gets it whole although it is replaced", async (_, store) => {
    await store.set("k", new Value(pattern(LARGE)));
    const value = await store.get("k");
    await store.set("k", new Value(pattern(LARGE, 2)));
    assert(value !== undefined && !(value instanceof Value));
    assertEquals(await new Response(value.open()).bytes(), pattern(LARGE));
    const unread = await store.get("k");
    assert(unread !== undefined && !(unread instanceof Value));
    unread.discard();
    const cancelled = await store.get("k");
    assert(cancelled !== undefined && !(cancelled instanceof Value));
    await cancelled.open().cancel();
  });

  test("passes on what incoming chunks throw, and stores nothing", async (under, store) => {
    async function* broken(bytes: number): AsyncGenerator<Uint8Array> {
      yield* chunked(pattern(bytes));
      throw new RangeError("broken off");
    }
    await store.set("k", text("old"));
    for (const bytes of [10, LARGE]) {
      for (const key of ["k", "new"]) {
        await assertRejects(
          () => store.set(key, { chunks: broken(bytes), contentType: DEFAULT_CONTENT_TYPE }),
          RangeError,
          "broken off",
        );
      }
    }
    await under.reopen?.();
    assertEquals(await loadText(under.store(), "k"), "old");
    assertEquals(under.store().list(), ["k"]);
  });

  test("lists keys by code point, by prefix and in pages", async (under, store) => {
    const keys = ["b", "a", "ab", "a/1", "a%", "ä", "\u{1f600}", "\ufffd", "z", ".dot", "100%"];
    for (const key of keys) await store.set(key, text(key));
    const sorted = keys.toSorted(compareKeys);
    const check = () => {
      assertEquals(under.store().list(), sorted);
      assertEquals(under.store().list({ prefix: "a" }), ["a", "a%", "a/1", "ab"]);
      assertEquals(under.store().list({ prefix: "a", after: "a%", limit: 1 }), ["a/1"]);
      assertEquals(under.store().list({ prefix: "a", after: "ab" }), []);
      assertEquals(under.store().list({ prefix: "a", after: "\x00" }), ["a", "a%", "a/1", "ab"]);
      assertEquals(under.store().list({ after: "zz" }), ["ä", "\ufffd", "\u{1f600}"]);
      assertEquals(under.store().list({ prefix: "none" }), []);
      assertEquals(under.store().list({ limit: 0 }), []);
      const paged: string[] = [];
      for (;;) {
        const after = paged.at(-1);
        const page = under.store().list(after === undefined ? { limit: 2 } : { after, limit: 2 });
        paged.push(...page);
        if (page.length < 2) break;
      }
      assertEquals(paged, sorted);
    };
    check();
    await under.reopen?.();
    check();
    for (const key of keys) assertEquals(await loadText(under.store(), key), key);
    for (const key of sorted.slice(1)) await under.store().delete(key);
    assertEquals(under.store().list(), sorted.slice(0, 1));
  });

  test("refuses a key whose file name is taken by a folder", async (under, store) => {
    if (under.block === undefined) return;
    await under.block("folder");
    await under.reopen?.();
    await assertRejects(() => under.store().set("folder", text("1")), InvalidKeyError);
    assertEquals(under.store().list(), []);
    await under.store().set("other", text("1"));
    void store;
  });
}
