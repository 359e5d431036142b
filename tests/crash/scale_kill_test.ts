import { assert, assertEquals } from "@std/assert";
import { delay } from "@std/async/delay";
import { type Running, until } from "../e2e/program.ts";
import { fill, Load, ScaleCluster, valueOf } from "../e2e/scale_cluster.ts";
import { Dice } from "./dice.ts";

/** KVS_TEST_SCALE_KEYS: how many keys are on the servers beside those of the writers. */
const KEYS = Number(Deno.env.get("KVS_TEST_SCALE_KEYS") ?? 2000);

/** The numbers of servers, one move after the other; fewer of them with few keys, as in `task test`. */
const WAY = KEYS < 10_000 ? [3, 5, 2] : [3, 5, 2, 4, 1, 3];

const WRITERS = 16;
const COUNTERS = 8;

/** The longest time from one kill to the next (ms). */
const MOST_PAUSE_MS = 1500;

/** Keys in a second, so that a move lasts long enough to be killed often. */
const RATE = KEYS;

/** How long one move may take with all its kills (ms). */
const MOVE_MS = 600_000;

/** How a run ends whose first look met a server that was just being killed; it has changed nothing, or is repeated. */
const AWAY = /cannot be reached|shutting down|cut its answer off/;

/** Kills the mover or a server now and then, until the move is complete; resolves to the number of kills. */
async function moveUnderFire(cluster: ScaleCluster, count: number, dice: Dice): Promise<number> {
  let kills = 0;
  const end = performance.now() + MOVE_MS;
  while (performance.now() < end) {
    await using mover = cluster.start(count, "--output", "lines", "--rate", String(RATE));
    while (!await hasEnded(mover, dice.integer(20, MOST_PAUSE_MS))) {
      kills++;
      if (dice.next() < 0.4) mover.kill("SIGKILL");
      else await cluster.crash(dice.integer(0, cluster.servers.length - 1));
    }
    const code = await mover.exit();
    if (code === 0) return kills;
    const said = mover.stderr.join("\n");
    if (code !== 137 && !AWAY.test(said)) throw new Error(`exit code ${code}: ${said}`);
    await until("all servers are ready", async () => {
      const answers = await Promise.all(cluster.servers.map((server) => server.ask("/v1/layout")));
      return answers.every(({ status }) => status !== 503) || undefined;
    });
  }
  throw new Error(`The move to ${count} servers did not end`);
}

async function hasEnded(mover: Running, ms: number): Promise<boolean> {
  const end = performance.now() + ms;
  while (!mover.ended && performance.now() < end) await delay(20);
  return mover.ended;
}

Deno.test(`${WAY.join(" -> ")} servers under ${WRITERS} writers, with the mover and servers killed: nothing is lost`, async () => {
  const seed = Dice.seed();
  const dice = new Dice(seed);
  await using cluster = await ScaleCluster.start(Math.max(...WAY));
  const [first = 0, ...others] = WAY;
  const fixed = await fill(await cluster.client(first), KEYS);
  const found = await cluster.found(first);
  assertEquals(found.code, 0, found.stderr);
  const load = await Load.begin(cluster, { writers: WRITERS, keys: COUNTERS, fixed });
  let kills = 0;
  try {
    for (const count of others) kills += await moveUnderFire(cluster, count, dice);
  } finally {
    await load.end(await cluster.client());
  }
  assertEquals(load.faults, [], `KVS_TEST_SEED=${seed}`);
  assert(load.increments > 0 && load.reads > 0);
  const store = await cluster.client();
  const listed: string[] = [];
  for await (const key of store.keys({ prefix: "key-" })) listed.push(key);
  assertEquals(listed.length, KEYS, `KVS_TEST_SEED=${seed}`);
  for (const key of fixed) assertEquals((await store.get(key))?.text, valueOf(key));
  console.log(
    `${kills} kills, ${load.increments} increments, ${load.reads} loads of keys that were there all the time`,
  );
});
