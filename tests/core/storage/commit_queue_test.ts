/** How writes are put together to batches, and that what is taken apart again stays what it was. */
import { assertEquals, assertGreater, assertLess, assertRejects } from "@std/assert";
import fc from "fast-check";
// @ts-types="npm:@types/sinonjs__fake-timers@15.0.1"
import { install } from "@sinonjs/fake-timers";
import { type CommitHost, CommitQueue, type Parting } from "../../../core/storage/commit_queue.ts";
import {
  PreconditionFailedError,
  StorageFailedError,
  StorageFullError,
} from "../../../core/errors.ts";
import type { DurableFile, OpenFile } from "../../../core/system/files.ts";
import { Journal } from "../../../core/journal/journal.ts";
import { RecordKind } from "../../../core/journal/format.ts";
import { FrameBuffer } from "../../../core/journal/frame_buffer.ts";
import { frameEnd, recordsOf } from "../../../core/journal/frame_reader.ts";
import { replayJournal } from "../../../core/journal/replay.ts";
import { entryBytes } from "../../../core/storage/overlay.ts";
import {
  PendingDelete,
  PendingSet,
  type PendingWrite,
} from "../../../core/storage/pending_write.ts";
import { Value } from "../../../core/value.ts";
import { Random } from "../system/random.ts";
import { type Fault, SimulatedDisk } from "../system/simulated_disk.ts";

const FOLDER = "/h";

/** Parts however few there are. */
const ALWAYS: Parting = { leastWrites: 1, writeMs: Infinity };

/** A disk whose flushes take as long as `pass` says, of a time that stands still otherwise. */
class TimedDisk extends SimulatedDisk {
  pass: () => void = () => {};
  /** Called when a write that is durable at its end begins. */
  writes: () => void = () => {};
  /** The memory of each frame that was written. */
  readonly frames: ArrayBuffer[] = [];

  override openDurable(path: string): DurableFile | undefined {
    const file = super.openDurable(path);
    if (file === undefined) return undefined;
    const write = async (bytes: Uint8Array<ArrayBuffer>, offset: number) => {
      this.writes();
      this.frames.push(bytes.buffer);
      const size = await file.write(bytes, offset);
      this.pass();
      return size;
    };
    return { write, close: () => file.close() };
  }

  override async create(path: string): Promise<OpenFile> {
    const file = await super.create(path);
    return {
      ...file,
      syncData: async () => {
        await file.syncData();
        this.pass();
      },
    };
  }
}

/** A queue on a disk, and what it did. */
class Fixture {
  readonly disk = new TimedDisk(new Random(1));
  /** Number of writes in each batch. */
  readonly batches: number[] = [];
  readonly queue: CommitQueue;
  /** Keys in the order in which they became visible. */
  readonly applied: string[] = [];
  /** How many bytes there is room for. */
  room = 1e9;
  isSegmentFull = false;
  readonly failures: string[] = [];
  /** Called with each key before it becomes visible. */
  applying: (key: string) => void = () => {};
  /** What happened, in order. */
  readonly events: string[] = [];
  #since = 0;

  /** @param parting When batches are parted; by default as in a server. */
  constructor(parting?: Parting) {
    const options = {
      files: this.disk,
      found: new Map(),
      spares: { leastBytes: 1e9, mostBytes: 0 },
    };
    const host: CommitHost = {
      allowance: () => this.room,
      // Writes whose key begins with "no" have a condition that does not hold.
      decide: (writes) => {
        for (const write of writes) {
          if (!write.key.startsWith("no")) continue;
          this.events.push(`${write.key} is decided on`);
          write.failure = new PreconditionFailedError("no");
        }
        return Promise.resolve();
      },
      apply: ({ key }) => {
        this.applying(key);
        this.applied.push(key);
        this.events.push(`${key} is visible`);
        return false;
      },
      giveRoomToDeletes: () => Promise.resolve(false),
      hasRoomForDeletes: () => false,
      isSegmentFull: () => this.isSegmentFull,
      committed: () => {
        this.batches.push(this.applied.length - this.#since);
        this.#since = this.applied.length;
      },
      full() {},
      failed: (error) => {
        this.failures.push(error.message);
        this.queue.fail(error);
      },
    };
    this.queue = new CommitQueue(new Journal(FOLDER, options), host, parting);
    this.queue.release();
  }

  save(...keys: readonly string[]): Promise<unknown>[] {
    return keys.map((key) => {
      const condition = key.startsWith("no") ? "absent" : undefined;
      return this.#submit(new PendingSet(key, new Value(`value of ${key}`), condition));
    });
  }

  delete(key: string): Promise<unknown> {
    return this.#submit(new PendingDelete(key, undefined));
  }

  #submit<T extends PendingWrite & { promise: Promise<unknown> }>(write: T): Promise<unknown> {
    this.queue.submit(write);
    return write.promise;
  }

