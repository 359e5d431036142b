/** A full disk, and the file of a deleted key that cannot be removed: no reason to end. */
import { assertEquals } from "@std/assert";
import { delay } from "@std/async/delay";
import type { OpenFile } from "../../../core/system/files.ts";
import { openJournalStore } from "../../../core/storage/open_journal_store.ts";
import { Value } from "../../../core/value.ts";
import { until } from "../../e2e/program.ts";
import { Random } from "../system/random.ts";
import { SimulatedDisk } from "../system/simulated_disk.ts";
import { FOLDER, openOn } from "../../crash/workload.ts";

Deno.test("A deleted file that cannot be removed on a full disk holds up no other", async () => {
  const disk = new SimulatedDisk(new Random(1));
  const { store, fatal } = await openOn(disk, 1_000_000);
  for (const key of ["a", "b"]) await store.set(key, new Value("v"));
  await until("both are files", () => disk.contents().has(`${FOLDER}/b`) || undefined);
  disk.fault = ({ kind, path }) => {
    if (kind === "remove" && path === `${FOLDER}/a`) return "broken";
    return kind === "create" && path.includes("/save-") ? "full" : undefined;
  };
  await Promise.all([
    store.set("c", new Value("v")),
    store.delete("a"),
    store.delete("b"),
  ]);
  await until("b is gone", () => !disk.contents().has(`${FOLDER}/b`) || undefined);
  await until("it is tried again", () => store.metrics.checkpointFailures > 1 || undefined);
  disk.fault = () => undefined;
  await until("all is written", () => store.metrics.journalSegments === 0 || undefined);
  const files = [...disk.contents().keys()].filter((path) => !path.includes("/.kvs/"));
  assertEquals(files, [`${FOLDER}/c`]);
  await store.close();
  assertEquals(fatal, []);
});

/** A disk that takes its time to find that it is full. */
class SlowFullDisk extends SimulatedDisk {
  isFull = false;

  override async create(path: string): Promise<OpenFile> {
    if (!this.isFull || !path.includes("/save-")) return await super.create(path);
    await delay(50);
    throw Object.assign(new Error("No space left on device (os error 28)"), { code: "ENOSPC" });
  }
}

Deno.test("A store that is closed on a full disk stops in time, and keeps its journal", async () => {
  const disk = new SlowFullDisk(new Random(1));
  const logged: string[] = [];
  const fatal: Error[] = [];
  const store = await openJournalStore(FOLDER, {
    files: disk,
    closeTimeoutMs: 20,
    log: (_, message) => logged.push(message),
    onFatal: (error) => fatal.push(error),
  });
  disk.isFull = true;
  await Promise.all([store.set("a", new Value("v")), store.delete("b")]);
  await store.close();
  assertEquals([fatal, disk.openFiles], [[], 0]);
  assertEquals(logged, [
    "stopped before all was in key files: the next start goes on from the journal",
  ]);
  const again = await openOn(disk.afterKill(), 1_000_000);
  assertEquals(again.store.list(), ["a"]);
  await again.store.close();
});
