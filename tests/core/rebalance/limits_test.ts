/** Room on the targets, and the pace that is asked for. */
import { assert, assertEquals, assertLess, assertRejects } from "@std/assert";
import { RebalanceError } from "../../../core/errors.ts";
import { Cluster, LETTERS, servers } from "./memory_endpoint.ts";

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

Deno.test("sizes are asked for in large batches, however large the values are", async () => {
  const cluster = new Cluster(servers(2), [1]);
  for (let index = 0; index < 5000; index++) cluster.write(`key-${index}`, "v".repeat(5000));
  const [target, source] = cluster.servers;
  assert(target !== undefined && source !== undefined);
  // More is used there than is free here: only the sizes can tell.
  const disk = { start: "1", writes: 0, blockBytes: 1, freeBytes: 1e9, freeFiles: 1e9 };
  source.room = { ...disk, usedBytes: 2e9 };
  target.room = { ...disk, usedBytes: 0 };
  const steps: number[] = [];
  const { moved } = await cluster.rebalance([0], {
    onEvent(event) {
      if (event.kind === "progress" && event.phase === "room") steps.push(event.done);
    },
  });
  assertEquals([moved, steps.at(-1)], [5000, 5000]);
  assertLess(steps.length, 60);
});

Deno.test("targets that share a disk are told together what room it lacks", async () => {
  const cluster = new Cluster(servers(3), [0]);
  for (const letter of LETTERS) cluster.write(letter, letter.repeat(5000));
  const [source, one, two] = cluster.servers;
  assert(source !== undefined && one !== undefined && two !== undefined);
  const disk = { start: "1", writes: 0, usedBytes: 1e9, blockBytes: 4096, journalBytes: 10_000 };
  source.room = { ...disk, freeBytes: 1e9, freeFiles: 1e9 };
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
    for (const server of [source, one, two]) server.note = undefined;
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
  for (const server of cluster.servers) server.note = undefined;
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
