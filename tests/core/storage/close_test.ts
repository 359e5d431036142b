import { assertEquals, assertGreater } from "@std/assert";
import { ShuttingDownError } from "../../../core/errors.ts";
import { openJournalStore } from "../../../core/storage/open_journal_store.ts";
import { Value } from "../../../core/value.ts";
import { Random } from "../system/random.ts";
import { SimulatedDisk } from "../system/simulated_disk.ts";
import { FOLDER, openOn } from "../../crash/workload.ts";
import type { OpenFile } from "../../../core/system/files.ts";

const JOURNAL_BYTES = 20_000;
const SAVES = 400;

Deno.test("JournalStore.close() lets in all writes that wait for room in the journal", async () => {
  const disk = new SimulatedDisk(new Random(1));
  const { store, fatal, logged } = await openOn(disk, JOURNAL_BYTES);
  let acknowledged = 0;
  const saves = Array.from({ length: SAVES }, async (_, i) => {
    await store.set(`k${i}`, new Value(new Uint8Array(1000).fill(200)));
    acknowledged++;
  });
  await store.close();
  await Promise.all(saves);
  assertEquals(acknowledged, SAVES);
  assertEquals([fatal, logged], [[], []]);
  const again = await openOn(disk, JOURNAL_BYTES);
  assertEquals(again.store.size, SAVES);
  await again.store.close();
});

/** A disk on which no key file can be begun for now. */
class StuckDisk extends SimulatedDisk {
  readonly #free = Promise.withResolvers<void>();

  override async create(path: string): Promise<OpenFile> {
    if (path.includes("/save-")) await this.#free.promise;
    return await super.create(path);
  }

  letGo(): void {
    this.#free.resolve();
  }
}

Deno.test("JournalStore.close() refuses writes that have no room when time is up: no failure of the disk", async () => {
  const disk = new StuckDisk(new Random(1));
  const fatal: Error[] = [];
  const store = await openJournalStore(FOLDER, {
    files: disk,
    journalBytes: JOURNAL_BYTES,
    closeTimeoutMs: 20,
    log() {},
    onFatal: (error) => fatal.push(error),
  });
  const saves = Array.from({ length: SAVES }, (_, i) => {
    return store.set(`k${i}`, new Value(new Uint8Array(1000).fill(200)));
  });
  const settled = Promise.allSettled(saves);
  const closed = store.close();
  const outcomes = await settled;
  disk.letGo();
  await closed;
  const kept = outcomes.flatMap(({ status }, i) => status === "fulfilled" ? [`k${i}`] : []);
  const reasons = outcomes.flatMap((outcome) => {
    return outcome.status === "rejected" ? [outcome.reason] : [];
  });
  assertGreater(kept.length, 0);
  assertGreater(reasons.length, 0);
  assertEquals(reasons.filter((reason) => !(reason instanceof ShuttingDownError)), []);
  assertEquals(fatal, []);
  const again = await openOn(disk, JOURNAL_BYTES);
  assertEquals(again.store.list(), kept.sort());
  await again.store.close();
});
