import { assert, assertEquals, assertRejects } from "@std/assert";
import fc from "fast-check";
import { RebalanceError, RemoteError } from "../../core/errors.ts";
import { PLACEMENTS } from "../../core/placement.ts";
import { type RebalanceEvent } from "../../core/rebalance_events.ts";
import { Patience } from "../../core/rebalance_pace.ts";
import { decide } from "../../core/rebalance_plan.ts";
import { mapInOrder, mergeListings } from "../../core/rebalance_streams.ts";
import { Cluster, Fuse, Killed, MemoryEndpoint } from "./memory_endpoint.ts";

const LETTERS = [..."abcdefghijklmnopqrstuvwxyz"];

function servers(count: number): MemoryEndpoint[] {
  return Array.from({ length: count }, (_, index) => new MemoryEndpoint(`server-${index}`));
}

Deno.test("decide() lets only the owner's copy count", () => {
  // On three servers "a" belongs on 1 and "b" on 2; on two "a" on 1 and "b" on 0.
  const layout = { asIs: [0, 1, 2], toBe: [0, 1], placement: PLACEMENTS.modulo };
  const table: [string, number[], string, number[]][] = [
    ["a", [1], "stay", []],
    ["a", [0, 1, 2], "stay", [0, 2]],
    ["a", [0, 2], "orphan", []],
    ["b", [2], "move", []],
    ["b", [0, 2], "move", []],
    ["b", [0, 1, 2], "move", [1]],
    ["b", [0], "unclear", []],
    ["b", [0, 1], "unclear", []],
    ["b", [1], "orphan", []],
  ];
  for (const [key, holders, verdict, stale] of table) {
    const decision = decide(layout, { key, holders });
    assertEquals([key, holders, decision.verdict, decision.stale], [key, holders, verdict, stale]);
  }
});

async function* pages<T>(...items: T[]): AsyncGenerator<T> {
  for (const item of items) yield await Promise.resolve(item);
}

async function gather<T>(source: AsyncIterable<T>): Promise<T[]> {
  const items: T[] = [];
  for await (const item of source) items.push(item);
  return items;
}

Deno.test("mergeListings() yields each key once with all who list it", async () => {
  const merged = await gather(mergeListings([
    pages(["a", "c"], [], ["e"]),
    pages<string[]>([]),
    pages(["b", "c"], ["d", "\uffff", "😀"]),
  ]));
  assertEquals(merged.flat().map(({ key, holders }) => key + holders.join("")), [
    "a0",
    "b2",
    "c02",
    "d2",
    "e0",
    "\uffff2",
    "😀2",
  ]);
});

Deno.test("mergeListings() refuses a listing that is out of order", async () => {
  for (const keys of [["b", "a"], ["a", "a"]]) {
    await assertRejects(() => gather(mergeListings([pages(keys)])), RebalanceError, "out of order");
  }
});

Deno.test("mapInOrder() keeps the order and bounds the calls under way", async () => {
  let underWay = 0;
  let most = 0;
  const work = async (item: number) => {
    most = Math.max(most, ++underWay);
    // Later items take fewer turns.
    for (let turn = item; turn < 40; turn++) await Promise.resolve();
    underWay--;
    return item;
  };
  const items = Array.from({ length: 40 }, (_, index) => index);
  const options = { concurrency: 5, signal: new AbortController().signal };
  assertEquals(await gather(mapInOrder(pages(...items), work, options)), items);
  assertEquals(most, 5);
});

Deno.test("mapInOrder() yields what was under way when a call fails, then throws", async () => {
  const started: number[] = [];
  const work = (item: number) => {
    started.push(item);
    return item === 2 ? Promise.reject(new RebalanceError("two")) : Promise.resolve(item);
  };
  const done: number[] = [];
  await assertRejects(
    async () => {
      const options = { concurrency: 4, signal: new AbortController().signal };
      for await (const item of mapInOrder(pages(1, 2, 3, 4, 5, 6, 7, 8), work, options)) {
        done.push(item);
      }
    },
    RebalanceError,
    "two",
  );
  assertEquals(done, started.filter((item) => item !== 2));
  assert(started.length < 8);
});

