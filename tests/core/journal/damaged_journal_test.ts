import { assert, assertEquals, assertInstanceOf } from "@std/assert";
import { StorageFailedError } from "../../../core/errors.ts";
import { Journal } from "../../../core/journal/journal.ts";
import { encodeHeader } from "../../../core/journal/format.ts";
import { FrameBuffer } from "../../../core/journal/frame_buffer.ts";
import { replayJournal } from "../../../core/journal/replay.ts";
import { type Store } from "../../../core/store.ts";
import { Value } from "../../../core/value.ts";
import { loadText } from "../storage/store_contract.ts";
import { Random } from "../system/random.ts";
import { SimulatedDisk } from "../system/simulated_disk.ts";
import { FOLDER, openOn } from "../../crash/workload.ts";

const JOURNAL_BYTES = 1_000_000;

/** What the store holds after each flush: state by number of frames. */
type History = string[];

interface Recorded {
  readonly segments: ReadonlyMap<string, Uint8Array<ArrayBuffer>>;
  /** The last segment's path. */
  readonly last: string;
  /** Where each frame of the last segment ends. */
  readonly ends: readonly number[];
  /** What is held after none, one, and so on of these frames. */
  readonly history: History;
}

async function describe(store: Store): Promise<string> {
  const parts: string[] = [];
  for (const key of store.list()) parts.push(`${key}=${await loadText(store, key)}`);
  return parts.join(" ");
}

/** Leaves a journal behind, of one segment or, with restarts that are killed, of more. */
async function record(segments: number): Promise<Recorded> {
  let disk = new SimulatedDisk(new Random(7));
  let count = 0;
  let history: History = [];
  let ends: number[] = [];
  let last = "";
  for (let segment = 1; segment <= segments; segment++) {
    const { store } = await openOn(disk, JOURNAL_BYTES);
    // Nothing is to become a file.
    disk.fault = ({ kind, path }) => kind === "create" && /save-/.test(path) ? "full" : undefined;
    last = `${FOLDER}/.kvs/journal-${String(segment).padStart(8, "0")}`;
    history = [await describe(store)];
    ends = [24];
    const steps = [
      () => Promise.all([store.set("a", text(count++)), store.set("b", text(count++))]),
      () => store.set("a", text(count++)),
      () => store.delete("b"),
      () => store.set("c", new Value(`a longer value ${count++}`, "text/html")),
    ];
    for (const step of steps) {
      await step();
      history.push(await describe(store));
      ends.push(disk.contents().get(last)?.length ?? 0);
    }
    const next = disk.afterKill();
    await store.close();
    disk = next;
  }
  const paths = [...disk.contents()].filter(([path]) => path.includes("/journal-"));
  assertEquals(paths.length, segments);
  return { segments: new Map(paths), last, ends, history };
}

const text = (count: number) => new Value(`value ${count}`);

function diskWith(files: Iterable<readonly [string, Uint8Array<ArrayBuffer>]>): SimulatedDisk {
  const disk = new SimulatedDisk(new Random(3));
  for (const [path, content] of files) disk.put(path, content);
  return disk;
}

Deno.test("JournalStore drops a torn tail: a journal cut off at every byte", async () => {
  const { segments, last, ends, history } = await record(2);
  const bytes = segments.get(last) ?? new Uint8Array(0);
  assertEquals(ends.at(-1), bytes.length);
  let cases = 0;
  for (let length = 0; length < bytes.length; length++) {
    for (const zeros of [0, 1, 100]) {
      const cut = new Uint8Array(length + zeros);
      cut.set(bytes.subarray(0, length));
      const label = `cut at ${length}, ${zeros} zeros`;
      if (length < 24 && zeros > 0) continue;
      const disk = diskWith(new Map([...segments, [last, cut]]));
      const { store, logged } = await openOn(disk, JOURNAL_BYTES);
      const frames = Math.max(0, ends.findLastIndex((end) => end <= length));
      assertEquals(await describe(store), history[frames], label);
      const dropped = length < 24 ? length : cut.length - (ends[frames] ?? 0);
      const said = logged.map((line) => /"bytes":(\d+)/.exec(line)?.[1]);
      assertEquals(said, dropped > 0 ? [String(dropped)] : [], label);
      await store.set("d", text(1000));
      await store.close();
      const again = await openOn(disk, JOURNAL_BYTES);
      assertEquals(await describe(again.store), [history[frames], "d=value 1000"].join(" ").trim());
      await again.store.close();
      cases++;
    }
  }
  console.log(`truncated journals: ${cases} cases`);
});