  /** What the journal holds: kind, key and value of each record, in order. */
  async records(): Promise<string[]> {
    const found: string[] = [];
    await replayJournal([1], ({ kind, key, value }) => {
      found.push(`${kind} ${key} ${new TextDecoder().decode(value)}`);
    }, { folder: FOLDER, files: this.disk, log() {} });
    return found;
  }
}

function keys(count: number, prefix: string): string[] {
  return Array.from({ length: count }, (_, i) => `${prefix}${i}`);
}

/** Saves two, then twenty while these are being written, with time standing still but for flushes. */
async function twoThenTwenty(flushMs: number): Promise<Fixture> {
  const clock = install({ toFake: ["performance"] });
  try {
    const fixture = new Fixture();
    let later: Promise<unknown>[] = [];
    let flushes = 0;
    fixture.disk.pass = () => {
      clock.tick(flushMs);
      // The first is that of the segment's header.
      if (++flushes === 2) later = fixture.save(...keys(20, "b"));
    };
    await Promise.all(fixture.save(...keys(2, "a")));
    await Promise.all(later);
    return fixture;
  } finally {
    clock.uninstall();
  }
}

Deno.test("CommitQueue writes what waits in two parts of one size where flushes are quick", async () => {
  const { batches, applied } = await twoThenTwenty(0);
  // Two are being answered and may come back: eleven and these, and then nine, are as many at a time.
  assertEquals(batches, [2, 11, 9]);
  assertEquals(applied, [...keys(2, "a"), ...keys(20, "b")]);
});

Deno.test("CommitQueue writes all that waits at once where a flush takes its time", async () => {
  const { batches } = await twoThenTwenty(5);
  assertEquals(batches, [2, 20]);
  // Forty have work enough for this one, and twenty have not.
  assertEquals((await saveInTurn([2, 40], () => 0.1)).batches, [2, 20, 20]);
  assertEquals((await saveInTurn([2, 20], () => 0.1)).batches, [2, 20]);
  // Few have not, however quick it is.
  assertEquals((await saveInTurn([2, 15, 14], () => 0)).batches, [2, 8, 7, 14]);
});

/** Saves so many at once, and when these are answered so many; `flushMs` tells of each flush how long it takes. */
async function saveInTurn(
  counts: readonly number[],
  flushMs: (flush: number) => number,
): Promise<Fixture> {
  const clock = install({ toFake: ["performance"] });
  try {
    const fixture = new Fixture();
    let flushes = 0;
    fixture.disk.pass = () => clock.tick(flushMs(flushes++));
    for (const [turn, count] of counts.entries()) {
      await Promise.all(fixture.save(...keys(count, `turn ${turn} `)));
    }
    return fixture;
  } finally {
    clock.uninstall();
  }
}

Deno.test("CommitQueue makes two parts of what comes when nothing is being written, too", async () => {
  const { batches, applied } = await saveInTurn([2, 64, 1, 64], () => 0.2);
  assertEquals(batches, [2, 32, 32, 1, 32, 32]);
  assertEquals(applied.slice(2, 66), keys(64, "turn 1 "));
});

Deno.test("CommitQueue goes by the quickest flush of late: what else was done meanwhile is in each", async () => {
  // The first is that of the segment's header.
  const { batches } = await saveInTurn(
    [1, ...new Array<number>(6).fill(20)],
    (flush) => flush <= 1 ? 0.03 : 9,
  );
  assertEquals(batches, [1, 10, 10, 10, 10, 10, 10, 20, 20, 20]);
});

/** Saves a, and `second` while a is being written; returns what happened in which order. */
async function saveTwo(
  second: string,
  meanwhile: (fixture: Fixture) => unknown = () => {},
): Promise<readonly string[]> {
  const fixture = new Fixture();
  const { disk, events } = fixture;
  disk.canWriteDurably = true;
  let later: Promise<unknown>[] = [];
  let writes = 0;
  disk.writes = () => {
    events.push("a write begins");
    if (++writes > 1) return;
    later = fixture.save(second);
    meanwhile(fixture);
  };
  await Promise.all(fixture.save("a"));
  events.push("a is answered");
  await Promise.allSettled(later);
  return events;
}

Deno.test("CommitQueue has the disk at the next batch before the last one is visible", async () => {
  assertEquals(await saveTwo("b"), [
    ...["a write begins", "a write begins"],
    ...["a is visible", "a is answered", "b is visible"],
  ]);
});

