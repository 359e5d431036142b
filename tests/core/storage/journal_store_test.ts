import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import { denoFiles } from "../../../core/system/deno_files.ts";
import { LARGE_VALUE_BYTES } from "../../../core/protocol.ts";
import { type Store } from "../../../core/store.ts";
import { Value } from "../../../core/value.ts";
import { memoryOf } from "../../../core/storage/value_cache.ts";
import { openJournalStore } from "../../../core/storage/open_journal_store.ts";
import { load, loadText, pattern, type StoreUnderTest, testStore } from "./store_contract.ts";

interface OnDisk extends StoreUnderTest {
  readonly folder: string;
  /** Calls back while the store is closed, and opens it again. */
  whileClosed(look: () => Promise<void>): Promise<void>;
}

async function onDisk(cacheBytes: number, journalBytes: number): Promise<OnDisk> {
  const folder = await Deno.makeTempDir({ prefix: "kvs-store-" });
  const open = () => {
    return openJournalStore(folder, {
      cacheBytes,
      journalBytes,
      log() {},
      onFatal(error) {
        throw error;
      },
    });
  };
  let store = await open();
  const whileClosed = async (look: () => Promise<void>) => {
    await store.close();
    await look();
    store = await open();
  };
  return {
    folder,
    store: () => store,
    whileClosed,
    reopen: () => whileClosed(() => Promise.resolve()),
    async block(fileName) {
      await Deno.mkdir(`${folder}/${fileName}`);
    },
    async close() {
      await store.close();
      await Deno.remove(folder, { recursive: true });
    },
  };
}

testStore("JournalStore", () => onDisk(1 << 20, 1 << 20));
testStore("JournalStore without a cache, with a tiny journal", () => onDisk(0, 256));

async function withStore(
  run: (under: OnDisk, store: Store) => Promise<void>,
  { cacheBytes = 1 << 20, journalBytes = 1 << 20 } = {},
): Promise<void> {
  const under = await onDisk(cacheBytes, journalBytes);
  try {
    await run(under, under.store());
  } finally {
    await under.close();
  }
}

async function names(folder: string): Promise<string[]> {
  return (await Array.fromAsync(Deno.readDir(folder), (entry) => entry.name)).toSorted();
}

Deno.test("JournalStore.close() leaves plain files and no journal", async () => {
  await withStore(async ({ folder, store, whileClosed }) => {
    await store().set("a", new Value("1"));
    await store().set("c/d", new Value("2"));
    await store().set("large", new Value(pattern(LARGE_VALUE_BYTES + 1)));
    await store().set("gone", new Value("3"));
    await store().delete("gone");
    assertEquals(await names(folder), [".kvs"]);
    await whileClosed(async () => {
      assertEquals(await names(folder), [".kvs", "a", "c%2Fd", "large"]);
      assertEquals(await names(`${folder}/.kvs`), ["content-types", "oldest-2-clean"]);
    });
    assertEquals(await Deno.readTextFile(`${folder}/c%2Fd`), "2");
    assertEquals(await Deno.readFile(`${folder}/large`), pattern(LARGE_VALUE_BYTES + 1));
  });
});

Deno.test("JournalStore makes files by itself", async () => {
  await withStore(async ({ folder, store }) => {
    const watcher = Deno.watchFs(folder);
    await store().set("a", new Value("1"));
    for await (const event of watcher) {
      if (event.paths.some((path) => path.endsWith("/a"))) break;
    }
    assertEquals(await Deno.readTextFile(`${folder}/a`), "1");
  });
});

Deno.test("JournalStore serves files that were there before, also with odd names", async () => {
  await withStore(async ({ folder, store, reopen }) => {
    const put = (name: string, text: string) => Deno.writeTextFile(`${folder}/${name}`, text);
    await put("plain", "1");
    await put("100%", "odd");
    await put("both%", "odd");
    await put("both%25", "canonical");
    await put("line\nbreak", "odd");
    await put("_shutting_down_", "");
    await put(".hidden", "");
    await Deno.symlink("plain", `${folder}/link`);
    await Deno.mkdir(`${folder}/lost+found`);
    await reopen?.();
    assertEquals(store().list(), ["100%", "both%", "line\nbreak", "plain"]);
    assertEquals(await loadText(store(), "100%"), "odd");
    assertEquals(await loadText(store(), "both%"), "canonical");
    assertEquals(await loadText(store(), "line\nbreak"), "odd");
    await store().set("100%", new Value("new"));
    assertEquals(await loadText(store(), "100%"), "new");
    await store().delete("both%");
    await reopen?.();
    assertEquals(store().list(), ["100%", "line\nbreak", "plain"]);
    assertEquals(await loadText(store(), "100%"), "new");
    const left = (await names(folder)).filter((name) => !name.startsWith("."));
    assertEquals(left, ["100%25", "_shutting_down_", "line\nbreak", "link", "lost+found", "plain"]);
  });
});

Deno.test("JournalStore serves large files that were there before", async () => {
  await withStore(async ({ folder, store, reopen }) => {
    await Deno.writeFile(`${folder}/large`, pattern(200_000));
    await reopen?.();
    const found = await load(store(), "large");
    assertEquals(found?.bytes, pattern(200_000));
    assertEquals((await store().set("large", new Value("small"))).created, false);
    await reopen?.();
    assertEquals(await loadText(store(), "large"), "small");
  });
});

