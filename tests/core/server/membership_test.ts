/** A server hands keys over so that no write slips in behind a fence or a mark, whatever comes in between. */
import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import {
  LayoutConflictError,
  MisdirectedKeyError,
  OutOfClusterError,
  StartError,
  StorageFullError,
} from "../../../core/errors.ts";
import { type Layout } from "../../../core/layout/layout.ts";
import { ClusterStateFile } from "../../../core/server/cluster_state.ts";
import { type LeaseClock } from "../../../core/server/fence.ts";
import { countLeaving, fenceRange, giveUpRange } from "../../../core/server/handover.ts";
import { Membership } from "../../../core/server/membership.ts";
import { OwnedStore } from "../../../core/server/owned_store.ts";
import { type TakenRange, takeRange } from "../../../core/server/take_range.ts";
import { DataDir } from "../../../core/storage/data_dir.ts";
import { type JournalStore } from "../../../core/storage/journal_store.ts";
import { openJournalStore } from "../../../core/storage/open_journal_store.ts";
import { type LargeValue, type Store } from "../../../core/store.ts";
import { denoFiles } from "../../../core/system/deno_files.ts";
import { type Files } from "../../../core/system/files.ts";
import { Value } from "../../../core/value.ts";
import { TempDir } from "../../e2e/program.ts";

const CLUSTER = "11111111-1111-4111-8111-111111111111";
const STRANGER = "33333333-3333-4333-8333-333333333333";
const SERVERS = ["s0", "s1"];
const NEXT = ["s0", "s1", "s2"];

/** Leases that end when the test says so. */
class FakeLeases implements LeaseClock {
  nowMs = 0;
  readonly running = new Set<() => void>();

  now(): number {
    return this.nowMs;
  }

  after(_ms: number, run: () => void): () => void {
    this.running.add(run);
    return () => this.running.delete(run);
  }

  end(): void {
    for (const run of this.running) run();
    this.running.clear();
  }
}

/** A store with its place in a cluster, without routes. */
class Shard implements AsyncDisposable {
  readonly dir = new TempDir();
  readonly clock = new FakeLeases();
  readonly fatal: string[] = [];
  #parts: { dataDir: DataDir; store: JournalStore; membership: Membership } | undefined;

  static async open(files: Files = denoFiles): Promise<Shard> {
    const shard = new Shard();
    await shard.start(files);
    return shard;
  }

  async start(files: Files = denoFiles): Promise<void> {
    const dataDir = await DataDir.open(this.dir.path);
    const log = () => {};
    const onFatal = (error: Error) => this.fatal.push(error.message);
    const store = await openJournalStore(this.dir.path, { log, onFatal });
    const file = await ClusterStateFile.open(dataDir.hiddenPath, files, log);
    const membership = new Membership({ file, clock: this.clock, log, onFatal });
    await membership.resume(store);
    this.#parts = { dataDir, store, membership };
  }

  get #open() {
    if (this.#parts === undefined) throw new TypeError("It is not open");
    return this.#parts;
  }

  get store(): JournalStore {
    return this.#open.store;
  }

  get membership(): Membership {
    return this.#open.membership;
  }

  /** The store as a request without a header may use it. */
  owned(): OwnedStore {
    return new OwnedStore(this.store, this.membership, undefined, () => undefined);
  }

  async give(layout: Partial<Layout>, self = "s0"): Promise<void> {
    const { store } = this.membership.state;
    const stores = { s0: STRANGER, s1: STRANGER, s2: STRANGER, [self]: store };
    const base = { cluster: CLUSTER, placement: "modulo" as const, servers: SERVERS, stores };
    const epoch = layout.epoch ?? 1;
    const whole: Layout = { ...base, since: epoch, ...layout, epoch };
    await this.membership.take({ layout: whole, self, store, replace: false }, this.store);
  }

  async move(epoch: number, self = "s0"): Promise<void> {
    await this.give({ epoch, next: NEXT, nextPlacement: "modulo", lost: [] }, self);
  }

