import { assert, assertEquals, assertRejects } from "@std/assert";
import { StartError, StorageBusyError, StorageFailedError } from "../../../core/errors.ts";
import { Value } from "../../../core/value.ts";
import { Random } from "../system/random.ts";
import { type Fault, type Operation, SimulatedDisk } from "../system/simulated_disk.ts";
import { faultyOperations, SEEDS } from "../../crash/cases.ts";
import { openOn, Workload } from "../../crash/workload.ts";

const JOURNALS = [1_000_000, 700];
const WRITES = 25;
const RESERVE_BYTES = 100;

/** Whether a disk without room can refuse this operation. */
const takesRoom = ({ kind }: Operation) => kind === "write" || kind === "create";
const flushes = ({ kind }: Operation) => kind === "flush";

/** What takes a descriptor; a folder is opened to be flushed. */
const opens = ({ kind, path }: Operation) => {
  return kind === "create" || kind === "open" || kind === "flush" && FOLDERS.has(path);
};
const FOLDERS = new Set(["/data", "/data/.kvs"]);

/** Calls `run` with numbers of operations that `counts`, for each seed and journal. */
async function forEachOperation(
  counts: (operation: Operation) => boolean,
  run: (position: number, seed: number, journalBytes: number) => Promise<void>,
): Promise<number> {
  let cases = 0;
  for (let seed = 0; seed < SEEDS; seed++) {
    for (const journalBytes of JOURNALS) {
      let positions = 0;
      const random = new Random(seed);
      const disk = new SimulatedDisk(random);
      disk.vary(seed);
      disk.fault = (operation) => {
        if (counts(operation)) positions++;
        return undefined;
      };
      const { store } = await openOn(disk, journalBytes);
      await new Workload(random).run(store, WRITES);
      await store.close();
      for (const position of faultyOperations(positions, seed)) {
        await run(position, seed, journalBytes);
        cases++;
      }
    }
  }
  return cases;
}

/** Makes operations that `counts` fail, from number `first` to before number `end`. */
function failing(
  counts: (operation: Operation) => boolean,
  fault: Fault,
  first: number,
  end: number,
): (operation: Operation) => Fault | undefined {
  let position = 0;
  return (operation) => {
    if (!counts(operation)) return undefined;
    const at = position++;
    if (at < first || at >= end) return undefined;
    // Where a write was cut short it is tried again for the rest, and only then there is no room.
    return fault === "short" && at > first ? "full" : fault;
  };
}

Deno.test("JournalStore survives a full disk at every write, and goes on when there is room", async () => {
  let refused = 0;
  const cases = await forEachOperation(takesRoom, async (position, seed, journalBytes) => {
    for (const [fault, length] of [["full", 1], ["short", 2], ["full", 12]] as const) {
      const label = `seed ${seed}, journal ${journalBytes}, ${fault} at ${position}`;
      const reserve = seed % 2 === 0 ? RESERVE_BYTES : 0;
      const random = new Random(seed);
      const disk = new SimulatedDisk(random);
      disk.vary(seed);
      const { store, fatal } = await openOn(disk, journalBytes, reserve);
      disk.fault = failing(takesRoom, fault, position, position + length);
      const workload = new Workload(random);
      await workload.run(store, WRITES);
      refused += workload.count("refused");
      assertEquals(workload.count("unknown"), 0, label);
      await workload.check(store, label);
      disk.fault = () => undefined;
      await workload.run(store, WRITES);
      await workload.check(store, label);
      // As after a kill, then after an orderly end.
      const killed = await openOn(disk.afterKill(), journalBytes, reserve);
      await workload.check(killed.store, label);
      await killed.store.close();
      await store.close();
      assertEquals(disk.openFiles, 0, label);
      assertEquals(fatal, [], label);
      const hidden = [...disk.contents().keys()].filter((path) => path.startsWith("/data/.kvs/"));
      assertEquals(
        hidden.filter((path) => !/\/(content-types|reserve|oldest-\d+-clean)$/.test(path)),
        [],
        label,
      );
      const again = await openOn(disk, journalBytes, reserve);
      await workload.check(again.store, label);
      await again.store.close();
    }
  });
  console.log(`full disk: ${3 * cases} cases, ${refused} writes refused`);
  assert(refused > 0);
});