Deno.test("JournalStore never serves a flipped bit: a journal damaged at every byte", async () => {
  const { segments, last, ends, history } = await record(2);
  const lastFrame = ends.at(-2) ?? 0;
  let cases = 0;
  let refusals = 0;
  for (const [path, bytes] of segments) {
    for (let at = 0; at < bytes.length; at++) {
      for (let bit = 0; bit < 8; bit++) {
        const label = `${path} byte ${at} bit ${bit}`;
        const damaged = bytes.slice();
        damaged[at] = (damaged[at] ?? 0) ^ (1 << bit);
        const disk = diskWith(new Map([...segments, [path, damaged]]));
        const isTail = path === last && at >= lastFrame;
        try {
          const { store, logged } = await openOn(disk, JOURNAL_BYTES);
          assert(isTail, label);
          // As a frame that was torn before anybody was told.
          assertEquals(await describe(store), history.at(-2), label);
          assertEquals(logged.length, 1, label);
          await store.close();
        } catch (error) {
          assertInstanceOf(error, StorageFailedError, label);
          assert(!isTail, label);
          assert(/journal-\d+ is damaged at byte \d+/.test(error.message), error.message);
          // It is looked at, not changed: a person decides.
          assertEquals(disk.contents().get(path), damaged, label);
          refusals++;
        }
        cases++;
      }
    }
  }
  console.log(`flipped bits: ${cases} cases, ${refusals} refused, the others a torn tail`);
});

interface Recycled {
  /** The segment, with what its file held before behind it. */
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** What its file held before. */
  readonly old: Uint8Array<ArrayBuffer>;
  /** Where each frame ends, and the header. */
  readonly ends: readonly number[];
}

const RECYCLED_PATH = `${FOLDER}/.kvs/journal-00000002`;

/** Writes a segment over an older one, with frames of these sizes. */
async function recycle(oldSizes: readonly number[], sizes: readonly number[]): Promise<Recycled> {
  const disk = new SimulatedDisk(new Random(1));
  const folder = `${FOLDER}/.kvs`;
  const journal = new Journal(folder, {
    files: disk,
    found: new Map(),
    spares: { leastBytes: 1, mostBytes: 1e9 },
  });
  const append = async (key: string, size: number) => {
    const frame = new FrameBuffer();
    frame.putValue(key, new Value(key.slice(0, 1).repeat(size)));
    await journal.append(frame);
  };
  for (const size of oldSizes) await append("old", size);
  const old = disk.contents().get(`${folder}/journal-00000001`);
  journal.seal();
  await journal.drop(1);
  const ends: number[] = [];
  for (const [i, size] of sizes.entries()) {
    await append(`k${i}`, size);
    if (i === 0) ends.push(24);
    ends.push(journal.activeBytes);
  }
  const bytes = disk.contents().get(RECYCLED_PATH);
  await journal.abandon();
  assert(old !== undefined && bytes !== undefined);
  return { bytes, old, ends };
}

async function replayRecycled(content: Uint8Array<ArrayBuffer>) {
  const keys: string[] = [];
  const dropped: number[] = [];
  await replayJournal([2], ({ key }) => keys.push(key), {
    folder: `${FOLDER}/.kvs`,
    files: diskWith([[RECYCLED_PATH, content]]),
    log: (_, __, facts) => dropped.push(Number(facts?.["bytes"])),
  });
  return { keys, dropped };
}

const RECYCLED: readonly (readonly [string, readonly number[], readonly number[]])[] = [
  ["frames of one size", [40, 40, 40, 40, 40, 40], [40, 40, 40]],
  ["frames of other sizes", [100, 33, 7, 90, 61], [20, 50, 35]],
  ["frames that fill it", [50], [30, 30, 30]],
];

