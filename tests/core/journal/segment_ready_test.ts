/** A save need not wait until a segment of the journal is begun: one is ready. */
import { assertEquals, assertRejects } from "@std/assert";
import { StorageFailedError, StorageFullError } from "../../../core/errors.ts";
import { Journal } from "../../../core/journal/journal.ts";
import { Value } from "../../../core/value.ts";
import { until } from "../../e2e/program.ts";
import { frame, keysFound } from "./testing.ts";
import { Random } from "../system/random.ts";
import { type Operation, SimulatedDisk } from "../system/simulated_disk.ts";
import { openOn } from "../../crash/workload.ts";

/** A journal without segments; those of `leastBytes` or more are kept to be written over. */
function journalOn(files: SimulatedDisk, leastBytes = 1e6): Journal {
  const spares = { leastBytes, mostBytes: 1e9 };
  return new Journal("/h", { files, found: new Map(), spares });
}

/** A journal with one file to write over, and no segment. */
async function withSpare(files: SimulatedDisk): Promise<Journal> {
  const journal = journalOn(files, 1);
  await journal.append(frame("a".repeat(200)));
  journal.seal();
  await journal.drop(1);
  return journal;
}

function segmentsOn(disk: SimulatedDisk): string[] {
  return [...disk.contents().keys()].filter((path) => path.includes("/journal-")).sort();
}

/** Runs `action`, and tells what kinds of operations the disk has seen meanwhile, reads apart. */
async function kindsOf(
  disk: SimulatedDisk,
  action: () => Promise<unknown>,
): Promise<Operation["kind"][]> {
  const kinds: Operation["kind"][] = [];
  disk.fault = ({ kind }) => {
    kinds.push(kind);
    return undefined;
  };
  await action();
  disk.fault = () => undefined;
  return kinds;
}

Deno.test("Journal.prepare() leaves to the next frame one write and one flush", async () => {
  const disk = new SimulatedDisk(new Random(1));
  const journal = journalOn(disk);
  await journal.prepare();
  assertEquals([journal.bytes, journal.activeBytes, journal.segments], [0, 0, 0]);
  assertEquals(await kindsOf(disk, () => journal.append(frame("a"))), ["write", "flush"]);
  assertEquals(journal.segments, 1);
  assertEquals(journal.bytes, journal.activeBytes);
  // There is one already.
  assertEquals(await kindsOf(disk, () => journal.prepare()), []);
  journal.seal();
  assertEquals(journal.oldestSealed, 1);
  await journal.prepare();
  // What has no frames is not sealed.
  journal.seal();
  assertEquals(await kindsOf(disk, () => journal.append(frame("b"))), ["write", "flush"]);
  await journal.close();
  assertEquals(disk.openFiles, 0);
  assertEquals(await keysFound(disk, [1, 2]), ["a", "b"]);
});

Deno.test("Journal.removeSpares() counts what a segment that is being begun is to write over", async () => {
  const disk = new SimulatedDisk(new Random(9));
  const journal = await withSpare(disk);
  const prepared = journal.prepare();
  assertEquals(await journal.removeSpares(), true);
  await prepared;
  assertEquals((disk.contents().get("/h/journal-00000002")?.length ?? 0) < 200, true);
  await journal.close();
  assertEquals(disk.openFiles, 0);
});

Deno.test("A store has a segment ready behind a checkpoint that it was in haste for", async () => {
  const disk = new SimulatedDisk(new Random(7));
  const { store, fatal } = await openOn(disk, 20_000);
  for (let i = 0; i < 20; i++) await store.set(`k${i}`, new Value(".".repeat(1000)));
  await until("a segment is ready", () => {
    return store.metrics.journalSegments === 0 && segmentsOn(disk).length === 1 || undefined;
  });
  assertEquals(
    await kindsOf(disk, () => store.set("one", new Value("more"))),
    ["write", "flush"],
  );
  await store.close();
  assertEquals(fatal, []);
});

Deno.test("Journal.prepare() and append() at the same time begin one segment", async () => {
  const disk = new SimulatedDisk(new Random(2));
  const journal = journalOn(disk);
  await Promise.all([journal.prepare(), journal.append(frame("a")), journal.prepare()]);
  assertEquals(segmentsOn(disk), ["/h/journal-00000001"]);
  await journal.close();
  assertEquals(disk.openFiles, 0);
});