for (const placement of ["modulo", "jump"] as const) {
  for (const prune of [false, true]) {
    const title = `${placement}${prune ? ", --prune" : ""}`;
    Deno.test(`3 → 2 → write → 3 → write → 2: the newest value wins (${title})`, async () => {
      const cluster = new Cluster(servers(3), [0, 1, 2], placement);
      const expected = new Map<string, string>();
      const write = (letters: readonly string[], value: string) => {
        for (const letter of letters) {
          cluster.write(letter, value + letter);
          expected.set(letter, value + letter);
        }
      };
      const scale = async (list: readonly number[]) => {
        await cluster.rebalance(list, { prune });
        cluster.list = list;
        assertEquals(cluster.view(), expected);
      };
      write(LETTERS, "first ");
      await scale([0, 1]);
      write(LETTERS.filter((_, index) => index % 2 === 0), "second ");
      await scale([0, 1, 2]);
      write(LETTERS.filter((_, index) => index % 3 === 0), "third ");
      await scale([0, 1]);
      write(LETTERS, "fourth ");
      await scale([0, 1, 2]);
      await scale([0, 1]);
    });
  }

  Deno.test(`a key deleted between moves stays deleted, or is reported (${placement})`, async () => {
    const cluster = new Cluster(servers(3), [0, 1, 2], placement);
    for (const letter of LETTERS) cluster.write(letter, letter);
    await cluster.rebalance([0, 1]);
    cluster.list = [0, 1];
    const deleted = LETTERS.slice(0, 13);
    for (const letter of deleted) cluster.delete(letter);
    const reported = new Set<string>();
    await cluster.rebalance([0, 1, 2], {
      onEvent: (event) => {
        if (event.kind === "unclear" || event.kind === "orphan") reported.add(event.key);
      },
    });
    cluster.list = [0, 1, 2];
    for (const letter of deleted) {
      if (cluster.view().has(letter)) assert(reported.has(letter), letter);
    }
    assertEquals([...cluster.view().keys()].filter((key) => !deleted.includes(key)).length, 13);
  });
}

Deno.test("with --prune a deleted key never comes back", async () => {
  const cluster = new Cluster(servers(3), [0, 1, 2]);
  for (const letter of LETTERS) cluster.write(letter, letter);
  const left = new Set(LETTERS);
  for (const list of [[0, 1], [0, 1, 2], [0, 1], [0, 1, 2]]) {
    await cluster.rebalance(list, { prune: true });
    cluster.list = list;
    assertEquals(new Set(cluster.view().keys()), left);
    for (const letter of [...left].slice(0, 5)) {
      cluster.delete(letter);
      left.delete(letter);
    }
  }
});

Deno.test("a key that is where it belongs is not written again", async () => {
  const cluster = new Cluster(servers(3), [0, 1, 2]);
  for (const letter of LETTERS) cluster.write(letter, letter);
  const first = await cluster.rebalance([0, 1]);
  assertEquals([first.keys, first.moved, first.inPlace, first.left], [26, 17, 9, 0]);
  assertEquals([first.bytes, first.stale, first.leftOver, first.pruned], [17, 17, 0, 0]);
  const saves = cluster.servers.map((server) => server.saves);
  assertEquals(saves.reduce((a, b) => a + b), 17);
  const second = await cluster.rebalance([0, 1]);
  assertEquals([second.moved, second.inPlace, second.stale], [0, 26, 17]);
  assertEquals(cluster.servers.map((server) => server.saves), saves);
});

Deno.test("a dry run changes nothing and tells exactly what would move", async () => {
  const cluster = new Cluster(servers(3), [0, 1, 2]);
  for (const letter of LETTERS) cluster.write(letter, letter.repeat(3));
  const before = cluster.snapshot();
  const plans: RebalanceEvent[] = [];
  const onEvent = (event: RebalanceEvent) => {
    if (event.kind === "plan") plans.push(event);
  };
  const dry = await cluster.rebalance([0, 1], { dryRun: true, prune: true, onEvent });
  assertEquals(cluster.snapshot(), before);
  assertEquals([dry.moved, dry.bytes, dry.pruned], [17, 51, 0]);
  assertEquals(plans, [
    { kind: "plan", from: "server-0", to: "server-1", keys: 4, bytes: 12 },
    { kind: "plan", from: "server-1", to: "server-0", keys: 4, bytes: 12 },
    { kind: "plan", from: "server-2", to: "server-0", keys: 5, bytes: 15 },
    { kind: "plan", from: "server-2", to: "server-1", keys: 4, bytes: 12 },
  ]);
  await cluster.rebalance([0, 1]);
  plans.length = 0;
  assertEquals((await cluster.rebalance([0, 1], { dryRun: true, onEvent })).moved, 0);
  assertEquals(plans, []);
});

