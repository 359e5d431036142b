/** A full disk gets the room of the journal's spare files, whatever needs it. */
import { assert, assertEquals, assertGreater } from "@std/assert";
import { delay } from "@std/async/delay";
import { LARGE_VALUE_BYTES } from "../../../core/protocol.ts";
import { type Store } from "../../../core/store.ts";
import { Value } from "../../../core/value.ts";
import { chunked, load } from "./store_contract.ts";
import { Random } from "../system/random.ts";
import { type Operation, SimulatedDisk } from "../system/simulated_disk.ts";
import { FOLDER, openOn } from "../../crash/workload.ts";

const JOURNAL_BYTES = 20_000;
const LARGE = new Value(new Uint8Array(LARGE_VALUE_BYTES + 1).fill(7));

function sparesOn(disk: SimulatedDisk): number {
  return [...disk.contents().keys()].filter((path) => path.includes("/.kvs/spare-")).length;
}

async function waitFor(isTrue: () => boolean): Promise<void> {
  const end = performance.now() + 10_000;
  while (!isTrue() && performance.now() < end) await delay(10);
  assert(isTrue());
}

/** Calls `run` with a store that has spare files, on a disk that has no room until one is removed. */
async function withSpares(
  seed: number,
  needsRoom: (operation: Operation) => boolean,
  run: (store: Store, disk: SimulatedDisk) => Promise<void>,
): Promise<void> {
  const disk = new SimulatedDisk(new Random(seed));
  disk.vary(seed);
  const { store, logged, fatal } = await openOn(disk, JOURNAL_BYTES);
  // One after another: what is saved together is in one segment, which would be too large to be kept.
  for (let i = 0; i < 20; i++) await store.set(`k${i}`, new Value(".".repeat(1000)));
  await waitFor(() => store.metrics.journalSegments === 0);
  // The segment that is ready may have taken one.
  assertGreater(sparesOn(disk), 1);
  let refused = 0;
  let isFull = true;
  disk.fault = (operation) => {
    if (operation.kind === "remove" && operation.path.includes("/spare-")) isFull = false;
    if (!needsRoom(operation) || !isFull) return undefined;
    refused++;
    return "full";
  };
  await run(store, disk);
  assertGreater(refused, 0);
  assertEquals(isFull, false);
  assertEquals(logged, []);
  disk.fault = () => undefined;
  await store.close();
  assertEquals(fatal, []);
}

for (const kind of ["write", "create"] as const) {
  const isLarge = (operation: Operation) => {
    return operation.kind === kind && operation.path.includes("/.kvs/large-");
  };

  Deno.test(`A large value that finds no room at its ${kind} takes that of the spare files`, async () => {
    for (let seed = 0; seed < 4; seed++) {
      await withSpares(seed, isLarge, async (store) => {
        await store.set("large", LARGE);
        assertEquals((await load(store, "large"))?.bytes, LARGE.bytes);
      });
    }
  });

  Deno.test(`A large value from afar that finds no room at its ${kind} makes some for the next`, async () => {
    for (let seed = 0; seed < 4; seed++) {
      await withSpares(seed, isLarge, async (store) => {
        const incoming = () => ({
          chunks: chunked(LARGE.bytes, 30_000),
          contentType: LARGE.contentType,
        });
        const [first] = await Promise.allSettled([store.set("large", incoming())]);
        assertEquals(first?.status, "rejected");
        await store.set("large", incoming());
        assertEquals((await load(store, "large"))?.bytes, LARGE.bytes);
      });
    }
  });
}

Deno.test("A checkpoint that finds no room takes that of the spare files, and fails nobody", async () => {
  const isKeyFile = ({ kind, path }: Operation) => kind === "write" && path.includes("/save-");
  for (let seed = 0; seed < 4; seed++) {
    await withSpares(seed, isKeyFile, async (store, disk) => {
      await store.set("one", new Value("more"));
      await waitFor(() => disk.contents().has(`${FOLDER}/one`));
    });
  }
});

for (const isSaved of [false, true]) {
  const what = isSaved ? ", with a save while it is at that" : "";
  Deno.test(`A checkpoint behind a burst gets through on a disk that is nearly full${what}`, async () => {
    const disk = new SimulatedDisk(new Random(3));
    const { store, logged, fatal } = await openOn(disk, JOURNAL_BYTES);
    for (let i = 0; i < 10; i++) await store.set(`k${i}`, new Value(".".repeat(1000)));
    const bytes = () => [...disk.contents().values()].reduce((sum, file) => sum + file.length, 0);
    const most = bytes() + 3200;
    let refused = 0;
    let isDropped = false;
    let save: Promise<unknown> | undefined;
    disk.fault = ({ kind, path }) => {
      if (kind === "rename" && path.includes("/spare-")) isDropped = true;
      if (isSaved && isDropped && kind === "flush" && path.endsWith("/.kvs")) {
        // Behind that flush: what was dropped is a file to write over then.
        save ??= delay(0).then(() => store.set("small", new Value("x")));
      }
      if (kind !== "write" || !path.includes("/save-") || bytes() + 1000 <= most) return undefined;
      refused++;
      return "full";
    };
    await waitFor(() => store.metrics.journalSegments === 0 && (!isSaved || save !== undefined));
    await save;
    assertGreater(refused, 0);
    assertEquals([logged, store.metrics.checkpointFailures], [[], 0]);
    disk.fault = () => undefined;
    await store.close();
    assertEquals(fatal, []);
  });
}