Deno.test("CommitQueue decides on conditions when all before is visible", async () => {
  assertEquals(await saveTwo("no"), [
    ...["a write begins", "a is visible", "no is decided on", "a is answered"],
  ]);
});

Deno.test("CommitQueue ends a segment only between two writes, all before being visible", async () => {
  const full = (fixture: Fixture) => fixture.isSegmentFull = true;
  let sealed: Promise<void> | undefined;
  const sealing = (fixture: Fixture) => {
    sealed = fixture.queue.seal().then(() => void fixture.events.push("it is sealed"));
  };
  // The next one has to begin a segment first.
  const expected = ["a write begins", "a is visible", "a is answered", "a write begins"];
  assertEquals(await saveTwo("b", full), [...expected, "b is visible"]);
  const events = await saveTwo("b", sealing);
  await sealed;
  assertEquals(events.filter((event) => event !== "it is sealed"), [...expected, "b is visible"]);
  assertGreater(events.indexOf("it is sealed"), events.indexOf("a is visible"));
});

/** Saves a, then b while a is written, and lets the write of b fail; returns the outcome of both. */
async function failSecond(fault: Fault): Promise<[Fixture, PromiseSettledResult<unknown>[]]> {
  const fixture = new Fixture();
  const { disk } = fixture;
  disk.canWriteDurably = true;
  const later: Promise<unknown>[] = [];
  let writes = 0;
  disk.writes = () => {
    if (++writes === 1) later.push(...fixture.save("b", "no1", "c"));
    else disk.fault = ({ kind }) => kind === "write" ? fault : undefined;
  };
  const first = fixture.save("a");
  const results = await Promise.allSettled(first);
  results.push(...await Promise.allSettled(later));
  disk.writes = () => {};
  disk.fault = () => undefined;
  return [fixture, results];
}

function reasonOf(result: PromiseSettledResult<unknown> | undefined): unknown {
  return result?.status === "rejected" ? result.reason.constructor : result?.status;
}

Deno.test("CommitQueue refuses all of a batch that finds no room, and goes on", async () => {
  const [fixture, results] = await failSecond("full");
  // A condition that was looked at together with writes which did not take place says nothing.
  const refused = [StorageFullError, StorageFullError, StorageFullError];
  assertEquals(results.map(reasonOf), ["fulfilled", ...refused]);
  assertEquals(fixture.failures, []);
  await Promise.all(fixture.save("d"));
  await Promise.all([fixture.queue.idle(), fixture.queue.idle()]);
  assertEquals(fixture.applied, ["a", "d"]);
});

Deno.test("CommitQueue ends where the disk fails: what was durable before is answered", async () => {
  const [fixture, results] = await failSecond("broken");
  const failed = [StorageFailedError, StorageFailedError, StorageFailedError];
  assertEquals(results.map(reasonOf), ["fulfilled", ...failed]);
  assertEquals(fixture.failures.length, 1);
  await assertRejects(() => Promise.all(fixture.save("d")), StorageFailedError);
  await fixture.queue.seal();
  await Promise.all([fixture.queue.idle(), fixture.queue.idle()]);
});

Deno.test("CommitQueue ends where what is durable cannot be taken in", async () => {
  const fixture = new Fixture();
  fixture.applying = () => {
    throw new RangeError("no memory");
  };
  const results = await Promise.allSettled(fixture.save("a", "b"));
  assertEquals(results.map(reasonOf), [StorageFailedError, StorageFailedError]);
  await fixture.queue.seal();
  await fixture.queue.idle();
  assertEquals(fixture.failures.length, 1);
});

Deno.test("CommitQueue leaves nobody waiting where it ends while the next batch is written", async () => {
  const fixture = new Fixture();
  const { disk, queue } = fixture;
  disk.canWriteDurably = true;
  let later: Promise<unknown>[] = [];
  disk.writes = () => {
    if (later.length === 0) later = fixture.save("b");
  };
  fixture.applying = (key) => {
    if (key === "a") throw new RangeError("no memory");
  };
  await assertRejects(() => Promise.all(fixture.save("a")), StorageFailedError, "no memory");
  const sealed = queue.seal();
  // It was on its way already.
  await Promise.all(later);
  await sealed;
  await queue.idle();
  assertEquals(fixture.failures.length, 1);
  await assertRejects(() => Promise.all(fixture.save("c")), StorageFailedError);
});