Deno.test("a value that is read back different stops the run with the key's name", async () => {
  const target = new MemoryEndpoint("server-0", { corrupt: (word) => word === "k" ? "K!" : word });
  const cluster = new Cluster([target, new MemoryEndpoint("server-1")], [0, 1]);
  for (const letter of LETTERS) cluster.write(letter, letter);
  const error = await assertRejects(() => cluster.rebalance([0]), RebalanceError);
  assert(
    /"k" was saved on server-0, .* another value \(2 bytes\); \d+ of 13 keys /.test(error.message),
  );
});

Deno.test("a source that loses its keys during the run is not taken for a complete run", async () => {
  const source = new MemoryEndpoint("server-1");
  const cluster = new Cluster([new MemoryEndpoint("server-0"), source], [0, 1]);
  for (const letter of LETTERS) cluster.write(letter, letter);
  const onEvent = (event: RebalanceEvent) => {
    if (event.kind === "progress" && event.phase === "survey") source.values.clear();
  };
  await assertRejects(() => cluster.rebalance([0], { onEvent }), RebalanceError, "have gone");
});

Deno.test("stopped by the user, it ends between batches and a further run completes it", async () => {
  const cluster = new Cluster(servers(2), [0, 1]);
  for (const letter of LETTERS) cluster.write(letter, letter);
  const expected = cluster.view();
  const stop = new AbortController();
  const summary = await cluster.rebalance([0], {
    signal: stop.signal,
    batchKeys: 2,
    prune: true,
    onEvent: (event) => {
      if (event.kind === "moved") stop.abort();
    },
  });
  assert(summary.interrupted);
  assert(summary.moved > 0 && summary.left > 0 && summary.moved + summary.left === 13);
  assertEquals(summary.pruned, 0);
  assertEquals(summary.keys, summary.moved + summary.inPlace + summary.left);
  await cluster.rebalance([0]);
  cluster.list = [0];
  assertEquals(cluster.view(), expected);
});

/** From some request on no server answers, and while that is waited for the user stops the run. */
class Absence extends Fuse {
  readonly stop = new AbortController();
  readonly #patience = new Patience({
    patienceMs: 60_000,
    signal: this.stop.signal,
    onWait: () => this.stop.abort(),
  });
  #left: number;

  constructor(requests: number) {
    super(Infinity, false);
    this.#left = requests;
  }

  override burn<T>(request: () => T): Promise<T> {
    return this.#patience.run(() => {
      if (this.#left-- > 0) return super.burn(request);
      return Promise.reject(new RemoteError("server", undefined, "cannot be reached"));
    });
  }
}

Deno.test("stopped while a server is away, it ends as between batches, whatever was asked", async () => {
  const reached = new Set<string>();
  for (let requests = 0;; requests++) {
    const cluster = new Cluster(servers(2), [0, 1]);
    for (const letter of LETTERS) cluster.write(letter, letter);
    const expected = cluster.view();
    const fuse = new Absence(requests);
    const { signal } = fuse.stop;
    const summary = await cluster.rebalance([0], { fuse, signal, batchKeys: 5, prune: true });
    reached.add(Object.keys(summary.phases).at(-1) ?? "");
    if (!summary.interrupted) break;
    if ("move" in summary.phases) assertEquals(summary.moved + summary.left, 13);
    await cluster.rebalance([0], { prune: true });
    cluster.list = [0];
    assertEquals(cluster.view(), expected);
  }
  assertEquals([...reached], ["survey", "move", "check", "prune"]);
});

