import { assert, assertEquals, assertRejects } from "@std/assert";
import { RebalanceError, RemoteError } from "../../../core/errors.ts";
import { type RebalanceEvent } from "../../../core/rebalance/events.ts";
import { Patience } from "../../../core/rebalance/patience.ts";
import { Cluster, Fuse, LETTERS, MemoryEndpoint, servers } from "./memory_endpoint.ts";

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

const ALIASED: readonly [string, readonly number[], readonly number[]][] = [
  ["as it is and as it will be", [0], [1]],
  ["two items of the servers as they are", [0, 1], [2]],
  ["two items of the servers as they will be", [2], [0, 1]],
  ["at different places", [0, 2], [2, 1]],
];

for (const [where, asIs, toBe] of ALIASED) {
  Deno.test(`two names of one server are told before anything is changed: ${where}`, async () => {
    const server = new MemoryEndpoint("localhost:80");
    const twin = new MemoryEndpoint("127.0.0.1:80", { twin: server });
    const cluster = new Cluster([server, twin, new MemoryEndpoint("other")], asIs);
    for (const letter of LETTERS) server.values.set(letter, letter);
    const before = cluster.snapshot();
    for (const prune of [false, true]) {
      await assertRejects(
        () => cluster.rebalance(toBe, { prune }),
        RebalanceError,
        "localhost:80 and 127.0.0.1:80 are one server: name it in one way in both lists; nothing was changed",
      );
      assertEquals([cluster.snapshot(), server.saves, twin.saves], [before, 0, 0]);
    }
  });
}

Deno.test("a name that reaches another server before --prune deletes is noticed", async () => {
  const cluster = new Cluster([...servers(2), new MemoryEndpoint("service")], [0, 1]);
  for (const letter of LETTERS) cluster.write(letter, letter);
  const [first, , service] = cluster.servers;
  assert(first !== undefined && service !== undefined);
  const onEvent = (event: RebalanceEvent) => {
    // All keys that move have been compared.
    if (event.kind !== "progress" || event.phase !== "check" || event.done < 17) return;
    service.twin = first;
  };
  const before = cluster.view();
  const summary = await cluster.rebalance([0, 1, 2], { prune: true, onEvent });
  assertEquals([summary.busy, summary.pruned], [true, 0]);
  assertEquals(cluster.view(), before);
});

Deno.test("--prune refuses a server that does not tell which start of it this is", async () => {
  const silent = new MemoryEndpoint("silent", { silent: true });
  const cluster = new Cluster([new MemoryEndpoint("server-0"), silent], [0, 1]);
  for (const letter of LETTERS) cluster.write(letter, letter);
  const before = cluster.snapshot();
  await assertRejects(
    () => cluster.rebalance([0], { prune: true }),
    RebalanceError,
    "Cannot prune: silent does not tell which start of a server it is",
  );
  assertEquals(cluster.snapshot(), before);
  assertEquals((await cluster.rebalance([0])).moved, 13);
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
      assert(/^(8|9|10|11)\d of 200 keys are not on the server that owns them/.test(error.message));
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
