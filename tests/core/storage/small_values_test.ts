/** Values of a few bytes take far more memory than journal: what that must not do to writers. */
import { assertEquals, assertGreater, assertLess } from "@std/assert";
import { Value } from "../../../core/value.ts";
import { Random } from "../system/random.ts";
import { SimulatedDisk } from "../system/simulated_disk.ts";
import { openOn } from "../../crash/workload.ts";

const JOURNAL_BYTES = 1_000_000;
// What an entry of 20 bytes takes in memory at least.
const ENTRY_BYTES = 300;
const WRITERS = 16;
const SAVES = 10_000;

for (const canFlushAll of [false, true]) {
  const how = canFlushAll ? "together" : "one by one";
  Deno.test(`JournalStore slows writers of small values, files flushed ${how}, and never stops them`, async () => {
    const disk = new SimulatedDisk(new Random(1));
    disk.canFlushAll = canFlushAll;
    let acknowledged = 0;
    let files = 0;
    /** Files made since the last save was acknowledged, and since the last segment was dropped. */
    let sinceSave = 0;
    let sinceDrop = 0;
    const most = { behind: 0, sinceSave: 0, inSegment: 0 };
    disk.fault = ({ kind, path }) => {
      if (kind === "rename" && path.startsWith("/data/k")) {
        files++;
        sinceSave++;
        sinceDrop++;
        most.sinceSave = Math.max(most.sinceSave, sinceSave);
        most.inSegment = Math.max(most.inSegment, sinceDrop);
      } else if (kind === "rename" && path.includes("/spare-") || kind === "remove") {
        sinceDrop = 0;
      }
      return undefined;
    };
    const { store, fatal } = await openOn(disk, JOURNAL_BYTES);
    let next = 0;
    await Promise.all(Array.from({ length: WRITERS }, async () => {
      while (next < SAVES) {
        await store.set(`k${next++}`, new Value("12345678901234567890"));
        acknowledged++;
        sinceSave = 0;
        most.behind = Math.max(most.behind, acknowledged - files);
      }
    }));
    assertEquals(store.size, SAVES);
    assertGreater(files, SAVES / 2);
    assertLess(most.behind, JOURNAL_BYTES / ENTRY_BYTES);
    // An eighth of the room, and what was in flight.
    assertLess(most.inSegment, JOURNAL_BYTES / ENTRY_BYTES / 8 + 2 * WRITERS);
    assertLess(most.sinceSave, JOURNAL_BYTES / ENTRY_BYTES / 8);
    await store.close();
    assertEquals(fatal, []);
    assertEquals(files, SAVES);
  });
}
