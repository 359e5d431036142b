import { assertEquals, assertRejects } from "@std/assert";
import { StorageFailedError, StorageFullError } from "../../../core/errors.ts";
import { Journal } from "../../../core/journal/journal.ts";
import { FrameBuffer } from "../../../core/journal/frame_buffer.ts";
import { Value } from "../../../core/value.ts";
import { frame, keysFound } from "./testing.ts";
import { Random } from "../system/random.ts";
import { SimulatedDisk } from "../system/simulated_disk.ts";

/** A disk on which the next flush of a folder can be held up. */
class SlowDisk extends SimulatedDisk {
  hold: Promise<void> | undefined;

  override async syncFolder(folder: string): Promise<void> {
    const { hold } = this;
    this.hold = undefined;
    await hold;
    await super.syncFolder(folder);
  }
}

Deno.test("Journal does not write over a dropped segment whose old name could come back", async () => {
  const disk = new SlowDisk(new Random(1));
  const journal = new Journal("/h", {
    files: disk,
    found: new Map(),
    spares: { leastBytes: 1, mostBytes: 1e9 },
  });
  for (const key of ["a", "b"]) {
    await journal.append(frame(key));
    journal.seal();
  }
  const { promise: hold, resolve: letGo } = Promise.withResolvers<void>();
  disk.hold = hold;
  let cut: SimulatedDisk | undefined;
  disk.fault = ({ kind, path }) => {
    // The power goes when the next segment has its header, or the spare one its old name behind it.
    if (kind === "flush" && path.endsWith("/h")) cut ??= disk.afterPowerCut("nothing survives");
    return undefined;
  };
  const dropped = journal.drop(1);
  const appended = journal.append(frame("c"));
  await appended;
  letGo();
  await dropped;
  const segments = [...cut?.contents().keys() ?? []].filter((path) => path.includes("journal-"));
  assertEquals(segments.sort(), ["/h/journal-00000001", "/h/journal-00000002"]);
  assertEquals(await keysFound(cut ?? disk, [1, 2]), ["a", "b"]);
  // From then on it may be used.
  journal.seal();
  await journal.append(frame("d"));
  assertEquals([...disk.contents().keys()].some((path) => path.includes("/spare")), false);
  await journal.close();
});

Deno.test("Journal does not bring back a frame that had no room, though old bytes of its file are like its rest", async () => {
  const disk = new SimulatedDisk(new Random(1));
  disk.canWriteDurably = true;
  const journal = new Journal("/h", {
    files: disk,
    found: new Map(),
    spares: { leastBytes: 1, mostBytes: 1e9 },
  });
  const key = "a".repeat(200);
  await journal.append(frame(key));
  journal.seal();
  await journal.drop(1);
  await journal.prepare();
  let writes = 0;
  // The first half is flushed, then there is no room.
  disk.fault = ({ kind }) => kind === "write" ? writes++ === 0 ? "short" : "full" : undefined;
  await assertRejects(() => journal.append(frame(key)), StorageFullError);
  assertEquals(writes > 1, true);
  disk.fault = () => undefined;
  for (const cut of ["nothing survives", "all survives"] as const) {
    assertEquals(await keysFound(disk.afterPowerCut(cut), [2]), [], cut);
  }
  await journal.append(frame("b"));
  assertEquals(await keysFound(disk.afterPowerCut("nothing survives"), [2]), ["b"]);
  await journal.close();
});

Deno.test("Journal goes on where cutting off finds no room either, and ends where that fails", async () => {
  for (const fault of ["full", "broken"] as const) {
    const disk = new SimulatedDisk(new Random(1));
    const spares = { leastBytes: 1e9, mostBytes: 0 };
    const journal = new Journal("/h", { files: disk, found: new Map(), spares });
    await journal.append(frame("a"));
    disk.fault = ({ kind }) => kind === "write" ? "full" : kind === "flush" ? fault : undefined;
    const expected = fault === "full" ? StorageFullError : StorageFailedError;
    await assertRejects(() => journal.append(frame("b")), expected);
    disk.fault = () => undefined;
    if (fault === "full") await journal.append(frame("c"));
    await journal.abandon();
    assertEquals(await keysFound(disk, [1]), fault === "full" ? ["a", "c"] : ["a"]);
  }
});

/** The spare files on a disk. */
function sparesOn(disk: SimulatedDisk): string[] {
  return [...disk.contents().keys()].filter((path) => path.startsWith("/h/spare-")).sort();
}

/** A journal with so many segments that were filled and dropped. */
async function withDropped(
  disk: SimulatedDisk,
  count: number,
  mostBytes: number,
): Promise<Journal> {
  const options = { files: disk, found: new Map(), spares: { leastBytes: 1, mostBytes } };
  const journal = new Journal("/h", options);
  for (let number = 1; number <= count; number++) {
    await journal.append(frame(`k${number}`));
    journal.seal();
  }
  for (let number = 1; number <= count; number++) await journal.drop(number);
  return journal;
}

Deno.test("Journal keeps the files of dropped segments up to its bound, and writes over each", async () => {
  const disk = new SimulatedDisk(new Random(2));
  // A segment with one frame has fewer than 100 bytes.
  const journal = await withDropped(disk, 5, 200);
  const spares = sparesOn(disk).length;
  assertEquals(spares >= 2 && spares < 5, true);
  let created = 0;
  disk.fault = ({ kind }) => {
    if (kind === "create") created++;
    return undefined;
  };
  for (let number = 1; number <= spares; number++) {
    await journal.append(frame(`l${number}`));
    journal.seal();
  }
  assertEquals(sparesOn(disk), []);
  assertEquals(created, 0);
  await journal.append(frame("m"));
  assertEquals(created, 1);
  await journal.close();
  const numbers = Array.from({ length: spares + 1 }, (_, i) => i + 6);
  assertEquals(await keysFound(disk, numbers), [
    ...Array.from({ length: spares }, (_, i) => `l${i + 1}`),
    "m",
  ]);
});