Deno.test("JournalStore survives that no file can be opened, from every open on, and goes on", async () => {
  let refused = 0;
  const cases = await forEachOperation(opens, async (position, seed, journalBytes) => {
    for (const length of [1, 12]) {
      const label = `seed ${seed}, journal ${journalBytes}, ${length} from ${position}`;
      const random = new Random(seed);
      const disk = new SimulatedDisk(random);
      disk.vary(seed);
      const { store, fatal } = await openOn(disk, journalBytes);
      disk.fault = failing(opens, "exhausted", position, position + length);
      const workload = new Workload(random);
      await workload.run(store, WRITES);
      disk.fault = () => undefined;
      refused += workload.count("refused");
      assertEquals(fatal, [], label);
      assertEquals(workload.count("unknown"), 0, label);
      await workload.check(store, label);
      const cut = await openOn(disk.afterPowerCut("some survives"), journalBytes);
      await workload.copy().check(cut.store, label);
      await cut.store.close();
      await workload.run(store, WRITES);
      await workload.check(store, label);
      const killed = await openOn(disk.afterKill(), journalBytes);
      await workload.check(killed.store, label);
      await killed.store.close();
      await store.close();
      assertEquals([fatal, disk.openFiles], [[], 0], label);
      const again = await openOn(disk, journalBytes);
      await workload.check(again.store, label);
      await again.store.close();
    }
  });
  console.log(`no open files: ${2 * cases} cases, ${refused} writes refused`);
  assert(refused > 0);
});

Deno.test("JournalStore does not start without open files, and does not call the disk broken", async () => {
  for (const folder of FOLDERS) {
    const disk = new SimulatedDisk(new Random(1));
    disk.fault = ({ kind, path }) => kind === "flush" && path === folder ? "exhausted" : undefined;
    await assertRejects(() => openOn(disk, 1000), StartError, "Too many open files");
  }
});

Deno.test("JournalStore refuses a read with the reason, and does not say that nothing was changed", async () => {
  const disk = new SimulatedDisk(new Random(1));
  const { store } = await openOn(disk, 1_000_000);
  await store.set("key", new Value("v".repeat(2000)));
  await store.close();
  const again = await openOn(disk, 1_000_000);
  disk.fault = ({ kind }) => kind === "open" ? "exhausted" : undefined;
  await assertRejects(
    async () => await again.store.get("key"),
    StorageBusyError,
    "Busy: the value cannot be read for now: Too many open files",
  );
  disk.fault = () => undefined;
  await again.store.close();
});

Deno.test("JournalStore ends at every flush that fails, and nothing acknowledged is lost", async () => {
  const cases = await forEachOperation(flushes, async (position, seed, journalBytes) => {
    const label = `seed ${seed}, journal ${journalBytes}, flush ${position}`;
    const random = new Random(seed);
    const disk = new SimulatedDisk(random);
    disk.vary(seed);
    disk.fault = failing(flushes, "broken", position, Infinity);
    const workload = new Workload(random);
    if (position < 3) {
      // Those of the folder which was just made, of the one that it is in, and of what a start notes there: no store
      // is opened.
      await assertRejects(() => openOn(disk, journalBytes), StorageFailedError, "os error 5");
      return;
    }
    const { store, fatal } = await openOn(disk, journalBytes);
    await workload.run(store, WRITES);
    await store.close();
    assertEquals(fatal.length, 1, label);
    assert(fatal[0]?.message.includes("os error 5"), label);
    for (
      const call of [
        () => store.set("a", new Value("")),
        () => store.delete("a"),
        async () => await store.get("a"),
      ]
    ) {
      await assertRejects(call, StorageFailedError);
    }
    for (const next of [disk.afterKill(), disk.afterPowerCut("nothing survives")]) {
      const again = await openOn(next, journalBytes);
      await workload.copy().check(again.store, label);
      await again.store.close();
    }
  });
  console.log(`failed flushes: ${cases} cases`);
});

Deno.test("JournalStore refuses writes rather than hang when journal and disk are full", async () => {
  const random = new Random(1);
  const disk = new SimulatedDisk(random);
  const { store, logged, fatal } = await openOn(disk, 2000);
  let isFull = true;
  // Room for the journal, none for key files.
  disk.fault = ({ kind, path }) => {
    return isFull && kind === "create" && path.includes("/save-") ? "full" : undefined;
  };
  const outcomes = await Promise.allSettled(
    Array.from({ length: 100 }, (_, i) => store.set(`k${i}`, new Value(new Uint8Array(50)))),
  );
  const saved = outcomes.flatMap(({ status }, i) => status === "fulfilled" ? [`k${i}`] : []);
  assert(saved.length > 0 && saved.length < 100, `${saved.length} saved`);
  assertEquals(store.list(), saved.toSorted());
  assertEquals(logged.length, 1);
  await assertRejects(() => store.set("late", new Value("")), Error, "Disk full");
  isFull = false;
  await store.close();
  assertEquals(fatal, []);
  const again = await openOn(disk, 2000);
  assertEquals(again.store.list(), saved.toSorted());
  await again.store.close();
});