Deno.test("Journal.close() removes a segment without frames, also one that is being begun", async () => {
  for (const isWaiting of [true, false]) {
    const disk = new SimulatedDisk(new Random(3));
    const journal = journalOn(disk);
    const prepared = journal.prepare();
    if (isWaiting) await prepared;
    await journal.close();
    await prepared;
    assertEquals(segmentsOn(disk), []);
    assertEquals(disk.openFiles, 0);
  }
});

Deno.test("Journal.prepare() fails on a full disk and leaves nothing; append() begins later", async () => {
  const disk = new SimulatedDisk(new Random(4));
  const journal = journalOn(disk);
  disk.fault = ({ kind }) => kind === "write" ? "full" : undefined;
  await assertRejects(() => journal.prepare(), StorageFullError);
  assertEquals(segmentsOn(disk), []);
  disk.fault = () => undefined;
  await journal.append(frame("a"));
  await journal.close();
  const broken = new SimulatedDisk(new Random(4));
  broken.fault = ({ kind }) => kind === "flush" ? "broken" : undefined;
  await assertRejects(() => journalOn(broken).prepare(), StorageFailedError);
});

Deno.test("A save is one write and one flush, the first one and those behind a checkpoint", async () => {
  const disk = new SimulatedDisk(new Random(5));
  const { store } = await openOn(disk, 2 ** 20);
  for (const key of ["a", "b", "c"]) {
    let operations = 0;
    await until(`a segment is ready for ${key}, and nothing is under way`, () => {
      const isQuiet = operations === disk.operations;
      operations = disk.operations;
      return isQuiet && segmentsOn(disk).length === 1 && disk.openFiles === 1 || undefined;
    });
    const save = () => store.set(key, new Value(key));
    assertEquals(await kindsOf(disk, save), ["write", "flush"], key);
    await until(
      `${key} is a file`,
      () => [...disk.contents().keys()].some((path) => path.endsWith(`/${key}`)) || undefined,
    );
  }
  await store.close();
  assertEquals(segmentsOn(disk), []);
});

Deno.test("A store that has no room for a segment at its start opens, and saves when there is some", async () => {
  const disk = new SimulatedDisk(new Random(6));
  disk.fault = ({ kind, path }) =>
    kind === "create" && path.includes("/journal-") ? "full" : undefined;
  const { store } = await openOn(disk, 2 ** 20);
  await assertRejects(() => store.set("a", new Value("a")), StorageFullError);
  disk.fault = () => undefined;
  await store.set("a", new Value("a"));
  await store.close();
});

Deno.test("A failed flush ends the store also where no save waits for it: a segment being begun", async () => {
  const disk = new SimulatedDisk(new Random(7));
  disk.fault = ({ kind, path }) =>
    kind === "flush" && path.endsWith("/journal-00000002") ? "broken" : undefined;
  const { store, fatal } = await openOn(disk, 2 ** 20);
  await store.set("a", new Value("a"));
  await until("the failure is told", () => fatal.length > 0 || undefined);
  assertEquals(fatal.length, 1);
  await assertRejects(() => store.set("b", new Value("b")), StorageFailedError);
  await store.close();
});

Deno.test("A segment that was ready at a clean end does not come back beside those of the next start", async () => {
  let cases = 0;
  for (let seed = 0; seed < 40; seed++) {
    for (let cutAt = 0;; cutAt++) {
      const disk = new SimulatedDisk(new Random(seed));
      const first = await openOn(disk, 2 ** 20);
      await first.store.set("a", new Value("a"));
      await first.store.close();
      // As one is that follows a checkpoint.
      const journal = new Journal("/data/.kvs", {
        files: disk,
        found: new Map([[1, 0]]),
        spares: { leastBytes: 1e6, mostBytes: 1e9 },
      });
      await journal.prepare();
      await journal.close();
      let cut: SimulatedDisk | undefined;
      let operations = 0;
      disk.fault = () => {
        if (operations++ === cutAt) cut = disk.afterPowerCut("some survives");
        return undefined;
      };
      const second = await openOn(disk, 2 ** 20);
      await second.store.set("b", new Value("b"));
      await second.store.close();
      if (cut === undefined) break;
      const third = await openOn(cut, 2 ** 20);
      const value = await third.store.get("a");
      assertEquals(value instanceof Value && value.text, "a", `seed ${seed}, operation ${cutAt}`);
      await third.store.close();
      cases++;
    }
  }
  console.log(`power cuts behind a clean end: ${cases} cases`);
});

