/** What clients wrote by the new list is newer than what a move brings: the same again, or one that slept. */
import { assert, assertEquals, assertRejects } from "@std/assert";
import { RebalanceError } from "../../../core/errors.ts";
import { type RebalanceEvent } from "../../../core/rebalance/events.ts";
import { Cluster, Fuse, Killed, LETTERS, servers } from "./memory_endpoint.ts";

/** A cluster whose clients wrote all letters by the old list. */
function written(list: readonly number[]): Cluster {
  const cluster = new Cluster(servers(3), list);
  for (const letter of LETTERS) cluster.write(letter, `old ${letter}`);
  return cluster;
}

/** The same servers, and the clients that go by the new list. */
function changed(cluster: Cluster, list: readonly number[]): Cluster {
  return new Cluster(cluster.servers, list, cluster.placement);
}

/** Keeps the keys of the events of a kind. */
function keysOf(kind: RebalanceEvent["kind"], keys: string[]): (event: RebalanceEvent) => void {
  return (event) => {
    if (event.kind === kind && "key" in event) keys.push(event.key);
  };
}

for (const [asIs, toBe] of [[[0, 1], [0, 1, 2]], [[0, 1, 2], [0, 1]], [[0, 1], [1, 0]]] as const) {
  const title = `${asIs.length} to ${toBe.length} servers`;
  Deno.test(`the same again leaves what clients wrote since by the new list (${title})`, async () => {
    const cluster = written(asIs);
    const { moved } = await cluster.rebalance(toBe);
    const after = changed(cluster, toBe);
    for (const letter of LETTERS) after.write(letter, `new ${letter}`);
    const view = after.view();
    for (const prune of [false, true]) {
      const told: string[] = [];
      const again = await cluster.rebalance(toBe, { prune, onEvent: keysOf("newer", told) });
      assertEquals(after.view(), view);
      assertEquals([again.moved, again.newer, again.pruned], [0, moved, 0]);
      assertEquals([told.length, new Set(told).size], [moved, moved]);
      assertEquals(again.keys, again.moved + again.inPlace + again.newer + again.unclear);
    }
  });

  Deno.test(`a run that slept leaves what clients wrote meanwhile (${title})`, async () => {
    // In the check, only writes to a server that no client of the old list knows can be told.
    const moments = asIs.length < toBe.length ? ["survey", "moved", "check"] : ["survey", "moved"];
    for (const moment of moments) {
      const cluster = written(asIs);
      for (const server of cluster.servers) server.clientWrites = 0;
      const after = changed(cluster, toBe);
      let view: Map<string, string> | undefined;
      const summary = await cluster.rebalance(toBe, {
        batchKeys: 4,
        onEvent: (event) => {
          const name = event.kind === "progress" ? event.phase : event.kind;
          if (view !== undefined || name !== moment) return;
          for (const letter of LETTERS) after.write(letter, `new ${letter}`);
          view = after.view();
        },
      });
      if (view !== undefined) assertEquals([after.view(), summary.newer > 0], [view, true]);
      else assertEquals(moment, "check");
    }
  });
}

Deno.test("the same again brings back nothing that clients deleted by the new list", async () => {
  const cluster = written([0, 1]);
  await cluster.rebalance([0, 1, 2]);
  const after = changed(cluster, [0, 1, 2]);
  for (const letter of LETTERS) after.delete(letter);
  await cluster.rebalance([0, 1, 2]);
  assertEquals(after.view().size, 0);
});

Deno.test("the same again copies nothing, and --overwrite what clients wrote by the old list", async () => {
  const cluster = written([0, 1]);
  const { moved } = await cluster.rebalance([0, 1, 2]);
  for (const letter of LETTERS) cluster.write(letter, `later ${letter}`);
  const expected = cluster.view();
  const state = cluster.snapshot();
  for (const dryRun of [true, false]) {
    const again = await cluster.rebalance([0, 1, 2], { dryRun });
    assertEquals([again.moved, again.newer], [0, moved]);
    assertEquals(cluster.snapshot(), state);
  }
  const forced = await cluster.rebalance([0, 1, 2], { overwrite: true });
  assertEquals([forced.moved, forced.newer], [moved, 0]);
  assertEquals(changed(cluster, [0, 1, 2]).view(), expected);
});

Deno.test("a copy that an earlier move left is replaced", async () => {
  const cluster = written([0, 1, 2]);
  await cluster.rebalance([0, 1]);
  cluster.list = [0, 1];
  for (const letter of LETTERS) cluster.write(letter, `newer ${letter}`);
  const expected = cluster.view();
  const summary = await cluster.rebalance([0, 1, 2], { batchKeys: 4 });
  assertEquals(summary.newer, 0);
  assertEquals(changed(cluster, [0, 1, 2]).view(), expected);
});

Deno.test("another run, refused or cut off, does not let the same again write old values", async () => {
  const cluster = written([0, 1]);
  const { moved } = await cluster.rebalance([0, 1, 2]);
  const after = changed(cluster, [0, 1, 2]);
  for (const letter of LETTERS) after.write(letter, `new ${letter}`);
  const view = after.view();
  const jump = new Cluster(cluster.servers, [0, 1, 2], "jump");
  await assertRejects(() => jump.rebalance([0, 1], { force: false }), RebalanceError, "--force");
  // Cut off while it lists the servers, then while it copies.
  await assertRejects(() => after.rebalance([0, 1], { fuse: new Fuse(3, true) }), Killed);
  assertEquals((await cluster.rebalance([0, 1, 2])).newer, moved);
  await assertRejects(() => after.rebalance([0, 1], { fuse: new Fuse(30, true) }), Killed);
  await assertRejects(
    () => cluster.rebalance([0, 1, 2]),
    RebalanceError,
    "has begun another move (modulo 0/3 0/2) that was not completed",
  );
  assertEquals(after.view(), view);
});

Deno.test("a move that was cut off while it copied has to be completed first", async () => {
  const cluster = written([0, 1]);
  const stop = new AbortController();
  await cluster.rebalance([0, 1, 2], {
    batchKeys: 2,
    signal: stop.signal,
    onEvent: ({ kind }) => kind === "moved" && stop.abort(),
  });
  const state = cluster.snapshot();
  for (const dryRun of [true, false]) {
    await assertRejects(
      () => cluster.rebalance([0], { dryRun }),
      RebalanceError,
      "server-0 has begun another move (modulo 0/2 0/3) that was not completed: complete it first, " +
        "or go on with --overwrite; nothing was changed",
    );
  }
  assertEquals(cluster.snapshot(), state);
  assertEquals((await cluster.rebalance([0, 1, 2])).left, 0);
  assertEquals((await cluster.rebalance([0])).left, 0);
});

Deno.test("a repeat completes what was cut off while the servers were told", async () => {
  const cluster = written([0, 1]);
  await cluster.rebalance([0, 1, 2]);
  const [, one] = cluster.servers;
  assert(one?.note !== undefined);
  one.note = { ...one.note, complete: false };
  await cluster.rebalance([0, 1, 2]);
  assertEquals(one.note.complete, true);
});

Deno.test("a move with a server in another's place is no repeat", async () => {
  const cluster = written([0, 1]);
  await cluster.rebalance([0, 2]);
  const after = changed(cluster, [0, 2]);
  for (const letter of LETTERS) after.write(letter, `new ${letter}`);
  const view = after.view();
  const summary = await after.rebalance([0, 1]);
  assertEquals(summary.newer, 0);
  assertEquals(changed(cluster, [0, 1]).view(), view);
});
