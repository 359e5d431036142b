import { assert, assertEquals } from "@std/assert";
import { LARGE_VALUE_BYTES } from "../../../core/protocol.ts";
import { Value } from "../../../core/value.ts";
import { load, loadText, pattern } from "./store_contract.ts";
import { until } from "../../e2e/program.ts";
import { Random } from "../system/random.ts";
import { SimulatedDisk } from "../system/simulated_disk.ts";
import { openOn } from "../../crash/workload.ts";

const JOURNAL_BYTES = 20_000;

/** A disk on which folders can be put in the way of key files. */
class BlockedDisk extends SimulatedDisk {
  readonly blocked = new Set<string>();

  override async rename(from: string, to: string): Promise<void> {
    if (this.blocked.has(to)) {
      throw new Deno.errors.IsADirectory(`Is a directory (os error 21): ${to}`);
    }
    await super.rename(from, to);
  }
}

Deno.test("JournalStore writes all other keys while a folder is in the way of one", async () => {
  const disk = new BlockedDisk(new Random(1));
  disk.blocked.add("/data/a").add("/data/large");
  const { store, fatal, logged } = await openOn(disk, JOURNAL_BYTES);
  await store.set("a", new Value("kept"));
  await store.set("large", new Value(pattern(LARGE_VALUE_BYTES + 1)));
  // Many times what the journal holds.
  for (let i = 0; i < 1000; i++) await store.set(`k${i}`, new Value(`${i}`));
  assertEquals(await loadText(store, "a"), "kept");
  assertEquals(logged.length, 1);
  assert(/data.(a|large).*is not a file: move it away/.test(logged[0] ?? ""), logged[0]);
  const killed = await openOn(disk.afterKill().afterPowerCut("nothing survives"), JOURNAL_BYTES);
  assertEquals(killed.store.size, 1002);
  assertEquals(await loadText(killed.store, "a"), "kept");
  assertEquals((await load(killed.store, "large"))?.bytes, pattern(LARGE_VALUE_BYTES + 1));
  await killed.store.close();
  disk.blocked.clear();
  await until("the file of a is there", () => disk.contents().get("/data/a"));
  await store.close();
  assertEquals(disk.contents().get("/data/a"), new TextEncoder().encode("kept"));
  assertEquals(disk.contents().get("/data/large"), pattern(LARGE_VALUE_BYTES + 1));
  assertEquals(fatal, []);
});

Deno.test("JournalStore never brings an older value back when it keeps one for later", async () => {
  const disk = new BlockedDisk(new Random(2));
  disk.blocked.add("/data/a");
  const { store } = await openOn(disk, JOURNAL_BYTES);
  let written = 0;
  await store.set("a", new Value("0"));
  // Its entry is in a segment that is being written while the next values come.
  while (written < 300) {
    const fill = store.set(`k${written}`, new Value(pattern(500)));
    written++;
    if (written > 1 && store.list({ prefix: "a" }).length === 0) throw new Error("a is gone");
    await Promise.all([fill, writeUnlessBlocked(store.set("a", new Value(`${written}`)))]);
  }
  const last = await loadText(store, "a");
  const again = await openOn(disk.afterKill(), JOURNAL_BYTES);
  assertEquals(await loadText(again.store, "a"), last);
  await again.store.close();
  disk.blocked.clear();
  await store.close();
  assertEquals(new TextDecoder().decode(disk.contents().get("/data/a")), last);
});

/** Once the checkpoint has found the folder, saves of the key are refused with its name. */
async function writeUnlessBlocked(save: Promise<unknown>): Promise<void> {
  try {
    await save;
  } catch (error) {
    assert(String(error).includes('"a" in the data directory is not a file'), String(error));
  }
}