  async close(): Promise<void> {
    await this.store.close();
    this.#open.dataDir.close();
    this.#parts = undefined;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#parts !== undefined) await this.close();
    await this.dir[Symbol.asyncDispose]();
  }
}

const LIMITS = { keys: 1000, bytes: 1_000_000, leaseMs: 1000 };
const MOVE = { cluster: CLUSTER, epoch: 2 };

// Of server 0 of 2, "b", "h" and "n" go to 2 of 3, "d" and "j" to 1 of 3, and "f" stays.
async function source(): Promise<Shard> {
  const shard = await Shard.open();
  await shard.give({ epoch: 1 });
  for (const key of "bdfhjn") await shard.owned().set(key, new Value(key));
  await shard.move(2);
  return shard;
}

async function fenced(shard: Shard, keys = 1000): Promise<{ fence: number; upto: string | null }> {
  const lines = await fenceRange(shard.store, shard.membership, MOVE, { ...LIMITS, keys });
  return JSON.parse(lines?.[0] ?? "null");
}

/** Whether a promise is still waiting after the event loop has turned. */
async function isWaiting(promise: Promise<unknown>): Promise<boolean> {
  const turn = new Promise((resolve) => setTimeout(() => resolve("waiting"), 20));
  return await Promise.race([promise.catch(() => {}), turn]) === "waiting";
}

Deno.test("a write in a fenced range waits, and is refused when the range is handed over", async () => {
  await using shard = await source();
  const range = await fenced(shard, 2);
  assertEquals(range.upto, "d");
  const waiting = shard.owned().set("b", new Value("late"));
  const deletion = shard.owned().delete("d");
  const refused = [waiting, deletion].map((write) =>
    assertRejects(() => write, MisdirectedKeyError)
  );
  await shard.owned().set("h", new Value("behind the range"));
  await shard.owned().set("f", new Value("stays"));
  assert(await isWaiting(Promise.race([waiting, deletion])));
  assert(shard.owned().get("b") instanceof Value);
  shard.clock.nowMs = 250;
  await giveUpRange(shard.store, shard.membership, { ...MOVE, fence: range.fence });
  await Promise.all(refused);
  assertThrows(() => shard.owned().get("b"), MisdirectedKeyError);
  assertEquals(shard.store.list(), ["f", "h", "j", "n"]);
  const { fencedWrites, longestWaitMs, handedOver } = shard.membership;
  assertEquals([fencedWrites, longestWaitMs, handedOver], [2, 250, 2]);
  assertEquals(await countLeaving(shard.store, shard.membership), 3);
});

Deno.test("a lease that ends lets the write through, and done comes too late", async () => {
  await using shard = await source();
  const { fence } = await fenced(shard);
  const waiting = shard.owned().set("b", new Value("new"));
  assert(await isWaiting(waiting));
  shard.clock.end();
  await waiting;
  await assertRejects(
    () => giveUpRange(shard.store, shard.membership, { ...MOVE, fence }),
    LayoutConflictError,
  );
  const lines = await fenceRange(shard.store, shard.membership, MOVE, LIMITS) ?? [];
  assert(lines.some((line) => line.includes('"key":"b","value":"new"')), lines.join(""));
});

Deno.test("a lease that ends while the mark is being written changes nothing any more", async () => {
  await using shard = await source();
  const { fence } = await fenced(shard);
  const refused = assertRejects(
    () => shard.owned().set("b", new Value("late")),
    MisdirectedKeyError,
  );
  const done = giveUpRange(shard.store, shard.membership, { ...MOVE, fence });
  shard.clock.end();
  await done;
  await refused;
  assertEquals(shard.membership.state.mark.end, true);
});