Deno.test("Journal counts a spare file by what it takes on the disk, not by what was written last", async () => {
  const disk = new SimulatedDisk(new Random(8));
  const options = { files: disk, found: new Map(), spares: { leastBytes: 1, mostBytes: 1500 } };
  const journal = new Journal("/h", options);
  const fill = async (size: number) => {
    const frame = new FrameBuffer();
    frame.putValue("k", new Value("v".repeat(size)));
    await journal.append(frame);
    journal.seal();
  };
  await fill(1000);
  await journal.drop(1);
  assertEquals(sparesOn(disk), ["/h/spare-1"]);
  // Written over only at its beginning.
  await fill(1);
  await fill(600);
  await journal.drop(2);
  assertEquals(sparesOn(disk), []);
  await journal.close();
});

Deno.test("Journal begins a new file where there is no room to write over an old one", async () => {
  const disk = new SimulatedDisk(new Random(4));
  const journal = await withDropped(disk, 3, 1e6);
  // As where everything that is written goes to a new place.
  disk.fault = ({ kind }) => kind === "write" && sparesOn(disk).length > 0 ? "full" : undefined;
  await journal.append(frame("a"));
  assertEquals(sparesOn(disk), []);
  await journal.close();
  assertEquals(await keysFound(disk, [4]), ["a"]);
});

Deno.test("Journal removes a spare file that it has no room to write over, and begins in the next one", async () => {
  for (const kind of ["write", "flush"] as const) {
    const disk = new SimulatedDisk(new Random(4));
    const journal = await withDropped(disk, 3, 1e6);
    const kinds = new Set<string>();
    // The room of one file is enough.
    disk.fault = (operation) => {
      kinds.add(operation.kind);
      return operation.kind === kind && sparesOn(disk).length === 3 ? "full" : undefined;
    };
    await journal.append(frame("a"));
    assertEquals(sparesOn(disk).length, 1, kind);
    assertEquals(kinds.has("create"), false, kind);
    await journal.close();
    assertEquals(disk.openFiles, 0, kind);
    assertEquals(await keysFound(disk, [4]), ["a"], kind);
  }
});

Deno.test("Journal refuses what finds no room without spare files either, and goes on later", async () => {
  const disk = new SimulatedDisk(new Random(5));
  const journal = await withDropped(disk, 3, 1e6);
  disk.fault = ({ kind }) => kind === "write" ? "full" : undefined;
  await assertRejects(() => journal.append(frame("a")), StorageFullError);
  assertEquals(sparesOn(disk), []);
  assertEquals(disk.openFiles, 0);
  disk.fault = () => undefined;
  await journal.append(frame("b"));
  await journal.close();
});

Deno.test("Journal drops a segment that somebody removed, also if it was to become a spare file", async () => {
  const disk = new SimulatedDisk(new Random(8));
  const spares = { leastBytes: 1, mostBytes: 1e9 };
  const journal = new Journal("/h", { files: disk, found: new Map(), spares });
  await journal.append(frame("a"));
  journal.seal();
  await disk.remove("/h/journal-00000001");
  await journal.drop(1);
  assertEquals([journal.oldestSealed, sparesOn(disk)], [undefined, []]);
  await journal.append(frame("b"));
  assertEquals(await keysFound(disk, [2]), ["b"]);
  await journal.close();
});

Deno.test("Journal does without spare files that somebody removed", async () => {
  const disk = new SimulatedDisk(new Random(6));
  const journal = await withDropped(disk, 3, 1e6);
  const [first, , third] = sparesOn(disk);
  for (const path of [first, third]) await disk.remove(path ?? "");
  await journal.append(frame("a"));
  assertEquals(sparesOn(disk), []);
  await journal.close();
  const other = await withDropped(new SimulatedDisk(new Random(6)), 3, 1e6);
  assertEquals(await other.removeSpares(), true);
  assertEquals(await other.removeSpares(), false);
  await other.close();
});

Deno.test("Journal gives up its spare files also where somebody removed some", async () => {
  const disk = new SimulatedDisk(new Random(7));
  const journal = await withDropped(disk, 3, 1e6);
  await disk.remove(sparesOn(disk)[1] ?? "");
  assertEquals(await journal.removeSpares(), true);
  assertEquals(sparesOn(disk), []);
  await journal.close();
});

for (const canWriteDurably of [false, true]) {
  const how = canWriteDurably ? "in one step" : "in two steps";
  Deno.test(`Journal gives up its spare files where the disk is full, written ${how}`, async () => {
    const disk = new SimulatedDisk(new Random(3));
    disk.canWriteDurably = canWriteDurably;
    const journal = await withDropped(disk, 3, 1e6);
    assertEquals(sparesOn(disk).length, 3);
    await journal.append(frame("a"));
    disk.fault = ({ kind }) => {
      return kind === "write" && sparesOn(disk).length > 0 ? "full" : undefined;
    };
    await journal.append(frame("b"));
    assertEquals(sparesOn(disk), []);
    disk.fault = ({ kind }) => kind === "write" ? "full" : undefined;
    await assertRejects(() => journal.append(frame("c")), StorageFullError);
    disk.fault = () => undefined;
    await journal.append(frame("d"));
    await journal.close();
    assertEquals(await keysFound(disk, [4]), ["a", "b", "d"]);
  });
}