Deno.test("--prune refuses a server that cannot delete before anything is changed", async () => {
  const book = new MemoryEndpoint("old", { native: false });
  const cluster = new Cluster([new MemoryEndpoint("new"), book], [0, 1]);
  for (const letter of LETTERS) cluster.write(letter, letter);
  const before = cluster.snapshot();
  await assertRejects(
    () => cluster.rebalance([0], { prune: true }),
    RebalanceError,
    "Cannot prune: old speaks only the book routes, which cannot delete; nothing was changed",
  );
  assertEquals(cluster.snapshot(), before);
});

Deno.test("--prune loses nothing where two names are the same server", async () => {
  const server = new MemoryEndpoint("localhost:80");
  const cluster = new Cluster([server, new MemoryEndpoint("127.0.0.1:80", { twin: server })], [0]);
  for (const letter of LETTERS) cluster.write(letter, letter);
  const before = cluster.snapshot();
  await assertRejects(
    () => cluster.rebalance([1], { prune: true }),
    RebalanceError,
    "localhost:80 and 127.0.0.1:80 are the same server",
  );
  assertEquals(cluster.snapshot(), before);
});

Deno.test("--prune keeps a copy that changed after it was moved", async () => {
  const cluster = new Cluster(servers(2), [0, 1]);
  for (const letter of LETTERS) cluster.write(letter, letter);
  const onEvent = (event: RebalanceEvent) => {
    // A client that still writes, by the old list, behind the last look.
    if (event.kind === "progress" && event.phase === "check") {
      cluster.write("k", "newer");
    }
  };
  await assertRejects(
    () => cluster.rebalance([0], { prune: true, onEvent }),
    RebalanceError,
    '"k" changed during the run',
  );
  assertEquals(cluster.ownerOf("k").values.get("k"), "newer");
  await cluster.rebalance([0], { prune: true });
  cluster.list = [0];
  assertEquals(cluster.view().get("k"), "newer");
  assertEquals(cluster.view().size, 26);
});

/** Calls `write` whenever `key` has just been copied. */
function onCopy(key: string, write: () => void): (event: RebalanceEvent) => void {
  return (event) => {
    if (event.kind === "moved" && event.key === key) write();
  };
}

Deno.test("a key that changes behind its copy is copied again before the run ends", async () => {
  const cluster = new Cluster(servers(3), [0, 1, 2]);
  for (const letter of LETTERS) cluster.write(letter, letter);
  let writes = 0;
  const summary = await cluster.rebalance([0, 1], {
    onEvent: onCopy("b", () => {
      if (writes < 2) cluster.write("b", `newer ${++writes}`);
    }),
  });
  assertEquals([summary.moved, summary.recopied, summary.changing], [17, 2, 0]);
  cluster.list = [0, 1];
  assertEquals(cluster.view().get("b"), "newer 2");
});

Deno.test("a write behind the look of a check that finds nothing is found by the next one", async () => {
  const cluster = new Cluster(servers(3), [0, 1, 2]);
  for (const server of cluster.servers) server.clientWrites = 0;
  for (const letter of LETTERS) cluster.write(letter, letter);
  // Makes it look again at all, though nothing that moves has changed.
  const change = onCopy("b", () => cluster.write("a", "newer"));
  const summary = await cluster.rebalance([0, 1], {
    onEvent: (event) => {
      change(event);
      // All 17 keys that move have been looked at, and the check is not over yet.
      if (event.kind !== "progress" || event.phase !== "check") return;
      if (event.done === 17) cluster.write("b", "late");
    },
  });
  cluster.list = [0, 1];
  assertEquals([cluster.view().get("a"), cluster.view().get("b")], ["newer", "late"]);
  assertEquals([summary.recopied, summary.changing, summary.busy], [1, 0, false]);
});

Deno.test("clients that write for ever, whatever keys, are told", async () => {
  const cluster = new Cluster(servers(3), [0, 1, 2]);
  for (const server of cluster.servers) server.clientWrites = 0;
  for (const letter of LETTERS) cluster.write(letter, letter);
  let writes = 0;
  const summary = await cluster.rebalance([0, 1], {
    prune: true,
    onEvent: (event) => {
      // On three servers and on two "a" is on server-1: it does not move.
      if (event.kind === "progress" || event.kind === "moved") cluster.write("a", `${++writes}`);
    },
  });
  assertEquals([summary.moved, summary.changing, summary.pruned, summary.busy], [17, 0, 0, true]);
});