Deno.test("CommitQueue counts what it put off for the room that there is", async () => {
  const fixture = new Fixture(ALWAYS);
  const { disk, queue } = fixture;
  const later: Promise<unknown>[] = [];
  const waits: boolean[] = [];
  let flushes = 0;
  disk.pass = () => {
    flushes++;
    if (flushes === 2) {
      later.push(...fixture.save(...keys(10, "b")));
      // For the six that come next, the four that are put off, and one more.
      fixture.room = 10.5 * entryBytes("b0", new Value("value of b0"));
    } else if (flushes === 3) {
      for (const key of keys(8, "c")) {
        later.push(...fixture.save(key));
        waits.push(queue.hasWaiting);
      }
      fixture.room = 1e9;
    }
  };
  await Promise.all(fixture.save(...keys(2, "a")));
  await Promise.all(later);
  assertEquals(waits, [false, ...Array(7).fill(true)]);
  // The first of what comes meanwhile goes with the four.
  assertEquals(fixture.batches.slice(0, 2), [2, 6]);
});

Deno.test("CommitQueue keeps out of the journal what is refused, also behind where a batch was parted", async () => {
  const fixture = new Fixture(ALWAYS);
  const { disk } = fixture;
  let later: Promise<unknown>[] = [];
  let flushes = 0;
  disk.pass = () => {
    if (++flushes !== 2) return;
    later = fixture.save("b1", "no1", "b2", "b3", "b4", "no2", "b5");
    later.push(fixture.delete("b1"));
    later.push(...fixture.save("no3", "b6"));
  };
  await Promise.all(fixture.save("a1", "a2"));
  const results = await Promise.allSettled(later);
  assertEquals(results.map(({ status }) => status === "fulfilled"), [
    ...[true, false, true, true, true, false, true],
    ...[true, false, true],
  ]);
  await assertRejects(() => later[1] ?? Promise.resolve(), PreconditionFailedError);
  const set = (key: string) => `${RecordKind.SET} ${key} value of ${key}`;
  const records = (await fixture.records()).filter((record) => {
    return !record.startsWith(String(RecordKind.VOID));
  });
  assertEquals(records, [
    ...["a1", "a2", "b1", "b2", "b3", "b4", "b5"].map(set),
    `${RecordKind.DELETE} b1 `,
    set("b6"),
  ]);
});

Deno.test("FrameBuffer.moveRest() parts records anywhere, and both frames are sound", () => {
  const record = fc.record({
    key: fc.string({ unit: "binary", minLength: 1, maxLength: 20 }),
    value: fc.oneof(fc.string({ unit: "binary" }), fc.constant("long ".repeat(100_000))),
  });
  fc.assert(
    fc.property(fc.array(record, { minLength: 1, maxLength: 12 }), fc.nat(), (records, at) => {
      const first = new FrameBuffer();
      const rest = new FrameBuffer();
      const positions = records.map(({ key, value }) => first.putValue(key, new Value(value)));
      const count = at % records.length;
      const position = positions[count] ?? 0;
      assertEquals(first.moveRest(position, rest), (positions[0] ?? 0) - position);
      const read = [first, rest].flatMap((frame) => {
        const bytes = frame.seal(7, 1);
        assertEquals(frameEnd(bytes, 0, 7, () => true), bytes.length);
        return Array.from(recordsOf(bytes, 0, bytes.length), ({ key, value }) => {
          return { key, value: new TextDecoder("utf-8", { ignoreBOM: true }).decode(value) };
        });
      });
      assertEquals(read, records);
      first.clear();
      // What comes next begins where it always does.
      assertEquals(first.putDelete("x"), positions[0]);
    }),
    { numRuns: 60 },
  );
});

Deno.test("CommitQueue makes no new memory for each large batch, and keeps none of it at rest", async () => {
  const fixture = new Fixture();
  const { disk, queue } = fixture;
  disk.canWriteDurably = true;
  const value = new Value(new Uint8Array(65_536));
  const saves = (count: number) =>
    Array.from({ length: count }, (_, i) => {
      const write = new PendingSet(`k${i}`, value, undefined);
      queue.submit(write);
      return write.promise;
    });
  // One client each, that saves again when it is answered.
  const client = async () => {
    for (let i = 0; i < 12; i++) await Promise.all(saves(1));
  };
  await Promise.all(Array.from({ length: 80 }, client));
  const [most = 0] = disk.frames.map(({ byteLength }) => byteLength).toSorted((a, b) => b - a);
  assertGreater(most, 80 * 65_536 / 2);
  const late = new Set(disk.frames.slice(-6));
  assertEquals(
    [...late].every((frame) => disk.frames.indexOf(frame) < disk.frames.length - 6),
    true,
  );
  await queue.seal();
  for (let i = 0; i < 4; i++) {
    await Promise.all(saves(1));
    assertLess(disk.frames.at(-1)?.byteLength ?? 0, 5 * 1024 * 1024);
  }
});
