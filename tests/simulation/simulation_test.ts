/** The real servers, clients and mover on a network and disks that a seed decides about. */
import { failureOf } from "./simulated_run.ts";

/** The number of seeds, each a schedule of its own. */
const SCHEDULES = Number(Deno.env.get("KVS_TEST_SCHEDULES") ?? 100);

/** The first seed, to repeat a failure. */
const FIRST = Number(Deno.env.get("KVS_TEST_SEED") ?? 0);

Deno.test(`${SCHEDULES} schedules of a move lose no write and no key`, async () => {
  for (let seed = FIRST; seed < FIRST + SCHEDULES; seed++) {
    const failure = await failureOf(seed);
    if (failure !== undefined) throw new Error(failure);
  }
});
