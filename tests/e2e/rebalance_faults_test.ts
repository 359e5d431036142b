import { assert, assertEquals, assertMatch } from "@std/assert";
import { delay } from "@std/async/delay";
import { modulo } from "../../core/placement.ts";
import { type Running, until } from "./kvs.ts";
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

function movedLine(run: Running): Promise<RegExpExecArray> {
  return run.line(/^\{"event":"moved"/);
}

Deno.test(`killed at ${KILLS} moments, it loses nothing and completes (seed ${SEED})`, async () => {
  const random = randomNumbers(SEED);
  await using cluster = await ManyKeys.start(3, 2000);
  const keys = [...cluster.expected.keys()];
  let killed = 0;
  for (let kill = 0; kill < KILLS; kill++) {
    await using run = cluster.rebalance(2, ["--output", "json", "--rate", "4000"]);
    // Most of its life it moves; before that it starts and lists.
    if (random() < 0.8) await Promise.race([movedLine(run), run.exit()]).catch(() => {});
    await delay(400 * random());
    run.kill("SIGKILL");
    if (await run.exit() === 137) killed++;
    // Until a run is complete, clients go on with the old list: newer values must win.
    for (let write = 0; write < 200; write++) {
      const key = keys[Math.floor(random() * keys.length)] ?? "";
      await cluster.write(key, `written after kill ${kill}, ${write}`);
    }
    assertEquals(await cluster.view(3), cluster.expected);
  }
  assert(killed > 0);
  await using last = cluster.rebalance(2, ["--output", "json"]);
  assertEquals(await last.exit(), 0, last.stderr.join("\n"));
  assertEquals(await cluster.view(2), cluster.expected);
  await using again = cluster.rebalance(2, ["--output", "json"]);
  assertEquals(await again.exit(), 0);
  assertMatch(again.stdout.at(-1) ?? "", /"keys":2000,"moved":0,/);
});

for (const [role, index] of [["target", 0], ["source", 2]] as const) {
  Deno.test(`a ${role} that is restarted in the middle only slows it`, async () => {
    await using cluster = await ManyKeys.start(3, 2000);
    await using run = cluster.rebalance(2, ["--output", "json", "--rate", "1500"]);
    await movedLine(run);
    await cluster.kill(index);
    await run.line(/cannot be reached: .*; trying again for up to 60 s$/);
    await cluster.restart(index);
    assertEquals(await run.exit(), 0, run.stderr.join("\n"));
    assertEquals(await cluster.view(2), cluster.expected);
  });
}

Deno.test("a server that stays away ends it with one clear line", async () => {
  await using cluster = await ManyKeys.start(3, 2000);
  await using run = cluster.rebalance(2, ["--output", "json", "--rate", "1500", "--patience", "1"]);
  await movedLine(run);
  await cluster.kill(2);
  assertEquals(await run.exit(), 1);
  assertMatch(
    run.stderr.at(-1) ?? "",
    /^127\.0\.0\.1:\d+ cannot be reached: .* \(tried for 1 s\); \d+ of \d+ keys are on their new servers, nothing is lost: run it again to complete it$/,
  );
  await cluster.restart(2);
  await using again = cluster.rebalance(2, []);
  assertEquals(await again.exit(), 0);
  assertEquals(await cluster.view(2), cluster.expected);
});

Deno.test("what is written during the move is copied again before it ends", async () => {
  await using cluster = await ManyKeys.start(3, 2000);
  await using run = cluster.rebalance(2, ["--output", "json", "--rate", "1500"]);
  await movedLine(run);
  const keys = [...cluster.expected.keys()];
  for (let index = 0; index < keys.length; index += 5) {
    await cluster.write(keys[index] ?? "", `newer ${index}`);
  }
  // New keys too.
  for (let index = 0; index < 20; index++) await cluster.write(`new-${index}`, "new");
  assert(!run.stdout.some((line) => line.startsWith('{"event":"summary"')), "written too late");
  assertEquals(await run.exit(), 0, run.stderr.join("\n"));
  assertEquals(await cluster.view(2), cluster.expected);
  const { recopied, changing } = JSON.parse(run.stdout.at(-1) ?? "");
  assert(recopied > 0 && changing === 0, run.stdout.at(-1));
});

Deno.test("with a writer through the whole move, what does not come to rest is told", async () => {
  await using cluster = await ManyKeys.start(3, 1000);
  const hot = [...cluster.expected.keys()]
    .filter((key) => modulo(key, 3) !== modulo(key, 2)).slice(0, 10);
  await using run = cluster.rebalance(2, ["--output", "json"]);
  let ended = false;
  const end = run.exit().finally(() => ended = true);
  for (let write = 0; !ended; write++) {
    await cluster.write(hot[write % hot.length] ?? "", `write ${write}`);
  }
  assertEquals(await end, 3, run.stderr.join("\n"));
  const told = run.stdout.filter((line) => line.startsWith('{"event":"changing"'))
    .map((line): string => JSON.parse(line).key);
  assert(told.length > 0 && told.every((key) => hot.includes(key)), told.join());
  // All others are there, and after a further run these are too.
  const view = await cluster.view(2);
  for (const [key, value] of cluster.expected) {
    if (!hot.includes(key)) assertEquals([key, view.get(key)], [key, value]);
  }
  await using again = cluster.rebalance(2, []);
  assertEquals(await again.exit(), 0, again.stderr.join("\n"));
  assertEquals(await cluster.view(2), cluster.expected);
});

Deno.test("Ctrl-C stops between batches, with a summary of what is done", async () => {
  await using cluster = await ManyKeys.start(3, 2000);
  await using run = cluster.rebalance(2, ["--output", "json", "--rate", "1000"]);
  await movedLine(run);
  run.kill("SIGINT");
  assertEquals(await run.exit(), 130);
  const summary = await until("the summary is read", () => run.stdout.at(-1));
  const { moved, left, interrupted, keys, inPlace } = JSON.parse(summary);
  assert(interrupted && moved > 0 && left > 0 && keys === moved + left + inPlace, summary);
});
