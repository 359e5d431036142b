/** An upgrade as docs/operating.md describes it: a rolling restart under constant load. */
import { assert, assertEquals, assertGreater } from "@std/assert";
import { until } from "../e2e/program.ts";
import { act, startAll } from "./act.ts";
import { Load } from "./load.ts";

act("a rolling restart loses no save and fails no request", async ({ cluster }) => {
  const rows = await startAll(cluster, "server-disk.yaml");
  const before = cluster.set.pods;
  const load = new Load(cluster, {
    servers: ["server-0.server", "server-1.server", "server-2.server"],
    clients: 8,
  });
  await until("there are keys", () => load.keys >= 100 || undefined);

  await cluster.set.restart();
  rows.skip();
  await rows.untilServers("hhh");
  await load.stop();

  await load.assertNothingLost();
  const { requests, refusedBy503, unreachable, failed, longestWaitMs } = load.summary;
  assertEquals(failed, 0);
  assertGreater(refusedBy503, 0);
  assert(cluster.set.pods.every((pod) => !before.includes(pod)));
  rows.assertHistories(() => /^h+5*\.*5*h+$/, await rows.owners());
  console.log(
    `${requests} requests, ${refusedBy503} attempts answered 503, ${unreachable} unreachable, ` +
      `${failed} failed, longest wait ${(longestWaitMs / 1000).toFixed(1)} s`,
  );
  return [rows];
});
