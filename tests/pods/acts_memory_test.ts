/** The acts of the story with volumes in memory (server.yaml). */
import { assertEquals } from "@std/assert";
import { until } from "../e2e/program.ts";
import { act, startAll } from "./act.ts";

act("minimal: the smallest set, its Service apart", async ({ cluster }) => {
  await cluster.apply("minimal/service.yaml");
  await cluster.apply("minimal/server.yaml");
  await cluster.set.settled();
  await cluster.apply("client.yaml");
  const rows = await cluster.rows("client");
  await rows.untilServers("www");
  await rows.untilServers("hhh");

  // Without a volume, what a server keeps goes with its container.
  const pod = cluster.pod("server-1");
  await pod.kill();
  await until("server-1 is started again", () => pod.restarts === 1 || undefined);
  await cluster.set.settled();
  rows.skip();
  await rows.untilServers("hhh");

  const owners = await rows.owners();
  rows.assertHistories((_, owner) => owner === "1" ? /^wh+[.5]*wh+$/ : /^wh+$/, owners);
  return [rows];
});

act("a. a client before its servers", async ({ cluster }) => {
  await cluster.apply("client.yaml");
  const rows = await cluster.rows("client");
  await rows.untilServers("...", 2);

  const created: string[] = [];
  const steps = ["h..", "hh."];
  // The next server is scheduled when the client has shown what the ones before it changed.
  cluster.beforeCreate = async (name) => {
    created.push(name);
    const step = steps[created.length - 2];
    if (step !== undefined) await rows.untilServers(step);
  };
  await cluster.apply("server.yaml");
  await rows.untilServers("hhh", 2);

  assertEquals(created, ["server-0", "server-1", "server-2"]);
  rows.assertHistories(() => /^\.+5*wh+$/, await rows.owners());
  return [rows];
});

act("b. memory: server-1 is deleted and comes back empty", async ({ cluster }) => {
  const rows = await startAll(cluster, "server.yaml");

  cluster.beforeCreate = () => rows.untilServers("h.h");
  await cluster.pod("server-1").terminate();
  await rows.untilServers("hhh", 2);

  const owners = await rows.owners();
  rows.assertHistories((_, owner) => owner === "1" ? /^h+5+\.+5*wh+$/ : /^h+$/, owners);
  return [rows];
});
