/** The acts of the story with volumes on disk (server-disk.yaml). */
import { act, startAll } from "./act.ts";

act("e. disk: server-2 is deleted and comes back with all of its data", async ({ cluster }) => {
  const rows = await startAll(cluster, "server-disk.yaml");

  cluster.beforeCreate = () => rows.untilServers("hh.");
  await cluster.pod("server-2").terminate();
  await rows.untilServers("hhh", 2);

  const owners = await rows.owners();
  rows.assertHistories((_, owner) => owner === "2" ? /^h+5+\.+5*h+$/ : /^h+$/, owners);
  return [rows];
});

act("f. disk: the whole set is deleted and applied again", async ({ cluster }) => {
  const rows = await startAll(cluster, "server-disk.yaml");

  const deleted = cluster.deleteSet();
  await rows.untilServers("555");
  await deleted;
  await rows.untilServers("...");

  const steps = ["...", "h..", "hh."];
  cluster.beforeCreate = () => rows.untilServers(steps.shift() ?? "");
  await cluster.apply("server-disk.yaml");
  await rows.untilServers("hhh", 2);

  rows.assertHistories(() => /^h+5+\.+5*h+$/, await rows.owners());
  return [rows];
});