Deno.test("Journal.abandon() waits for a segment that is being begun, and leaves no file open", async () => {
  const disk = new SimulatedDisk(new Random(8));
  const journal = journalOn(disk);
  const prepared = journal.prepare();
  await journal.abandon();
  assertEquals(disk.openFiles, 0);
  assertEquals(await kindsOf(disk, () => prepared), []);
});

Deno.test("Journal.removeSpares() also gives back what a ready segment is to write over", async () => {
  const disk = new SimulatedDisk(new Random(9));
  const journal = await withSpare(disk);
  await journal.prepare();
  const bytes = () => disk.contents().get("/h/journal-00000002")?.length ?? 0;
  assertEquals(bytes() > 200, true);
  // A frame that comes meanwhile goes behind it.
  const [given] = await Promise.all([journal.removeSpares(), journal.append(frame("c"))]);
  assertEquals(given, true);
  assertEquals(bytes() > 24 && bytes() < 200, true);
  assertEquals(await journal.removeSpares(), false);
  await journal.append(frame("d"));
  await journal.close();
  assertEquals(disk.openFiles, 0);
  assertEquals(await keysFound(disk, [2]), ["c", "d"]);
});

Deno.test("Journal.removeSpares() leaves alone what a frame is being written to", async () => {
  const disk = new SimulatedDisk(new Random(10));
  const journal = await withSpare(disk);
  await journal.prepare();
  const appended = journal.append(frame("b"));
  assertEquals(await journal.removeSpares(), false);
  await appended;
  await journal.close();
  assertEquals(await keysFound(disk, [2]), ["b"]);
});

Deno.test("A disk that tells only at the flush of a new segment that it is full refuses saves, and ends nothing", async () => {
  const disk = new SimulatedDisk(new Random(11));
  disk.fault = ({ kind, path }) =>
    kind === "flush" && path.includes("/journal-") ? "full" : undefined;
  const { store, fatal } = await openOn(disk, 2 ** 20);
  await assertRejects(() => store.set("a", new Value("a")), StorageFullError);
  assertEquals(fatal, []);
  disk.fault = () => undefined;
  await store.set("a", new Value("a"));
  await store.close();
});

Deno.test("A clean end is one also where somebody removed the segment that was ready", async () => {
  const disk = new SimulatedDisk(new Random(12));
  const { store } = await openOn(disk, 2 ** 20);
  await until(
    "a segment is ready",
    () => segmentsOn(disk).length === 1 && disk.openFiles === 1 || undefined,
  );
  await disk.remove("/data/.kvs/journal-00000001");
  await store.close();
});

Deno.test("Journal.removeSpares() takes nothing from a frame, whenever it comes", async () => {
  let given = 0;
  for (const kind of ["flush", "write"] as const) {
    for (let microtasks = 0; microtasks < 40; microtasks++) {
      const disk = new SimulatedDisk(new Random(13));
      const journal = await withSpare(disk);
      let removed: Promise<boolean[]> | undefined;
      const remove = async () => {
        for (let i = 0; i < microtasks; i++) await undefined;
        // Both wait for the same room.
        return await Promise.all([journal.removeSpares(), journal.removeSpares()]);
      };
      disk.fault = (operation) => {
        if (operation.kind === kind) removed ??= remove();
        return undefined;
      };
      await journal.append(frame("b"));
      const label = `${microtasks} behind a ${kind}`;
      assertEquals(journal.activeSegment, 2, label);
      await journal.append(frame("c"));
      const [first, second] = await removed ?? [];
      assertEquals(first, second, label);
      if (first) given++;
      await journal.close();
      assertEquals(disk.openFiles, 0, label);
      assertEquals(await keysFound(disk, [2]), ["b", "c"], label);
    }
  }
  assertEquals(given > 0, true);
});

/** A disk that takes its time to remove files. */
class SlowDisk extends SimulatedDisk {
  override async remove(path: string): Promise<void> {
    for (let i = 0; i < 100; i++) await undefined;
    await super.remove(path);
  }
}

Deno.test("Journal.close() and abandon() wait for room that is being given back", async () => {
  for (const end of ["close", "abandon"] as const) {
    const disk = new SlowDisk(new Random(14));
    const journal = await withSpare(disk);
    const removed = journal.removeSpares();
    await journal[end]();
    assertEquals(await kindsOf(disk, () => removed), [], end);
  }
});
