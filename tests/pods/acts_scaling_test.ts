/** Scaling down and up with the keys moved, and what a Service has to publish for it. */
import { assert, assertArrayIncludes, assertEquals, assertStringIncludes } from "@std/assert";
import { until } from "../e2e/program.ts";
import { act, startAll } from "./act.ts";
import { type KubeCluster } from "./cluster.ts";
import { readManifest } from "./manifest.ts";
import { type Rows } from "./rows.ts";

/** The letters that belong to the same server of two and of three. */
const STAYS = /[afglmrsxy]/;

act("c. scaling down, d. scaling up", async ({ cluster, step }) => {
  const client = await startAll(cluster, "server.yaml");
  const watchers: Rows[] = [];

  await step({
    name: "c. from 3 to 2: rebalance-down, then scale",
    async fn() {
      await cluster.deletePod("client");
      await cluster.apply("client-ro-2.yaml");
      const rows = await cluster.rows("client-ro-2");
      watchers.push(rows);
      await rows.until("hmmmmhhmmmmhhmmmmhhmmmmhhm", 2);

      const moved = await cluster.runToEnd("rebalance-down.yaml");
      assertEquals(moved.exitCode, 0, moved.lines.join("\n"));
      assertArrayIncludes(moved.lines, [
        "server-2.server: ['b', 'e', 'h', 'k', 'n', 'q', 't', 'w', 'z']",
        "b=b server-2.server->server-0.server",
        "http://server-0.server/save/b/b b",
        "c=c server-0.server->server-1.server",
      ]);
      await rows.untilServers("hh");

      cluster.set.scale(2);
      await assertDrainingPodIsReached(cluster);
      await cluster.set.settled();
      assertEquals(cluster.resolve("server-2.server"), undefined);
      await rows.untilServers("hh", 2);
      const owners = await rows.owners();
      rows.assertHistories((letter) => STAYS.test(letter) ? /^h+$/ : /^m+h+$/, owners);
      await cluster.deletePod("client-ro-2");
    },
  });

  await step({
    name: "d. from 2 to 3: scale, then rebalance-up",
    async fn() {
      await cluster.apply("client-ro-3.yaml");
      const rows = await cluster.rows("client-ro-3");
      watchers.push(rows);
      // Two servers still have their copies from when there were three.
      await rows.untilServers("hh.", 2);
      cluster.set.scale(3);
      await rows.untilServers("hhm", 2);
      await assertUnreadyPodIsReached(cluster, rows);

      const moved = await cluster.runToEnd("rebalance-up.yaml");
      assertEquals(moved.exitCode, 0, moved.lines.join("\n"));
      assertArrayIncludes(moved.lines, ["b=b server-0.server->server-2.server"]);
      await rows.untilServers("hhh", 2);
      const owners = await rows.owners();
      rows.assertHistories((_, owner) => owner === "2" ? /^\.+5*m+5+m+h+$/ : /^h+$/, owners);
    },
  });
  return [client, ...watchers];
});

/** server-2 terminates: it is still named, says so itself, and is not among those that are ready. */
async function assertDrainingPodIsReached(cluster: KubeCluster): Promise<void> {
  const pod = cluster.pod("server-2");
  await until("server-2 drains", async () => {
    const answer = await cluster.get("server-2.server", "/load/b");
    return answer?.status === 503 || undefined;
  });
  assert(pod.terminating);
  assertEquals(readyNames(cluster), ["server-0", "server-1"]);
  assertEquals((await cluster.get("server-ready", "/healthz"))?.status, 200);
  const tried = await cluster.runToEnd("rebalance-down.yaml");
  assertEquals(tried.exitCode, 1);
  assertStringIncludes(tried.lines.join("\n"), "server-2.server answered 503: it is shutting down");
}

/** server-2 is marked by hand, so not ready: named all the same, and ready again without the mark. */
async function assertUnreadyPodIsReached(cluster: KubeCluster, rows: Rows): Promise<void> {
  const pod = cluster.pod("server-2");
  await pod.exec("/kvs", "lifecycle", "prestop");
  await until("server-2 is not ready", () => !pod.ready || undefined);
  assertEquals(readyNames(cluster), ["server-0", "server-1"]);
  await rows.untilServers("hh5");
  const tried = await cluster.runToEnd("rebalance-up.yaml");
  assertEquals(tried.exitCode, 1);
  assertStringIncludes(tried.lines.join("\n"), "server-2.server answered 503: it is shutting down");
  await pod.exec("/kvs", "lifecycle", "poststart");
  await cluster.set.settled();
  assertEquals(readyNames(cluster), ["server-0", "server-1", "server-2"]);
  await rows.untilServers("hhm");
}

function readyNames(cluster: KubeCluster): string[] {
  return cluster.services.endpoints("server-ready").map(({ name }) => name);
}

act(
  "the trap: without publishNotReadyAddresses a draining Pod has no name",
  async ({ cluster }) => {
    const resources = await readManifest("server.yaml");
    for (const resource of resources) {
      if (resource.kind === "Service") delete resource.spec?.publishNotReadyAddresses;
    }
    cluster.applyResources(resources);
    await cluster.set.settled();
    await cluster.apply("client.yaml");
    const rows = await cluster.rows("client");
    await rows.untilServers("hhh");
    rows.mark();

    cluster.set.scale(2);
    const pod = cluster.pod("server-2");
    await until("server-2 terminates", () => pod.terminating || undefined);
    const tried = await cluster.runToEnd("rebalance-down.yaml");
    assert(pod.ip !== undefined, "server-2 still drains");
    assertEquals(tried.exitCode, 1);
    assertStringIncludes(
      tried.lines.join("\n"),
      "server-2.server cannot be reached: no connection",
    );
    await rows.untilServers("hh.");
    const owners = await rows.owners();
    rows.assertHistories((_, owner) => owner === "2" ? /^h+\.+$/ : /^h+$/, owners);
    return [rows];
  },
);