for (const [what, oldSizes, sizes] of RECYCLED) {
  Deno.test(`a torn or flipped last frame of a recycled segment is told of: ${what}`, async () => {
    const { bytes, old, ends } = await recycle(oldSizes, sizes);
    const whole = await replayRecycled(bytes);
    assertEquals([whole.keys, whole.dropped], [["k0", "k1", "k2"], []]);
    for (let cut = 24; cut < (ends.at(-1) ?? 0); cut++) {
      // As far as the disk came; behind it is what was there.
      const torn = old.slice();
      const content = new Uint8Array(Math.max(torn.length, cut));
      content.set(torn);
      content.set(bytes.subarray(0, cut));
      const { keys, dropped } = await replayRecycled(content);
      const frames = ends.findLastIndex((end) => end <= cut);
      assertEquals(keys, ["k0", "k1", "k2"].slice(0, frames), `cut at ${cut}`);
      const written = cut - (ends[frames] ?? 0);
      // Frames of one size begin alike: where no byte differs, nothing was written.
      const differs = content.some((byte, at) => at >= (ends[frames] ?? 0) && byte !== old[at]);
      const hasHeader = content.length >= (ends[frames] ?? 0) + 16;
      if (written >= 4 && differs && hasHeader) assertEquals(dropped.length, 1, `cut at ${cut}`);
      if (written === 0) assertEquals(dropped, [], `cut at ${cut}`);
    }
    const last = ends.at(-2) ?? 0;
    const length = (ends.at(-1) ?? 0) - last;
    for (let at = last; at < last + length; at++) {
      for (let bit = 0; bit < 8; bit++) {
        const flipped = bytes.slice();
        flipped[at] = (flipped[at] ?? 0) ^ (1 << bit);
        const { keys, dropped } = await replayRecycled(flipped);
        assertEquals([keys, dropped.length], [["k0", "k1"], 1], `byte ${at} bit ${bit}`);
        // The length itself may be what is wrong.
        if (at < last + 8 || at >= last + 12) assertEquals(dropped, [length]);
      }
    }
  });
}

/** A store that was killed with a large value in the journal, over an older one of the same size. */
async function killedWithLarge(isPlaced: boolean): Promise<{ disk: SimulatedDisk; large: string }> {
  const disk = new SimulatedDisk(new Random(5));
  const older = await openOn(disk, JOURNAL_BYTES);
  await older.store.set("key", new Value("o".repeat(100_000)));
  await older.store.close();
  const { store } = await openOn(disk, JOURNAL_BYTES);
  disk.fault = ({ kind, path }) => {
    const isDrop = kind === "remove" && path.includes("/journal-");
    return isDrop || !isPlaced && kind === "rename" ? "full" : undefined;
  };
  await store.set("key", new Value("n".repeat(100_000)));
  const large = [...disk.contents().keys()].find((path) => path.includes("/large-")) ?? "";
  if (isPlaced) { while (disk.contents().has(large)) await new Promise((r) => setTimeout(r, 10)); }
  const killed = disk.afterKill();
  await store.close();
  return { disk: killed, large };
}

Deno.test("JournalStore finds a large value as it was, whether it has become the key's file or not", async () => {
  for (const isPlaced of [false, true]) {
    const { disk, large } = await killedWithLarge(isPlaced);
    assertEquals(disk.contents().has(large), !isPlaced);
    const { store } = await openOn(disk, JOURNAL_BYTES);
    assertEquals(await loadText(store, "key"), "n".repeat(100_000));
    await store.close();
  }
});

Deno.test("JournalStore refuses a large value that was cut short, and names its file", async () => {
  for (const size of [0, 99_999, 100_001]) {
    const { disk, large } = await killedWithLarge(false);
    disk.put(large, new Uint8Array(size));
    const error = await openOn(disk, JOURNAL_BYTES).catch((error) => error);
    assertInstanceOf(error, StorageFailedError);
    assert(error.message.includes(large) && error.message.includes(`${size} of 100000`));
  }
});

Deno.test("JournalStore refuses an older value where a large one was removed, and goes on without both", async () => {
  const { disk, large } = await killedWithLarge(false);
  await disk.remove(large);
  const error = await openOn(disk, JOURNAL_BYTES).catch((error) => error);
  assertInstanceOf(error, StorageFailedError);
  assert(error.message.includes(large) && error.message.includes(`remove ${FOLDER}/key `));
  await disk.remove(`${FOLDER}/key`);
  const { store } = await openOn(disk, JOURNAL_BYTES);
  assertEquals(store.list(), []);
  await store.close();
});

