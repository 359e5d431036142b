/** Any history of moves, writes and kills leaves the newest value of each key on its owner. */
import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import { type RebalanceEvent } from "../../../core/rebalance/events.ts";
import { Cluster, Fuse, Killed, servers } from "./memory_endpoint.ts";

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
      later: fc.array(fc.constantFrom(...KEYS), { maxLength: 6 }),
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
        const old = cluster.list;
        await checkScale(cluster, step);
        await checkAgain(cluster, old, step);
      }
    }),
    { numRuns: 400 },
  );
});

/** The same again, when clients have gone on by the new list: what they wrote stays. */
async function checkAgain(
  cluster: Cluster,
  old: readonly number[],
  { list, prune, later }: { list: readonly number[]; prune: boolean; later: readonly string[] },
): Promise<void> {
  for (const [index, key] of later.entries()) {
    if (index % 3 === 2) cluster.delete(key);
    else cluster.write(key, `later ${index} ${old}`);
  }
  const view = cluster.view();
  const before = new Cluster(cluster.servers, old, cluster.placement);
  const newer = new Set<string>();
  const { newer: count } = await before.rebalance(list, {
    prune,
    onEvent: (event) => {
      if (event.kind === "newer") newer.add(event.key);
    },
  });
  assertEquals(cluster.view(), view);
  assertEquals(newer.size, count);
  for (const key of newer) assert(later.includes(key), key);
}

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
