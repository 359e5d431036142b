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