Deno.test("a mark that the disk has no room for ends the fence, and the source keeps its keys", async () => {
  let isFull = false;
  const files: Files = {
    ...denoFiles,
    create: (path) => {
      if (isFull) throw Object.assign(new Error("no space"), { code: "ENOSPC" });
      return denoFiles.create(path);
    },
  };
  await using shard = await Shard.open(files);
  await shard.give({ epoch: 1 });
  await shard.owned().set("b", new Value("b"));
  await shard.move(2);
  const { fence } = await fenced(shard);
  const waiting = shard.owned().set("b", new Value("new"));
  isFull = true;
  await assertRejects(
    () => giveUpRange(shard.store, shard.membership, { ...MOVE, fence }),
    StorageFullError,
  );
  await waiting;
  assertEquals([shard.membership.mark.end, shard.fatal], [false, []]);
});

Deno.test("a key that is handed over while its file is read is misdirected, not absent", async () => {
  await using shard = await source();
  const { fence } = await fenced(shard);
  const reading = Promise.withResolvers<Value | LargeValue | undefined>();
  const slow: Store = Object.assign(Object.create(shard.store), { get: () => reading.promise });
  const answer = new OwnedStore(slow, shard.membership, undefined, () => undefined).get("b");
  await giveUpRange(shard.store, shard.membership, { ...MOVE, fence });
  reading.resolve(undefined);
  await assertRejects(async () => await answer, MisdirectedKeyError);
});

Deno.test("a start deletes what was handed over, and keeps mark and fence number", async () => {
  await using shard = await source();
  const { fence } = await fenced(shard, 2);
  // As a crash between the mark and the keys leaves it.
  await shard.membership.handOver(fence, 2);
  assertEquals(shard.store.list(), ["b", "d", "f", "h", "j", "n"]);
  await shard.close();
  await shard.start();
  assertEquals(shard.store.list(), ["f", "h", "j", "n"]);
  assertThrows(() => shard.owned().get("b"), MisdirectedKeyError);
  assert((await fenced(shard)).fence > fence);
});

function range(fence: number, attempt: number): TakenRange {
  const { cluster, epoch } = MOVE;
  const bounds = { after: null, upto: null, large: undefined };
  return { cluster, epoch, since: 2, source: "s0", fence, attempt, ...bounds };
}

Deno.test("a take makes its range equal, and one that is overtaken puts nothing in line any more", async () => {
  await using shard = await Shard.open();
  await shard.give({ epoch: 1 }, "s2");
  await shard.move(2, "s2");
  const take = (fence: number, entries: Record<string, string>) => {
    const values = new Map(Object.entries(entries).map(([key, text]) => [key, new Value(text)]));
    return takeRange(shard.store, shard.membership, range(fence, 1), values);
  };
  await take(1, { b: "1", h: "1" });
  // The second take waits for writes that were in line before, and meanwhile the third one comes.
  const settled = Promise.withResolvers<void>();
  const { store } = shard;
  const slow: Store = {
    size: 0,
    writes: 0,
    get: (key) => store.get(key),
    set: (...write) => store.set(...write),
    delete: (...write) => store.delete(...write),
    list: (options) => store.list(options),
    settled: () => settled.promise,
    close: () => store.close(),
  };
  const values = new Map([["b", new Value("2")], ["h", new Value("2")]]);
  const overtaken = takeRange(slow, shard.membership, range(2, 1), values);
  await take(3, { b: "3", n: "3" });
  settled.resolve();
  await assertRejects(() => overtaken, LayoutConflictError, "newer take");
  assertEquals(shard.store.list(), ["b", "n"]);
  assertEquals((await shard.store.get("b") as Value).text, "3");
  const late = await assertRejects(() => take(2, { b: "late" }), LayoutConflictError);
  assertEquals(late.reason, "old");
  const twice = await assertRejects(() => take(3, { b: "late" }), LayoutConflictError);
  assertEquals(twice.reason, "repeated");
});

Deno.test("a server that was left behind serves nothing, also after a start", async () => {
  await using shard = await source();
  await assertRejects(() => shard.give({ epoch: 5, servers: NEXT }), LayoutConflictError);
  assertThrows(() => shard.owned().get("f"), OutOfClusterError);
  await shard.close();
  await shard.start();
  assertThrows(() => shard.owned().get("f"), OutOfClusterError, "left behind");
});

