import { assert, assertEquals, assertMatch } from "@std/assert";
import { delay } from "@std/async/delay";
import { modulo } from "../../core/placement.ts";
import { type Asked, type Doorman } from "./doorway.ts";
import { type Running } from "./program.ts";
import { ManyKeys } from "./rebalance_cluster.ts";

/** How often a run is killed; more for a longer search: KVS_TEST_REBALANCE_KILLS=50. */
const KILLS = Number(Deno.env.get("KVS_TEST_REBALANCE_KILLS") ?? 4);
const SEED = Number(Deno.env.get("KVS_TEST_SEED") ?? Math.floor(Math.random() * 2 ** 31));

/** Numbers from 0 to 1 that depend on the seed only (mulberry32). */
function randomNumbers(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** Parts of a run that a kill can hit, and how many of their requests there are at least. */
const PARTS = [["before it saves", 9], ["while it saves", 5], ["while it checks", 8]] as const;
type Part = typeof PARTS[number][0];

/** Tells which part of a run a request belongs to. */
class Follower {
  part: Part = "before it saves";
  readonly #counts = new Map<Part, number>();

  /** Counts a request in; returns which one of its part it is, from 1. */
  follow(asked: Asked): number {
    if (asked.isBatchOf("put") && this.part === "before it saves") this.part = "while it saves";
    if (asked.isBatchOf("head") && this.part === "while it saves") this.part = "while it checks";
    const count = (this.#counts.get(this.part) ?? 0) + 1;
    this.#counts.set(this.part, count);
    return count;
  }
}

Deno.test(`killed at ${KILLS} moments, it loses nothing and completes (seed ${SEED})`, async () => {
  const random = randomNumbers(SEED);
  const pick = (count: number) => Math.floor(random() * count);
  await using cluster = await ManyKeys.start(3, 2000);
  const keys = [...cluster.expected.keys()];
  let onAsked: Doorman = (_asked, forward) => forward();
  for (let index = 0; index < 3; index++) cluster.guard(index, (...args) => onAsked(...args));
  const hits = new Map<string, number>();
  for (let kill = 0; kill < KILLS; kill++) {
    const [part, requests] = PARTS[kill % PARTS.length] ?? PARTS[0];
    const [at, moment] = [1 + pick(requests), (["before", "within", "behind"] as const)[pick(3)]];
    const follower = new Follower();
    const { promise: started, resolve: onStart } = Promise.withResolvers<Running>();
    let hit = "none: it had ended";
    let disturbed = false;
    onAsked = async (asked, forward) => {
      const run = await started;
      const count = follower.follow(asked);
      if (follower.part === "while it saves" && !disturbed) {
        disturbed = true;
        // So that there is something to be checked.
        await cluster.write("key-0", `written in run ${kill}`);
      }
      if (follower.part !== part || count !== at) return await forward();
      hit = `${part}, ${moment} a request`;
      const cut = new AbortController();
      const answer = moment === "before" ? undefined : forward(cut.signal);
      answer?.catch(() => {});
      if (moment === "within") await Promise.race([answer, delay(3 * random())]);
      if (moment === "behind") await answer;
      run.kill("SIGKILL");
      cut.abort();
      await run.exit();
      return new Response(null, { status: 503 });
    };
    await using run = cluster.rebalance(2, ["--output", "json"]);
    onStart(run);
    const code = await run.exit();
    assert(code === 137 || hit.startsWith("none"), `${hit}: ${code}`);
    hits.set(hit, (hits.get(hit) ?? 0) + 1);
    // Until a run is complete, clients go on with the old list: newer values must win.
    for (let write = 0; write < 200; write++) {
      const key = keys[pick(keys.length)] ?? "";
      await cluster.write(key, `written after kill ${kill}, ${write}`);
    }
    assertEquals(await cluster.view(3), cluster.expected);
  }
  for (const [hit, count] of [...hits].sort()) console.log(`  ${count} kills ${hit}`);
  const parts = PARTS.slice(0, KILLS).map(([part]) => part);
  for (const part of parts) assert([...hits.keys()].some((hit) => hit.startsWith(part)), part);
  onAsked = (_asked, forward) => forward();
  await using last = cluster.rebalance(2, ["--output", "json"]);
  assertEquals(await last.exit(), 0, last.stderr.join("\n"));
  assertEquals(await cluster.view(2), cluster.expected);
  await using again = cluster.rebalance(2, ["--output", "json"]);
  assertEquals(await again.exit(), 0);
  assertMatch(again.stdout.at(-1) ?? "", /"keys":2000,"moved":0,/);
});

/**
 * Runs a rebalance from three servers to two, and `act` at its first save on server 1: the save is
 * carried out only behind that.
 */
function runUntilSave(
  cluster: ManyKeys,
  args: readonly string[],
  act: (run: Running) => Promise<void>,
): Running {
  const { promise: started, resolve: onStart } = Promise.withResolvers<Running>();
  let acted = false;
  cluster.guard(1, async (asked, forward) => {
    if (asked.isBatchOf("put") && !acted) {
      acted = true;
      await act(await started);
    }
    return await forward();
  });
  const run = cluster.rebalance(2, ["--output", "json", ...args]);
  onStart(run);
  return run;
}

for (const [role, index] of [["target", 0], ["source", 2]] as const) {
  Deno.test(`a ${role} that is restarted in the middle only slows it`, async () => {
    await using cluster = await ManyKeys.start(3, 2000);
    await using run = runUntilSave(cluster, [], () => cluster.kill(index));
    await run.line(/(cannot be reached: .*|cut its answer off); trying again for up to 60 s$/);
    await cluster.restart(index);
    assertEquals(await run.exit(), 0, run.stderr.join("\n"));
    assertEquals(await cluster.view(2), cluster.expected);
  });
}

Deno.test("a server that stays away ends it with one clear line", async () => {
  await using cluster = await ManyKeys.start(3, 2000);
  await using run = runUntilSave(cluster, ["--patience", "1"], () => cluster.kill(2));
  assertEquals(await run.exit(), 1);
  assertMatch(
    run.stderr.at(-1) ?? "",
    /^127\.0\.0\.1:\d+ (?:cannot be reached: .*|cut its answer off) \(tried \d+ times in \d\.\d s\); \d+ of \d+ keys are on their new servers, nothing is lost: run it again to complete it$/,
  );
  await cluster.restart(2);
  await using again = cluster.rebalance(2, []);
  assertEquals(await again.exit(), 0);
  assertEquals(await cluster.view(2), cluster.expected);
});

Deno.test("what is written by the old list during the move is noticed, and the next run copies it", async () => {
  await using cluster = await ManyKeys.start(3, 2000);
  await using run = runUntilSave(cluster, [], async () => {
    const keys = [...cluster.expected.keys()];
    for (let index = 0; index < keys.length; index += 5) {
      await cluster.write(keys[index] ?? "", `newer ${index}`);
    }
    // New keys too.
    for (let index = 0; index < 20; index++) await cluster.write(`new-${index}`, "new");
  });
  assertEquals(await run.exit(), 3, run.stderr.join("\n"));
  const { changing, newer, busy } = JSON.parse(run.stdout.at(-1) ?? "");
  assert(changing > 0 && newer === 0 && busy === true, run.stdout.at(-1));
  await using again = cluster.rebalance(2, ["--output", "json", "--prune"]);
  assertEquals(await again.exit(), 0, again.stderr.join("\n"));
  assertEquals(await cluster.view(2), cluster.expected);
});

Deno.test("with a writer through the whole move, each key that it wrote is told", async () => {
  await using cluster = await ManyKeys.start(3, 1000);
  const hot = [...cluster.expected.keys()]
    .filter((key) => modulo(key, 3) !== modulo(key, 2)).slice(0, 3);
  let isOver = false;
  let writes = 0;
  let last = Promise.resolve();
  // A write with every request, so that the writer is never too slow to be noticed.
  for (let index = 0; index < 3; index++) {
    cluster.guard(index, async (_asked, forward) => {
      if (isOver) return await forward();
      last = last.then(() => cluster.write(hot[writes % hot.length] ?? "", `write ${writes++}`));
      await last;
      return await forward();
    });
  }
  await using run = cluster.rebalance(2, ["--output", "json"]);
  assertEquals(await run.exit(), 3, run.stderr.join("\n"));
  const told = run.stdout.filter((line) => line.startsWith('{"event":"changing"'))
    .map((line): string => JSON.parse(line).key);
  assertEquals(told.sort(), hot.toSorted());
  // All others are there, and once nobody writes any more a further run brings these too.
  const view = await cluster.view(2);
  for (const [key, value] of cluster.expected) {
    if (!hot.includes(key)) assertEquals([key, view.get(key)], [key, value]);
  }
  isOver = true;
  await using again = cluster.rebalance(2, []);
  assertEquals(await again.exit(), 0, again.stderr.join("\n"));
  assertEquals(await cluster.view(2), cluster.expected);
});

Deno.test("Ctrl-C stops between batches, with a summary of what is done", async () => {
  await using cluster = await ManyKeys.start(3, 2000);
  await using run = runUntilSave(cluster, [], async (run) => {
    run.kill("SIGINT");
    await run.line(/^Stopping/);
  });
  assertEquals(await run.exit(), 130);
  const summary = run.stdout.at(-1) ?? "";
  const { moved, left, interrupted, keys, inPlace } = JSON.parse(summary);
  assert(interrupted && moved > 0 && left > 0 && keys === moved + left + inPlace, summary);
});

Deno.test("Ctrl-C while a server is away ends it in the same way", async () => {
  await using cluster = await ManyKeys.start(3, 2000);
  await using run = runUntilSave(cluster, [], async (run) => {
    await cluster.kill(2);
    await cluster.kill(0);
    run.line(/trying again for up to 60 s$/).then(() => run.kill("SIGINT")).catch(() => {});
  });
  assertEquals(await run.exit(), 130, run.stderr.join("\n"));
  const summary = run.stdout.at(-1) ?? "";
  const { moved, left, interrupted, keys, inPlace } = JSON.parse(summary);
  assert(interrupted && left > 0 && keys === moved + left + inPlace, summary);
  await cluster.restart(2);
  await cluster.restart(0);
  await using again = cluster.rebalance(2, []);
  assertEquals(await again.exit(), 0, again.stderr.join("\n"));
  assertEquals(await cluster.view(2), cluster.expected);
});