/** A disk whose journal has three segments left, behind one that was dropped; and its segments' paths. */
async function killedWithThree(): Promise<{ disk: SimulatedDisk; paths: string[] }> {
  let disk = new SimulatedDisk(new Random(7));
  const first = await openOn(disk, JOURNAL_BYTES);
  await first.store.set("first", text(0));
  await first.store.close();
  for (let count = 1; count <= 3; count++) {
    const { store } = await openOn(disk, JOURNAL_BYTES);
    disk.fault = ({ kind, path }) => kind === "create" && /save-/.test(path) ? "full" : undefined;
    await store.set(`key-${count}`, text(count));
    const next = disk.afterKill();
    await store.close();
    disk = next;
  }
  const paths = [...disk.contents().keys()].filter((path) => path.includes("/journal-")).sort();
  assertEquals(paths.length, 3);
  return { disk, paths };
}

Deno.test("JournalStore refuses a journal whose first or middle segment was removed, and names it", async () => {
  for (const [removed, kept] of [[[0], "23"], [[1], "1"], [[0, 1], "3"]] as const) {
    const { disk, paths } = await killedWithThree();
    for (const index of removed) await disk.remove(paths[index] ?? "");
    const error = await openOn(disk, JOURNAL_BYTES).catch((error) => error);
    assertInstanceOf(error, StorageFailedError);
    assert(error.message.includes(`${paths[removed[0]]} is missing`), error.message);
    // As the message says.
    const isFirst = error.message.includes("/oldest-* to go on without its writes");
    if (!isFirst) assert(error.message.includes("move the segments after it away"), error.message);
    for (const path of disk.contents().keys()) {
      if (isFirst ? path.includes("/oldest-") : path === paths[2]) await disk.remove(path);
    }
    const { store } = await openOn(disk, JOURNAL_BYTES);
    assertEquals(store.list(), ["first", ...[...kept].map((count) => `key-${count}`)].sort());
    await store.close();
  }
});

Deno.test("JournalStore refuses a record of another version, and does not call it damaged", async () => {
  for (const kind of [0, 3, 6, 255]) {
    const frame = new FrameBuffer();
    const at = frame.putValue("key", new Value("v"));
    frame.seal(5, 0)[at] = kind;
    const header = encodeHeader({ salt: 5, oldSalt: undefined, previousEnd: 0 });
    const content = new Uint8Array([...header, ...frame.seal(5, 0)]);
    const path = `${FOLDER}/.kvs/journal-00000001`;
    const disk = diskWith([[path, content]]);
    const error = await openOn(disk, JOURNAL_BYTES).catch((error) => error);
    assertInstanceOf(error, StorageFailedError);
    assert(error.message.includes(`${path} was written by another version of kvs`), error.message);
    assertEquals(disk.contents().get(path), content);
  }
});

Deno.test("JournalStore tells of a journal that is gone as a whole, and only then", async () => {
  const { disk, paths } = await killedWithThree();
  for (const path of paths) await disk.remove(path);
  for (const isTold of [true, false]) {
    const { store, logged } = await openOn(disk, JOURNAL_BYTES);
    assertEquals(store.list(), ["first"]);
    assertEquals(logged.filter((line) => line.includes(paths[0] ?? "")).length, isTold ? 1 : 0);
    await store.close();
  }
});

Deno.test("JournalStore tells that the list of content types is gone, and only then", async () => {
  const disk = new SimulatedDisk(new Random(9));
  const path = `${FOLDER}/.kvs/content-types`;
  for (
    const [type, isRemoved] of [["a/b", false], ["a/b", true], [
      "application/octet-stream",
      false,
    ]] as const
  ) {
    if (isRemoved) await disk.remove(path);
    const { store, logged } = await openOn(disk, JOURNAL_BYTES);
    assertEquals(logged.filter((line) => line.includes(path)).length, isRemoved ? 1 : 0);
    await store.set("key", new Value("v", type));
    await store.close();
  }
});