Deno.test("a state that is damaged, or of another format, stops the start", async () => {
  for (const [file, text] of [["cluster", "{"], ["cluster", "{}"], ["format", "3\n"]] as const) {
    await using shard = await Shard.open();
    await shard.close();
    await Deno.writeTextFile(shard.dir.join(".kvs", file), text);
    await assertRejects(
      () => ClusterStateFile.open(shard.dir.join(".kvs"), denoFiles, () => {}),
      StartError,
    );
  }
});

/** Files whose next rename waits, once {@link GatedFiles.hold} was called. */
class GatedFiles {
  readonly reached = Promise.withResolvers<void>();
  readonly #gate = Promise.withResolvers<void>();
  #isHeld = false;
  readonly files: Files = {
    ...denoFiles,
    rename: async (path, to) => {
      if (this.#isHeld) {
        this.reached.resolve();
        await this.#gate.promise;
      }
      await denoFiles.rename(path, to);
    },
  };

  hold(): void {
    this.#isHeld = true;
  }

  release(): void {
    this.#isHeld = false;
    this.#gate.resolve();
  }
}

Deno.test("an end of the server while the mark is being written lets no write of the range in", async () => {
  const gated = new GatedFiles();
  await using shard = await Shard.open(gated.files);
  await shard.give({ epoch: 1 });
  await shard.owned().set("b", new Value("b"));
  await shard.move(2);
  const { fence } = await fenced(shard);
  const refused = assertRejects(
    () => shard.owned().set("b", new Value("late")),
    MisdirectedKeyError,
  );
  gated.hold();
  const done = giveUpRange(shard.store, shard.membership, { ...MOVE, fence });
  await gated.reached.promise;
  shard.membership.close();
  gated.release();
  await Promise.all([done, refused]);
  assertEquals(shard.membership.mark.end, true);
});

Deno.test("an emptying that is asked for twice deletes nothing that came after it", async () => {
  await using shard = await Shard.open();
  await shard.give({ epoch: 1 });
  // More than a page of them.
  const old = Array.from(
    { length: 1500 },
    (_, index) => shard.store.set(`b${index}`, new Value("")),
  );
  await Promise.all(old);
  const { store } = shard;
  const { store: id } = shard.membership.state;
  const stores = { s0: id, s1: STRANGER };
  const layout: Layout = {
    ...{ cluster: CLUSTER, epoch: 2, since: 2, placement: "modulo", servers: SERVERS, stores },
  };
  const offer = { layout, self: "s0", store: id, replace: true };
  const first = shard.membership.take(offer, store);
  // The giver was not patient enough, and asks once more. This time the disk is slow.
  const flushed = Promise.withResolvers<void>();
  const slow: Store = {
    size: store.size,
    writes: 0,
    get: (key) => store.get(key),
    set: (...write) => store.set(...write),
    delete: async (...write) => {
      const found = await store.delete(...write);
      await flushed.promise;
      return found;
    },
    list: (options) => store.list(options),
    settled: () => store.settled(),
    close: () => store.close(),
  };
  const second = shard.membership.take(offer, slow);
  await first;
  assertEquals([store.list(), shard.membership.isOut], [[], false]);
  await shard.owned().set("f", new Value("new"));
  flushed.resolve();
  await second;
  assertEquals(store.list(), ["f"]);
});

Deno.test("a first layout of a move with a lost source leaves no copies of before", async () => {
  await using shard = await Shard.open();
  await shard.give({ epoch: 1 }, "s1");
  // A deletion of an earlier move that the disk had no room for.
  await shard.store.set("d", new Value("of before"));
  await shard.give({ epoch: 3, since: 2, next: NEXT, nextPlacement: "modulo", lost: ["s0"] }, "s1");
  assertEquals(shard.store.list(), []);
});
