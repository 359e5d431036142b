/** The real servers, clients and mover on a network and disks that a seed decides about. */
import { assertMatch } from "@std/assert";
import { PLANTED_FAULTS } from "./planted_faults.ts";
import { failureOf } from "./simulated_run.ts";

/** The number of seeds, each a schedule of its own. */
const SCHEDULES = Number(Deno.env.get("KVS_TEST_SCHEDULES") ?? 60);

/** The first seed, to repeat a failure. */
const FIRST = Number(Deno.env.get("KVS_TEST_SEED") ?? 0);

Deno.test(`${SCHEDULES} schedules of a move lose no write and no key`, async () => {
  for (let seed = FIRST; seed < FIRST + SCHEDULES; seed++) {
    const failure = await failureOf(seed);
    if (failure !== undefined) throw new Error(failure);
  }
});

/** The most seeds in which a planted fault has to show itself. */
const MOST_SEEDS = 400;

for (const [name, planted] of Object.entries(PLANTED_FAULTS)) {
  Deno.test(`the simulation finds ${name}`, async () => {
    let failure: string | undefined;
    for (let seed = 0; seed < MOST_SEEDS && failure === undefined; seed++) {
      failure = await failureOf(seed, planted);
    }
    assertMatch(failure ?? "nothing was found", /is not linearizable|keys\(\) without|has owners/);
  });
}
