/** What a start makes of segments and marks that do not fit: no acknowledged write is removed in silence. */
import { assert, assertEquals, assertInstanceOf } from "@std/assert";
import { StorageFailedError } from "../../../core/errors.ts";
import { Value } from "../../../core/value.ts";
import { Random } from "../system/random.ts";
import { SimulatedDisk } from "../system/simulated_disk.ts";
import { FOLDER, openOn } from "../../crash/workload.ts";

const HIDDEN = `${FOLDER}/.kvs`;
const JOURNAL_BYTES = 1_000_000;
const NOTHING = new Uint8Array(0);

/** A disk whose journal has the segments 1 to 3, with a key each, and no mark. */
async function killedWithThree(): Promise<SimulatedDisk> {
  let disk = new SimulatedDisk(new Random(7));
  for (let count = 1; count <= 3; count++) {
    const { store } = await openOn(disk, JOURNAL_BYTES);
    // Nothing is to become a file.
    disk.fault = ({ kind, path }) => kind === "create" && /save-/.test(path) ? "full" : undefined;
    await store.set(`key-${count}`, new Value("v"));
    const next = disk.afterKill();
    await store.close();
    disk = next;
  }
  for (const path of disk.contents().keys()) {
    if (path.includes("/oldest-")) await disk.remove(path);
  }
  return disk;
}

const ALL = ["key-1", "key-2", "key-3"];

for (
  const marks of [
    // A version without marks has run since an orderly end.
    ["oldest-9-clean"],
    ["oldest-4-clean"],
    ["oldest-2-clean"],
    // A backup was copied over a folder.
    ["oldest-1", "oldest-9"],
    ["oldest-1", "oldest-4-clean"],
    ["oldest-1", "oldest-1-clean"],
    ["oldest-0-clean", "oldest-1"],
  ]
) {
  for (const order of marks.length > 1 ? [marks, marks.toReversed()] : [marks]) {
    Deno.test(`A start replays all segments beside ${order.join(" and ")}`, async () => {
      const disk = await killedWithThree();
      for (const mark of order) disk.put(`${HIDDEN}/${mark}`, NOTHING);
      const { store } = await openOn(disk, JOURNAL_BYTES);
      assertEquals(store.list(), ALL);
      const killed = await openOn(disk.afterKill(), JOURNAL_BYTES);
      assertEquals(killed.store.list(), ALL);
      await killed.store.close();
      await store.close();
      const left = [...disk.contents().keys()].filter((path) => path.includes("/oldest-"));
      assertEquals(left.length, 1, left.join());
      const again = await openOn(disk, JOURNAL_BYTES);
      assertEquals(again.store.list(), ALL);
      await again.store.close();
    });
  }
}

for (
  const [marks, first] of [
    [["oldest-9"], 1],
    [["oldest-4"], 1],
    [["oldest-2", "oldest-9"], 1],
  ] as const
) {
  Deno.test(`A start refuses a segment that no power cut explains below ${marks.join(" and ")}`, async () => {
    const disk = await killedWithThree();
    for (const mark of marks) disk.put(`${HIDDEN}/${mark}`, NOTHING);
    const before = [...disk.contents().keys()];
    const error = await openOn(disk, JOURNAL_BYTES).catch((error) => error);
    assertInstanceOf(error, StorageFailedError);
    const segment = `${HIDDEN}/journal-0000000${first}`;
    assert(error.message.includes(`${segment} is older than ${marks[0]} says`), error.message);
    assertEquals([...disk.contents().keys()], before);
    // As the message says.
    for (const mark of marks) await disk.remove(`${HIDDEN}/${mark}`);
    const { store } = await openOn(disk, JOURNAL_BYTES);
    assertEquals(store.list(), ALL);
    await store.close();
  });
}

Deno.test("A start leaves out the segments whose removal a power cut may have undone, and no more", async () => {
  for (const [mark, left] of [[2, ["key-2", "key-3"]], [3, ["key-3"]]] as const) {
    const disk = await killedWithThree();
    disk.put(`${HIDDEN}/oldest-${mark}`, NOTHING);
    const { store, logged } = await openOn(disk, JOURNAL_BYTES);
    assertEquals([store.list(), logged], [left, []]);
    await store.close();
  }
});

Deno.test("A power cut after an orderly end leaves no word of a journal that is gone", async () => {
  for (let seed = 0; seed < 20; seed++) {
    for (const cut of ["nothing survives", "some survives"] as const) {
      const disk = new SimulatedDisk(new Random(seed));
      const { store } = await openOn(disk, JOURNAL_BYTES);
      await store.set("key", new Value("v"));
      await store.close();
      const again = await openOn(disk.afterPowerCut(cut), JOURNAL_BYTES);
      assertEquals([again.store.list(), again.logged], [["key"], []]);
      assertEquals(again.store.metrics.journalBytes, 0);
      await again.store.close();
    }
  }
});

Deno.test("A start tells that the newest segment is gone, and only then", async () => {
  let disk = await killedWithThree();
  // Its mark tells of the newest from the second start on.
  const { store } = await openOn(disk, JOURNAL_BYTES);
  disk.fault = ({ kind, path }) => kind === "create" && /save-/.test(path) ? "full" : undefined;
  await store.set("key-4", new Value("v"));
  const killed = disk.afterKill();
  disk.fault = () => undefined;
  await store.close();
  disk = killed.afterPowerCut("nothing survives");
  const whole = disk.afterKill();
  await disk.remove(`${HIDDEN}/journal-00000004`);
  for (const isTold of [true, false]) {
    const { store, logged } = await openOn(disk, JOURNAL_BYTES);
    assertEquals(store.list(), ALL);
    assertEquals(logged.filter((line) => line.includes("journal-00000004")).length, isTold ? 1 : 0);
    const next = disk.afterKill();
    await store.close();
    disk = next;
  }
  const again = await openOn(whole, JOURNAL_BYTES);
  assertEquals([again.store.list(), again.logged], [[...ALL, "key-4"], []]);
  await again.store.close();
});

Deno.test("A start that finds the journal as it was left tells of nothing that is gone", async () => {
  for (let seed = 0; seed < 20; seed++) {
    let disk = new SimulatedDisk(new Random(seed));
    for (let round = 0; round < 5; round++) {
      const { store, logged } = await openOn(disk, 700);
      for (let i = 0; i < 10; i++) await store.set(`key-${i}`, new Value("v".repeat(100)));
      assertEquals(logged, []);
      const killed = disk.afterKill();
      await store.close();
      if (round % 2 === 0) disk = killed;
      const marks = [...disk.contents().keys()].filter((path) => path.includes("/oldest-"));
      assertEquals(marks.length, 1, marks.join());
    }
  }
});
