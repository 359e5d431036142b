/** What clients write while keys are moved is not lost in silence. */
import { assert, assertEquals } from "@std/assert";
import { type RebalanceEvent } from "../../../core/rebalance/events.ts";
import { Cluster, LETTERS, servers } from "./memory_endpoint.ts";

/** Calls `write` whenever `key` has just been copied. */
function onCopy(key: string, write: () => void): (event: RebalanceEvent) => void {
  return (event) => {
    if (event.kind === "moved" && event.key === key) write();
  };
}

Deno.test("a key that changes behind its copy is told, and the next run copies it", async () => {
  const cluster = new Cluster(servers(3), [0, 1, 2]);
  for (const letter of LETTERS) cluster.write(letter, letter);
  const onEvent = onCopy("b", () => cluster.write("b", "newer"));
  const summary = await cluster.rebalance([0, 1], { onEvent });
  assertEquals([summary.moved, summary.changing], [17, 1]);
  const again = await cluster.rebalance([0, 1]);
  assertEquals([again.moved, again.inPlace, again.changing], [1, 25, 0]);
  cluster.list = [0, 1];
  assertEquals(cluster.view().get("b"), "newer");
});

Deno.test("a write behind the look of the check is noticed, and the next run copies it", async () => {
  const cluster = new Cluster(servers(3), [0, 1, 2]);
  for (const server of cluster.servers) server.clientWrites = 0;
  for (const letter of LETTERS) cluster.write(letter, letter);
  // Makes it look at all, though nothing that moves has changed.
  const change = onCopy("b", () => cluster.write("a", "newer"));
  const summary = await cluster.rebalance([0, 1], {
    onEvent: (event) => {
      change(event);
      // All 17 keys that move have been looked at, and the check is not over yet.
      if (event.kind !== "progress" || event.phase !== "check") return;
      if (event.done === 17) cluster.write("b", "late");
    },
  });
  assertEquals([summary.changing, summary.busy], [0, true]);
  const again = await cluster.rebalance([0, 1]);
  assertEquals([again.moved, again.busy], [1, false]);
  cluster.list = [0, 1];
  assertEquals([cluster.view().get("a"), cluster.view().get("b")], ["newer", "late"]);
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

Deno.test("a key that changes is told by name, and --prune waits", async () => {
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
  assertEquals([summary.changing, summary.pruned, writes], [1, 0, 1]);
  assertEquals(cluster.view().get("b"), "newer 1");
  await cluster.rebalance([0, 1], { prune: true });
  cluster.list = [0, 1];
  assertEquals(cluster.view().get("b"), "newer 1");
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

Deno.test("a target that loses its disk behind its last copy is noticed, and the next run fills it", async () => {
  const cluster = new Cluster(servers(3), [0, 1]);
  for (const server of cluster.servers) server.clientWrites = 0;
  for (const letter of LETTERS) cluster.write(letter, letter);
  const expected = cluster.view();
  const added = cluster.servers[2];
  assert(added !== undefined);
  let moved = 0;
  const summary = await cluster.rebalance([0, 1, 2], {
    prune: true,
    batchKeys: 2,
    onEvent: (event) => {
      if (event.kind === "moved" && ++moved === 17) added.loseDisk();
    },
  });
  assertEquals([summary.moved, summary.busy, summary.pruned], [17, false, 0]);
  assert(summary.changing > 0);
  const again = await cluster.rebalance([0, 1, 2], { prune: true });
  assertEquals([again.moved, again.busy], [summary.changing, false]);
  cluster.list = [0, 1, 2];
  assertEquals(cluster.view(), expected);
});

for (const [asIs, toBe] of [[[0, 1], [0, 1, 2]], [[0, 1, 2], [0, 1]]] as const) {
  const title = `${asIs.length} to ${toBe.length} servers`;
  Deno.test(`a copied key that clients write by the new list stays, also in further runs (${title})`, async () => {
    for (const [writes, isLate] of [[1, false], [1, true], [26, true]] as const) {
      const cluster = new Cluster(servers(3), asIs);
      for (const server of cluster.servers) server.clientWrites = 0;
      for (const letter of LETTERS) cluster.write(letter, letter);
      const after = new Cluster(cluster.servers, toBe);
      const moving = LETTERS.filter((letter) => after.ownerOf(letter) !== cluster.ownerOf(letter));
      let copied = 0;
      const told: string[] = [];
      const summary = await cluster.rebalance(toBe, {
        prune: true,
        onEvent: (event) => {
          if (event.kind === "newer") told.push(event.key);
          if (event.kind !== "moved" || ++copied !== (isLate ? moving.length : 1)) return;
          const keys = writes === 1 ? [event.key] : LETTERS;
          for (const key of keys) after.write(key, `new ${key}`);
        },
      });
      const expected = after.view();
      assertEquals([told.length, new Set(told).size], [summary.newer, summary.newer]);
      assertEquals([summary.newer, summary.changing, summary.pruned], [
        writes === 1 ? 1 : moving.length,
        0,
        0,
      ]);
      for (const key of told) assertEquals(expected.get(key), `new ${key}`);
      const again = await cluster.rebalance(toBe, { prune: true });
      assertEquals([again.moved, again.newer, again.pruned], [0, summary.newer, 0]);
      assertEquals(after.view(), expected);
    }
  });
}

Deno.test("a write by the old list to a server that is a target too is no newer value", async () => {
  const cluster = new Cluster(servers(3), [0, 1, 2]);
  for (const server of cluster.servers) server.clientWrites = 0;
  for (const letter of LETTERS) cluster.write(letter, letter);
  const after = new Cluster(cluster.servers, [0, 1]);
  // From server-0 to server-1.
  const key =
    LETTERS.find((letter) =>
      cluster.ownerOf(letter) === cluster.servers[0] && after.ownerOf(letter) === cluster.servers[1]
    ) ?? "";
  const summary = await cluster.rebalance([0, 1], {
    onEvent: onCopy(key, () => cluster.write(key, "newer")),
  });
  assertEquals([summary.newer, summary.changing, summary.busy], [0, 1, true]);
  const again = await cluster.rebalance([0, 1]);
  assertEquals([again.moved, again.newer, again.busy], [1, 0, false]);
  assertEquals(after.view().get(key), "newer");
});

Deno.test("a server that starts anew in the middle, and keeps its disk, is no reason to run again", async () => {
  const cluster = new Cluster(servers(3), [0, 1, 2]);
  for (const server of cluster.servers) server.clientWrites = 0;
  for (const letter of LETTERS) cluster.write(letter, letter);
  const summary = await cluster.rebalance([0, 1], {
    prune: true,
    onEvent: onCopy("b", () => cluster.servers[0] && cluster.servers[0].start++),
  });
  assertEquals([summary.changing, summary.busy, summary.pruned], [0, false, 17]);
});