Deno.test("a key that goes on changing is told by name, and --prune waits", async () => {
  const cluster = new Cluster(servers(3), [0, 1, 2]);
  for (const letter of LETTERS) cluster.write(letter, letter);
  let writes = 0;
  const told: RebalanceEvent[] = [];
  const again = onCopy("b", () => cluster.write("b", `newer ${++writes}`));
  const summary = await cluster.rebalance([0, 1], {
    prune: true,
    onEvent: (event) => {
      again(event);
      if (event.kind === "changing") told.push(event);
    },
  });
  assertEquals(told, [{ kind: "changing", key: "b", owner: "server-2", target: "server-0" }]);
  assertEquals([summary.recopied, summary.changing, summary.pruned, writes], [2, 1, 0, 3]);
  assertEquals(cluster.view().get("b"), "newer 3");
  await cluster.rebalance([0, 1], { prune: true });
  cluster.list = [0, 1];
  assertEquals(cluster.view().get("b"), "newer 3");
});

Deno.test("a key that is deleted during the run is told, where a copy of it stays", async () => {
  const cluster = new Cluster(servers(3), [0, 1, 2]);
  for (const letter of LETTERS) cluster.write(letter, letter);
  const told: RebalanceEvent[] = [];
  const remove = onCopy("b", () => cluster.delete("b"));
  const summary = await cluster.rebalance([0, 1], {
    onEvent: (event) => {
      remove(event);
      // And one that has not been copied yet: nothing of it is left.
      if (event.kind === "progress" && event.phase === "survey") cluster.delete("n");
      if (event.kind === "deleted") told.push(event);
    },
  });
  assertEquals(told, [{ kind: "deleted", key: "b", owner: "server-2", target: "server-0" }]);
  assertEquals([summary.moved, summary.deleted, summary.gone, summary.left], [16, 1, 1, 0]);
});

for (const [moment, losses] of [["behind its last copy", 1], ["again in the check", 2]] as const) {
  Deno.test(`a target that loses its disk ${moment} gets all keys again`, async () => {
    const cluster = new Cluster(servers(3), [0, 1]);
    for (const server of cluster.servers) server.clientWrites = 0;
    for (const letter of LETTERS) cluster.write(letter, letter);
    const expected = cluster.view();
    const added = cluster.servers[2];
    assert(added !== undefined);
    let lost = 0;
    let moved = 0;
    const summary = await cluster.rebalance([0, 1, 2], {
      prune: true,
      batchKeys: 2,
      onEvent: (event) => {
        const isMoved = event.kind === "moved" && ++moved === 17 && lost === 0;
        // Behind the look at its keys.
        const isChecked = event.kind === "progress" && event.phase === "check" &&
          event.done === 17 && lost === 1;
        if (!isMoved && !isChecked || lost === losses) return;
        lost++;
        added.loseDisk();
      },
    });
    assertEquals([lost, summary.moved, summary.busy, summary.changing], [losses, 17, false, 0]);
    assert(summary.recopied > 0 && summary.pruned > 0);
    cluster.list = [0, 1, 2];
    assertEquals(cluster.view(), expected);
  });
}

Deno.test("who writes to a target by the new list is not written over in the check", async () => {
  const cluster = new Cluster(servers(3), [0, 1]);
  for (const server of cluster.servers) server.clientWrites = 0;
  for (const letter of LETTERS) cluster.write(letter, letter);
  const after = new Cluster(cluster.servers, [0, 1, 2]);
  const moved = LETTERS.find((letter) => after.ownerOf(letter) === cluster.servers[2]) ?? "";
  const onEvent = onCopy(moved, () => after.write(moved, "newer"));
  assertEquals((await cluster.rebalance([0, 1, 2], { onEvent })).recopied, 0);
  assertEquals(after.view().get(moved), "newer");
});

