/** Clients that have changed to the new list before a rebalance comes to its end, or is run once more. */
import { assert, assertEquals, assertMatch } from "@std/assert";
import { modulo } from "../../core/placement.ts";
import { type Running } from "./program.ts";
import { ManyKeys } from "./rebalance_cluster.ts";

const KEYS = 1000;

/** Writes all keys anew, as clients with the list of the first two servers. */
async function writeByNewList(cluster: ManyKeys, value: string): Promise<void> {
  for (const key of cluster.expected.keys()) await cluster.write(key, `${value} ${key}`, 2);
}

/** The keys that a run tells of because their targets keep them. */
function newerOf(run: Running): string[] {
  return run.stdout.filter((line) => line.startsWith('{"event":"newer"'))
    .map((line): string => JSON.parse(line).key).sort();
}

function moving(keys: Iterable<string>): string[] {
  return [...keys].filter((key) => modulo(key, 3) !== modulo(key, 2)).sort();
}

Deno.test("the same again leaves what clients wrote by the new list, also after restarts", async () => {
  await using cluster = await ManyKeys.start(3, KEYS);
  await using first = cluster.rebalance(2, ["--output", "json"]);
  assertEquals(await first.exit(), 0, first.stderr.join("\n"));
  await writeByNewList(cluster, "newer");
  for (const restarts of [0, 2]) {
    for (let index = 0; index < restarts; index++) {
      await cluster.kill(index);
      await cluster.restart(index);
    }
    await using again = cluster.rebalance(2, ["--output", "json", "--prune"]);
    assertEquals(await again.exit(), 3, again.stderr.join("\n"));
    assertEquals(newerOf(again), moving(cluster.expected.keys()));
    assertEquals(await cluster.view(2), cluster.expected);
  }
  await using lines = cluster.rebalance(2, ["--output", "lines"]);
  assertEquals(await lines.exit(), 3);
  const told = lines.stderr.join("\n");
  assertMatch(
    told,
    /\nNewer: key-\d+ on 127\.0\.0\.1:\d+ may be newer; the value of 127\.0\.0\.1:\d+ does not replace it/,
  );
  assertMatch(
    told,
    /\n\d+ keys were left as they are: their new servers hold other values or none, /,
  );
});

Deno.test("--overwrite copies what clients wrote by the old list behind a complete run", async () => {
  await using cluster = await ManyKeys.start(3, KEYS);
  for (const args of [[], ["--overwrite"]]) {
    for (const key of cluster.expected.keys()) await cluster.write(key, `${args} ${key}`);
    await using again = cluster.rebalance(2, ["--output", "json", ...args]);
    assertEquals(await again.exit(), 0, again.stderr.join("\n"));
    assertEquals(await cluster.view(2), cluster.expected);
  }
});

/** Holds a run at its first save, as SIGSTOP does, until `act` has come to its end. */
function sleepAtSave(cluster: ManyKeys, act: () => Promise<void>): Running {
  const { promise: started, resolve: onStart } = Promise.withResolvers<Running>();
  let acted = false;
  cluster.guard(1, async (asked, forward) => {
    if (asked.isBatchOf("put") && !acted) {
      acted = true;
      const run = await started;
      run.kill("SIGSTOP");
      await act();
      run.kill("SIGCONT");
    }
    return await forward();
  });
  const run = cluster.rebalance(2, ["--output", "json"]);
  onStart(run);
  return run;
}

Deno.test("a run that was stopped and wakes up later leaves what clients wrote meanwhile", async () => {
  await using cluster = await ManyKeys.start(3, KEYS);
  await using run = sleepAtSave(cluster, () => writeByNewList(cluster, "newer"));
  assertEquals(await run.exit(), 3, run.stderr.join("\n"));
  assert(newerOf(run).length > 0);
  assertEquals(await cluster.view(2), cluster.expected);
});

Deno.test("a run that wakes up after another one, and after clients, is stopped", async () => {
  await using cluster = await ManyKeys.start(3, KEYS);
  await using run = sleepAtSave(cluster, async () => {
    await using other = cluster.rebalance(2, ["--output", "json"]);
    assertEquals(await other.exit(), 0, other.stderr.join("\n"));
    await writeByNewList(cluster, "newer");
  });
  assertEquals(await run.exit(), 1);
  assertMatch(run.stderr.at(-1) ?? "", /answered 409: Another run of kvs rebalance has begun here/);
  assertEquals(await cluster.view(2), cluster.expected);
});

Deno.test("a run that wakes up after a move to another list is stopped", async () => {
  await using cluster = await ManyKeys.start(3, KEYS);
  await using run = sleepAtSave(cluster, async () => {
    await using other = cluster.rebalance(1, ["--output", "json", "--overwrite"]);
    assertEquals(await other.exit(), 0, other.stderr.join("\n"));
  });
  assertEquals(await run.exit(), 1);
  assertMatch(
    run.stderr.at(-1) ?? "",
    /answered 409: Another run of kvs rebalance has begun here since: modulo /,
  );
  assertEquals(await cluster.view(1), cluster.expected);
});
