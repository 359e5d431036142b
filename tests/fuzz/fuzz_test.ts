import { assertEquals, assertGreater, assertLess } from "@std/assert";
import { Dice } from "../crash/dice.ts";
import { fuzz, summary } from "./fuzz.ts";

/** KVS_TEST_REQUESTS: how many requests the tests of this file send together. */
const REQUESTS = Number(Deno.env.get("KVS_TEST_REQUESTS") ?? 2500);

/** What resident memory may grow by after the warm-up: garbage of V8, keys that mutations made. */
const MEMORY_TOLERANCE = 64 * 2 ** 20;

const seed = Dice.seed();

Deno.test(`${REQUESTS * 0.8} good, bad and mutated requests: no failure, no leak (KVS_TEST_SEED=${seed})`, async () => {
  const report = await fuzz({ seed, requests: REQUESTS * 0.8 });
  console.log(summary(report));
  // A short run may do without the rarer ones.
  const rare = REQUESTS < 20_000 ? [] : [304, 413, 414, 417, 431, 501, 505];
  for (const status of [200, 201, 204, 400, 404, 405, 412, ...rare]) {
    assertGreater(report.statuses.get(status) ?? 0, 0, `Nothing was answered ${status}`);
  }
  assertEquals(report.descriptors.after, report.descriptors.before);
  assertLess(report.memory.after - report.memory.before, MEMORY_TOLERANCE);
});

Deno.test(`${REQUESTS * 0.1} requests over few connections with short time-outs (KVS_TEST_SEED=${seed})`, async () => {
  const limits = ["--max-connections", "6", "--header-timeout", "1", "--body-timeout", "1"];
  const args = [...limits, "--idle-timeout", "1"];
  console.log(summary(await fuzz({ seed, requests: REQUESTS * 0.1, args, loose: true })));
});

Deno.test(`SIGTERM amid ${REQUESTS * 0.1} requests ends with 0 (KVS_TEST_SEED=${seed})`, async () => {
  const args = ["--drain", "0.5"];
  console.log(summary(await fuzz({ seed, requests: REQUESTS * 0.1, args, endsUnderFire: true })));
});