Deno.test("data that was placed in another way is noticed before anything is changed", async () => {
  const cluster = new Cluster(servers(4), [0, 1, 2, 3], "jump");
  for (let i = 0; i < 100; i++) cluster.write(`key-${i}`, String(i));
  const wrong = new Cluster(cluster.servers, [0, 1, 2, 3], "modulo");
  const before = cluster.snapshot();
  await assertRejects(
    () => wrong.rebalance([0, 1, 2], { force: false }),
    RebalanceError,
    "which placement was meant? --placement jump fits. --force goes on; nothing was changed",
  );
  assertEquals(cluster.snapshot(), before);
  await wrong.rebalance([0, 1, 2], { force: true });
  // With the right one nothing is asked, also where a run was completed and pruned.
  for (let run = 0; run < 2; run++) {
    await cluster.rebalance([0, 1, 2], { force: false, prune: true });
  }
});

for (const [meant, wrong] of [["jump", "modulo"], ["modulo", "jump"]] as const) {
  Deno.test(`${meant} on two servers, where half of all keys fit anyway, is not taken for ${wrong}`, async () => {
    const cluster = new Cluster(servers(3), [0, 1], meant);
    for (let i = 0; i < 200; i++) cluster.write(`key-${i}`, String(i));
    const mistaken = new Cluster(cluster.servers, [0, 1], wrong);
    const before = cluster.snapshot();
    for (const toBe of [[0, 1, 2], [0], [1, 0]]) {
      const error = await assertRejects(
        () => mistaken.rebalance(toBe, { force: false }),
        RebalanceError,
        `which placement was meant? --placement ${meant} fits. --force goes on; nothing was changed`,
      );
      assert(/^(9|10|11)\d of 200 keys are not on the server that owns them/.test(error.message));
    }
    assertEquals(cluster.snapshot(), before);
    // The right one is not doubted: not with copies of earlier moves on both, nor after it pruned.
    for (const prune of [false, true]) {
      for (const toBe of [[0, 1, 2], [0], [1, 0]]) {
        const right = new Cluster(servers(3), [0, 1], meant);
        for (let i = 0; i < 200; i++) right.write(`key-${i}`, String(i));
        for (let run = 0; run < 2; run++) await right.rebalance(toBe, { force: false, prune });
        right.list = toBe;
        for (let i = 0; i < 20; i++) right.delete(`key-${i}`);
        await right.rebalance([0, 1], { force: false, prune });
      }
    }
  });
}

Deno.test("a target without room for what it will get stops the run before it changes", async () => {
  const cluster = new Cluster(servers(2), [0, 1]);
  for (const letter of LETTERS) cluster.write(letter, letter.repeat(5000));
  const before = cluster.snapshot();
  const [target, source] = cluster.servers;
  assert(target !== undefined && source !== undefined);
  const disk = { start: "1", writes: 0, usedBytes: 0, blockBytes: 4096 };
  const plenty = { ...disk, freeBytes: 1e12, freeFiles: 1e9, usedBytes: 1e9 };
  source.room = plenty;
  // 13 keys of 5000 bytes in two blocks each, and 300 bytes more in the journal.
  target.room = { ...disk, freeBytes: 175_395, freeFiles: 1e9 };
  await assertRejects(
    () => cluster.rebalance([0]),
    RebalanceError,
    "server-0 has no room: 13 keys take 175396 bytes (175 kB) in blocks of 4096, the journal " +
      "included, and its disk has 175395 (175 kB) free; nothing was changed",
  );
  target.room = { ...plenty, freeFiles: 12 };
  await assertRejects(
    () => cluster.rebalance([0]),
    RebalanceError,
    "server-0 has no room: 13 keys need a file each, its disk has 12 left; nothing was changed",
  );
  assertEquals(cluster.snapshot(), before);
  target.room = { ...disk, freeBytes: 175_396, freeFiles: 13 };
  assertEquals((await cluster.rebalance([0])).moved, 13);
  // What is there already takes no more room.
  target.room = { ...disk, freeBytes: 0, freeFiles: 0 };
  assertEquals((await cluster.rebalance([0])).inPlace, 26);
});