Deno.test("JournalStore slows writers down when the journal is full, and refuses none", async () => {
  await withStore(async ({ folder, store }) => {
    let most = 0;
    const saves = Array.from({ length: 500 }, async (_, i) => {
      await store().set(`k${i % 100}`, new Value(pattern(1000, i)));
      const files = (await names(`${folder}/.kvs`)).filter((name) => name.startsWith("journal-"));
      let bytes = 0;
      for (const name of files) {
        // It may be gone by now.
        bytes += (await Deno.stat(`${folder}/.kvs/${name}`).catch(() => undefined))?.size ?? 0;
      }
      most = Math.max(most, bytes);
    });
    await Promise.all(saves);
    assert(most <= 20_000 + 3_000, `${most} bytes of journal`);
    for (let i = 400; i < 500; i++) {
      assertEquals((await load(store(), `k${i % 100}`))?.bytes, pattern(1000, i));
    }
  }, { journalBytes: 20_000 });
});

Deno.test("JournalStore answers undefined for a file that was removed by hand", async () => {
  await withStore(async ({ folder, store, reopen }) => {
    await store().set("a", new Value("1"));
    await reopen?.();
    await Deno.remove(`${folder}/a`);
    assertEquals(await store().get("a"), undefined);
    await store().set("a", new Value("2"));
    assertEquals(await loadText(store(), "a"), "2");
  });
});

type Step =
  & { readonly key: string }
  & (
    | { readonly kind: "set"; readonly size: number; readonly type: string | undefined }
    | { readonly kind: "delete" }
    | { readonly kind: "reopen" }
  );

const step: fc.Arbitrary<Step> = fc.record({
  key: fc.constantFrom("a", "b/c", "é", "%", "\u{1f600}"),
  kind: fc.constantFrom("set", "set", "set", "delete", "reopen"),
  size: fc.constantFrom(0, 1, 100, LARGE_VALUE_BYTES, LARGE_VALUE_BYTES + 1),
  type: fc.option(fc.constantFrom("text/plain", "text/html"), { nil: undefined }),
}).map(({ key, kind, size, type }) => kind === "set" ? { key, kind, size, type } : { key, kind });

Deno.test("JournalStore holds what a map holds after any writes and restarts", async () => {
  let seed = 0;
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.array(step, { maxLength: 6 }), { maxLength: 6 }),
      fc.constantFrom(300, 1 << 20),
      async (rounds, journalBytes) => {
        await withStore(async ({ store, reopen }) => {
          const model = new Map<string, Value>();
          for (const steps of rounds) {
            const answers: Promise<void>[] = [];
            for (const { key, ...what } of steps) {
              const existed = model.has(key);
              if (what.kind === "reopen") {
                await Promise.all(answers);
                await reopen?.();
              } else if (what.kind === "delete") {
                model.delete(key);
                answers.push(store().delete(key).then((did) => assertEquals(did, existed)));
              } else {
                const value = new Value(pattern(what.size, ++seed), what.type);
                model.set(key, value);
                answers.push(
                  store().set(key, value).then(({ created }) => {
                    assertEquals(created, !existed);
                  }),
                );
              }
            }
            await Promise.all(answers);
            assertEquals(
              store().list(),
              ["%", "a", "b/c", "é", "\u{1f600}"].filter((key) => {
                return model.has(key);
              }),
            );
            for (const [key, { bytes, contentType }] of model) {
              const found = await load(store(), key);
              assertEquals([found?.bytes, found?.contentType], [bytes, contentType]);
            }
          }
        }, { cacheBytes: 100_000, journalBytes });
      },
    ),
    { numRuns: 100 },
  );
});

for (const isAtOnce of [true, false]) {
  const how = isAtOnce ? "at once" : "by another thread";
  Deno.test(`JournalStore reads very many keys ${how} without giving up what is used`, async () => {
    const folder = await Deno.makeTempDir({ prefix: "kvs-store-" });
    const files = isAtOnce ? denoFiles : { ...denoFiles, readAtOnce: () => undefined };
    const keys = (prefix: string) => Array.from({ length: 200 }, (_, i) => `${prefix}${i}`);
    const used = keys("used").slice(0, 5);
    for (const key of [...used, ...keys("a"), ...keys("b")]) {
      await Deno.writeTextFile(`${folder}/${key}`, key);
    }
    const store = await openJournalStore(folder, {
      files,
      cacheBytes: 20 * memoryOf("used1", new Value("used1")),
      log() {},
      onFatal(error) {
        throw error;
      },
    });
    try {
      const readAll = async (all: readonly string[]) => {
        for (const key of all) assertEquals(await loadText(store, key), key);
      };
      await readAll(keys("a"));
      for (let round = 0; round < 3; round++) await readAll(used);
      const before = store.metrics;
      await readAll(keys("b"));
      await readAll(used);
      const { cacheHits, cacheMisses } = store.metrics;
      assertEquals(cacheHits - before.cacheHits >= used.length, true);
      assertEquals(cacheMisses - before.cacheMisses, 200);
    } finally {
      await store.close();
      await Deno.remove(folder, { recursive: true });
    }
  });
}
