/** How writes are put together to batches, and in which order they are written, seen and answered. */
import { assertEquals, assertGreater, assertLess, assertRejects } from "@std/assert";
import {
  type CommitHost,
  CommitQueue,
  type CommitQueueParts,
} from "../../../core/storage/commit_queue.ts";
import {
  PreconditionFailedError,
  StorageFailedError,
  StorageFullError,
} from "../../../core/errors.ts";
import type { DurableFile, OpenFile } from "../../../core/system/files.ts";
import { Journal } from "../../../core/journal/journal.ts";
import { RecordKind } from "../../../core/journal/format.ts";
import { replayJournal } from "../../../core/journal/replay.ts";
import { entryBytes, type OverlayEntry } from "../../../core/storage/overlay.ts";
import {
  PendingCarry,
  PendingDelete,
  PendingSet,
  type PendingWrite,
} from "../../../core/storage/pending_write.ts";
import { Value } from "../../../core/value.ts";
import { Random } from "../system/random.ts";
import { type Fault, SimulatedDisk } from "../system/simulated_disk.ts";

const FOLDER = "/h";

/** A disk that tells of its flushes and writes. */
class TimedDisk extends SimulatedDisk {
  /** Called when something has been flushed, before anybody knows. */
  flushed: () => void = () => {};
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
      this.flushed();
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
        this.flushed();
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
  /** Called when deletes need room; returns whether there is any. */
  giveUp: () => boolean = () => false;
  readonly failures: string[] = [];
  /** Called with each key before it becomes visible. */
  applying: (key: string) => void = () => {};
  /** What happened, in order. */
  readonly events: string[] = [];
  #since = 0;

  constructor() {
    const options = {
      files: this.disk,
      found: new Map(),
      spares: { leastBytes: 1e9, mostBytes: 0 },
    };
    const isSegmentFull = () => this.isSegmentFull;
    const allowance = () => this.room;
    const parts: CommitQueueParts = {
      journal: new Journal(FOLDER, options),
      budget: {
        get allowance() {
          return allowance();
        },
        get isSegmentFull() {
          return isSegmentFull();
        },
        hasRoomForDeletes: false,
      },
      reserve: { giveUp: () => Promise.resolve(this.giveUp()) },
      durable: {
        // Keys that begin with "no" are saved if they are absent, and are not.
        has: (key) => {
          this.events.push(`${key} is decided on`);
          return true;
        },
        etagOf: () => Promise.resolve(undefined),
      },
    };
    const host: CommitHost = {
      apply: ({ key }) => {
        this.applying(key);
        this.applied.push(key);
        this.events.push(`${key} is visible`);
        return false;
      },
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
    this.queue = new CommitQueue(parts, host);
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

Deno.test("CommitQueue writes all that came during a flush as one batch, in order", async () => {
  const fixture = new Fixture();
  let later: Promise<unknown>[] = [];
  let flushes = 0;
  fixture.disk.flushed = () => {
    // The first is that of the segment's header.
    if (++flushes === 2) later = fixture.save(...keys(20, "b"));
  };
  await Promise.all(fixture.save(...keys(2, "a")));
  await Promise.all(later);
  assertEquals(fixture.batches, [2, 20]);
  assertEquals(fixture.applied, [...keys(2, "a"), ...keys(20, "b")]);
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

Deno.test("CommitQueue counts what is being written for the room that there is", async () => {
  const fixture = new Fixture();
  const { disk, queue } = fixture;
  const later: Promise<unknown>[] = [];
  const waits: boolean[] = [];
  let flushes = 0;
  disk.flushed = () => {
    flushes++;
    if (flushes === 2) {
      later.push(...fixture.save(...keys(10, "b")));
      // For these, and for a part of one more.
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
  assertEquals(fixture.batches.slice(0, 2), [2, 10]);
});

Deno.test("CommitQueue keeps out of the journal what is refused", async () => {
  const fixture = new Fixture();
  const { disk } = fixture;
  let later: Promise<unknown>[] = [];
  let flushes = 0;
  disk.flushed = () => {
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

Deno.test("CommitQueue drops a carry that a newer write has replaced, also when deletes are repeated", async () => {
  const fixture = new Fixture();
  const { disk, queue } = fixture;
  disk.canWriteDurably = true;
  fixture.giveUp = () => {
    disk.fault = () => undefined;
    return true;
  };
  const entry: OverlayEntry = {
    ...{ key: "k", state: undefined, segment: 0, bytes: 0 },
    isPending: true,
  };
  const carry = new PendingCarry(entry);
  let deleted: Promise<unknown> | undefined;
  let writes = 0;
  disk.writes = () => {
    if (++writes === 1) {
      // While the newer write of the key is on its way.
      queue.carry(carry);
      deleted = fixture.delete("other");
    } else if (writes === 2) {
      disk.fault = ({ kind }) => kind === "write" ? "full" : undefined;
    }
  };
  fixture.applying = (key) => {
    if (key === "k") entry.isPending = false;
  };
  await Promise.all(fixture.save("k"));
  await carry.promise;
  await deleted;
  assertEquals(fixture.applied, ["k", "other"]);
  assertEquals(writes, 3);
});