Deno.test("targets that share a disk are told together what room it lacks", async () => {
  const cluster = new Cluster(servers(3), [0]);
  for (const letter of LETTERS) cluster.write(letter, letter.repeat(5000));
  const [, one, two] = cluster.servers;
  assert(one !== undefined && two !== undefined);
  const disk = { start: "1", writes: 0, usedBytes: 1e9, blockBytes: 4096, journalBytes: 10_000 };
  // 9 keys of two blocks on each of them, and journals that take no more than what servers tell.
  const needed = 18 * 8192 + 2 * 10_000;
  const room = (freeBytes: number, fileSystem: string | undefined, freeFiles = 1e9) => ({
    ...{ ...disk, freeBytes, fileSystem, freeFiles },
  });
  one.room = two.room = room(needed - 1, "a");
  await assertRejects(
    () => cluster.rebalance([0, 1, 2]),
    RebalanceError,
    `server-1 and server-2 have no room: 18 keys take ${needed} bytes (167 kB) in blocks of 4096, ` +
      `their journals included, and the disk they share has ${needed - 1} (167 kB) free; nothing`,
  );
  two.room = room(1e12, "a", 16);
  await assertRejects(
    () => cluster.rebalance([0, 1, 2]),
    RebalanceError,
    "server-1 and server-2 have no room: 18 keys need a file each, the disk they share has 16 left",
  );
  // Disks that look the same and are two have room for it, also where servers do not tell which.
  for (const fileSystem of ["b", undefined]) {
    one.room = room(needed - 1, fileSystem);
    two.room = room(needed - 1, fileSystem === undefined ? undefined : "c");
    assertEquals((await cluster.rebalance([0, 1, 2])).moved, 18);
    one.values.clear();
    two.values.clear();
  }
  one.room = two.room = room(needed, "a");
  assertEquals((await cluster.rebalance([0, 1, 2])).moved, 18);
});

Deno.test("sources with the same numbers are not taken for one disk", async () => {
  const cluster = new Cluster(servers(3), [0, 1]);
  for (const letter of LETTERS) cluster.write(letter, letter.repeat(5000));
  const [one, two, target] = cluster.servers;
  assert(one !== undefined && two !== undefined && target !== undefined);
  const room = { start: "1", writes: 0, freeFiles: 1e9, blockBytes: 1, journalBytes: 0 };
  one.room = { ...room, usedBytes: 65_000, freeBytes: 1e9, fileSystem: "a" };
  two.room = { ...room, usedBytes: 65_000, freeBytes: 1e9, fileSystem: "b" };
  target.room = { ...room, usedBytes: 0, freeBytes: 129_999, fileSystem: "c" };
  await assertRejects(
    () => cluster.rebalance([2]),
    RebalanceError,
    "server-2 has no room: 26 keys",
  );
});

Deno.test("a pace is kept", async () => {
  const cluster = new Cluster(servers(2), [0, 1]);
  for (const letter of LETTERS) cluster.write(letter, letter);
  const start = performance.now();
  // 13 keys in batches of 2: six times that of two keys has to be waited for.
  await cluster.rebalance([0], { keysPerSecond: 100, batchKeys: 2 });
  assert(performance.now() - start >= 115);
});

Deno.test("a pace holds back nothing but copies", async () => {
  const cluster = new Cluster(servers(3), [0, 1]);
  for (const letter of LETTERS) cluster.write(letter, letter);
  // Too little to be sure, so that sizes are asked for.
  const room = { start: "1", writes: 0, usedBytes: 1e9, freeBytes: 1e9, blockBytes: 1 };
  for (const server of cluster.servers) server.room = { ...room, freeFiles: 1e9 };
  await cluster.rebalance([0, 1, 2]);
  const [, , added] = cluster.servers;
  added?.values.delete("b");
  // Of a key an hour the first one does not wait.
  const keysPerSecond = 1 / 3600;
  const signal = AbortSignal.timeout(20_000);
  const dry = await cluster.rebalance([0, 1, 2], { dryRun: true, keysPerSecond, signal });
  assertEquals([dry.moved, dry.inPlace, dry.interrupted], [1, 25, false]);
  const details = new Cluster(servers(2), [0]);
  for (const letter of "abc") details.write(letter, letter);
  assertEquals(
    (await details.rebalance([0, 1], { details: true, dryRun: true, keysPerSecond, signal })).keys,
    3,
  );
  // In place already: nothing is copied, and all of it pruned.
  cluster.write("c", "c");
  added?.values.set("b", "b");
  const pruned = await cluster.rebalance([0, 1, 2], { prune: true, keysPerSecond, signal });
  assertEquals([pruned.moved, pruned.pruned > 10, pruned.interrupted], [0, true, false]);
});

