/** What clients wrote by the new list is newer than what a move brings: the same again, or one that slept. */
import { assert, assertEquals } from "@std/assert";
import { type RebalanceEvent } from "../../../core/rebalance/events.ts";
import { Cluster, LETTERS, servers } from "./memory_endpoint.ts";

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
    for (const moment of ["survey", "moved", "check"]) {
      const cluster = written(asIs);
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

Deno.test("the same again copies what clients wrote since by the old list", async () => {
  const cluster = written([0, 1]);
  const { moved } = await cluster.rebalance([0, 1, 2]);
  for (const letter of LETTERS) cluster.write(letter, `later ${letter}`);
  const expected = cluster.view();
  const again = await cluster.rebalance([0, 1, 2]);
  assertEquals([again.moved, again.newer], [moved, 0]);
  assertEquals(changed(cluster, [0, 1, 2]).view(), expected);
});

Deno.test("a copy that an earlier move left is replaced, also after a restart in the move", async () => {
  const cluster = written([0, 1, 2]);
  await cluster.rebalance([0, 1]);
  cluster.list = [0, 1];
  for (const letter of LETTERS) cluster.write(letter, `newer ${letter}`);
  const expected = cluster.view();
  let restarts = 0;
  const summary = await cluster.rebalance([0, 1, 2], {
    batchKeys: 4,
    onEvent: (event) => {
      if (event.kind !== "moved" || restarts++ > 0) return;
      for (const server of cluster.servers) server.restart();
    },
  });
  assertEquals([restarts > 0, summary.newer], [true, 0]);
  assertEquals(changed(cluster, [0, 1, 2]).view(), expected);
});

Deno.test("after a restart the same again leaves what differs, and --overwrite does not", async () => {
  const cluster = written([0, 1]);
  const { moved } = await cluster.rebalance([0, 1, 2]);
  const after = changed(cluster, [0, 1, 2]);
  for (const letter of LETTERS) after.write(letter, `new ${letter}`);
  for (const server of cluster.servers) server.restart();
  const view = after.view();
  assertEquals((await cluster.rebalance([0, 1, 2])).newer, moved);
  assertEquals(after.view(), view);
  const forced = await cluster.rebalance([0, 1, 2], { overwrite: true });
  assertEquals([forced.moved, forced.newer], [moved, 0]);
  assertEquals(after.view().get("b"), "old b");
});

Deno.test("a large run tells each key once, also where a check finds it", async () => {
  const cluster = new Cluster(servers(3), [0, 1]);
  for (const server of cluster.servers) server.clientWrites = 0;
  for (const letter of LETTERS) cluster.write(letter, letter);
  const after = changed(cluster, [0, 1, 2]);
  const told: string[] = [];
  let writes = 0;
  const summary = await cluster.rebalance([0, 1, 2], {
    onEvent: (event) => {
      keysOf("newer", told)(event);
      if (event.kind !== "moved" || writes++ > 0) return;
      // One by the new list, and one by the old list that has the check look again.
      after.write(event.key, "newer");
      cluster.write("a", "later");
    },
  });
  assertEquals([told.length, summary.newer, summary.changing], [1, 1, 0]);
  assert(told[0] !== undefined);
  assertEquals(after.view().get(told[0]), "newer");
});
