/** Pods that end without any hook, or hang, with volumes on disk (server-disk.yaml). */
import { assert, assertEquals, assertGreaterOrEqual } from "@std/assert";
import { exists } from "@std/fs/exists";
import { until } from "../e2e/program.ts";
import { act, startAll } from "./act.ts";
import { type KubeCluster } from "./cluster.ts";
import { Load } from "./load.ts";
import { readManifest } from "./manifest.ts";

const SERVERS = ["server-0.server", "server-1.server", "server-2.server"];

/** Enough keys that a kill finds saves under way (count). */
const ENOUGH_KEYS = 100;

act("g. a Pod ends without any hook: SIGKILL, and the loss of its node", async ({ cluster }) => {
  const rows = await startAll(cluster, "server-disk.yaml");
  const load = new Load(cluster, { servers: SERVERS, clients: 8 });
  await until("there are keys", () => load.keys >= ENOUGH_KEYS || undefined);

  // The process is killed: the kubelet starts another container in the same Pod.
  const killed = cluster.pod("server-1");
  await killed.kill();
  await until("server-1 is started again", () => killed.restarts === 1 || undefined);
  await cluster.set.settled();
  assertEquals(cluster.pod("server-1"), killed);
  assertEquals(killed.lastEnd, undefined);

  // The node is lost: the StatefulSet puts another Pod in its place, with the same volume.
  cluster.beforeCreate = () => rows.untilServers("hh.");
  const lost = cluster.pod("server-2");
  await lost.vanish();
  await cluster.set.settled();
  assert(cluster.pod("server-2") !== lost);
  await rows.untilServers("hhh", 2);

  await load.stop();
  await load.assertNothingLost();
  assertEquals(load.summary.failed, 0);
  const owners = await rows.owners();
  rows.assertHistories((_, owner) => {
    if (owner === "0") return /^h+$/;
    return owner === "1" ? /^h+\.*5*h+$/ : /^h+\.+5*h+$/;
  }, owners);
  return [rows];
});

act("h. a marker that stayed on the volume is cleared by postStart", async ({ cluster }) => {
  const rows = await startAll(cluster, "server-disk.yaml");

  // The node is lost in the middle of a termination: the marker stays.
  cluster.beforeCreate = () => rows.untilServers("h.h");
  const lost = cluster.pod("server-1");
  await lost.exec("/kvs", "lifecycle", "prestop");
  await rows.untilServers("h5h");
  const marker = `${lost.volume("data")}/_shutting_down_`;
  await lost.vanish();
  assert(await exists(marker));
  await cluster.set.settled();
  assert(!await exists(marker));
  await rows.untilServers("hhh", 2);
  const owners = await rows.owners();
  rows.assertHistories((_, owner) => owner === "1" ? /^h+5+\.+5*h+$/ : /^h+$/, owners);

  // And without that hook it stays at 503, so it was the hook that did it.
  await cluster.deleteSet();
  cluster.beforeCreate = () => Promise.resolve();
  await applyWithoutPostStart(cluster);
  const answer = await until("server-0 says that it is marked", async () => {
    const found = await cluster.get("server-0.server", "/readyz");
    return found?.body.includes("_shutting_down_") ? found : undefined;
  });
  assertEquals(answer.status, 503);
  assertEquals((await cluster.get("server-0.server", "/load/a"))?.status, 503);
  assert(!cluster.pod("server-0").ready);
  return [rows];
});

async function applyWithoutPostStart(cluster: KubeCluster): Promise<void> {
  const resources = await readManifest("server-disk.yaml");
  for (const resource of resources) {
    if (resource.kind !== "StatefulSet") continue;
    for (const container of resource.spec?.template.spec?.containers ?? []) {
      delete container.lifecycle?.postStart;
    }
  }
  cluster.applyResources(resources);
}

act("a server that hangs is killed after the grace period", async ({ cluster }) => {
  const rows = await startAll(cluster, "server-disk.yaml");
  const pod = cluster.pod("server-0");
  Deno.kill(await pod.pid(), "SIGSTOP");

  const begin = performance.now();
  await pod.terminate();
  const seconds = (performance.now() - begin) / 1000;
  assertEquals(pod.lastEnd, { exitCode: 137 });
  assertGreaterOrEqual(seconds, 10);

  await cluster.set.settled();
  await rows.untilServers("hhh", 2);
  const owners = await rows.owners();
  rows.assertHistories((_, owner) => owner === "0" ? /^h+\.+5*h+$/ : /^h+$/, owners);
  return [rows];
});