// Random histories against the one thing that users see: what clients read before a rebalance they
// read after it, however often it was killed on the way.

const KEYS = ["a", "b", "c", "d", "e", "f", "aa", "ab", "ba", "é", "😀", ",", ".."];
const SERVERS = 4;

const lists = fc.shuffledSubarray([0, 1, 2, 3], { minLength: 1 });
const steps = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({ kind: fc.constant("write"), key: fc.constantFrom(...KEYS) }),
  },
  {
    weight: 2,
    arbitrary: fc.record({ kind: fc.constant("delete"), key: fc.constantFrom(...KEYS) }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      kind: fc.constant("scale"),
      list: lists,
      prune: fc.boolean(),
      batchKeys: fc.integer({ min: 1, max: 5 }),
      kills: fc.array(fc.record({ after: fc.nat(150), applied: fc.boolean() }), { maxLength: 3 }),
    }),
  },
);
const histories = fc.record({
  placement: fc.constantFrom("modulo" as const, "jump" as const),
  list: lists,
  steps: fc.array(steps, { maxLength: 25 }),
});

Deno.test("any history: nothing is lost, the newest wins, kills do no harm, twice is once", async () => {
  await fc.assert(
    fc.asyncProperty(histories, async (history) => {
      const cluster = new Cluster(servers(SERVERS), history.list, history.placement);
      for (const [index, key] of KEYS.entries()) if (index % 2 === 0) cluster.write(key, "0");
      let values = 0;
      for (const step of history.steps) {
        if (!("list" in step)) {
          if (step.kind === "write") cluster.write(step.key, String(++values));
          else cluster.delete(step.key);
          continue;
        }
        if (step.list.join() === cluster.list.join()) continue;
        await checkScale(cluster, step);
      }
    }),
    { numRuns: 400 },
  );
});

async function checkScale(
  cluster: Cluster,
  { list, prune, kills, batchKeys }: {
    list: readonly number[];
    prune: boolean;
    batchKeys: number;
    kills: readonly { after: number; applied: boolean }[];
  },
): Promise<void> {
  const before = cluster.view();
  const everything = new Map(cluster.servers.flatMap((server) => [...server.values]));
  const unclear = new Set<string>();
  const onEvent = (event: RebalanceEvent) => {
    if (event.kind === "unclear") unclear.add(event.key);
  };
  for (const { after, applied } of kills) {
    try {
      await cluster.rebalance(list, { prune, onEvent, batchKeys, fuse: new Fuse(after, applied) });
    } catch (error) {
      if (!(error instanceof Killed)) throw error;
    }
    // Clients go on reading by the old list until the run is complete, unless it prunes.
    if (!prune) assertEquals(cluster.view(), before);
  }
  await cluster.rebalance(list, { prune, onEvent });

  const state = cluster.snapshot();
  const again = await cluster.rebalance(list, { prune, onEvent });
  assertEquals([again.moved, again.pruned, again.left], [0, 0, 0]);
  assertEquals(again.keys, again.moved + again.inPlace + again.unclear + again.orphans);
  assertEquals(cluster.snapshot(), state);

  const used = new Set([...cluster.list, ...list]);
  cluster.list = list;
  const after = cluster.view();
  for (const [key, value] of before) assertEquals([key, after.get(key)], [key, value]);
  for (const key of after.keys()) if (!before.has(key)) assert(unclear.has(key), key);
  // A key that clients did not see may be a left-over, or what an earlier run moved: never deleted.
  for (const key of everything.keys()) {
    assert(cluster.servers.some((server) => server.values.has(key)), key);
  }
  if (!prune) return;
  for (const key of before.keys()) {
    const holders = cluster.servers.filter((server, index) =>
      used.has(index) && server.values.has(key)
    );
    assertEquals(holders, [cluster.ownerOf(key)]);
  }
}
