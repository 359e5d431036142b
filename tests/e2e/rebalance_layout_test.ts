/** A cluster with a layout is for `kvs scale`: rebalance leaves it alone. */
import { assertEquals } from "@std/assert";
import { kvs, Server, TempDir } from "./program.ts";
import { listOf } from "./rebalance_servers.ts";

Deno.test("a server with a layout is refused before anything is changed", async () => {
  await using dir = new TempDir();
  const start = async (name: string) => {
    await Deno.mkdir(dir.join(name));
    return await Server.start(dir.join(name));
  };
  await using first = await start("0");
  await using second = await start("1");
  const route = `http://${second.address}/v1/layout`;
  const { store }: { store: string } = await (await fetch(route)).json();
  const layout = {
    ...{ cluster: crypto.randomUUID(), epoch: 1, placement: "modulo" },
    ...{ servers: [second.address], stores: { [second.address]: store } },
  };
  const body = JSON.stringify({ layout, self: second.address, store });
  assertEquals((await fetch(route, { method: "PUT", body })).status, 204);
  await fetch(`http://${first.address}/v1/keys/a`, { method: "PUT", body: "b" });
  for (const options of [[], ["--dry-run"], ["--overwrite", "--force"]]) {
    const lists = [listOf([first]), listOf([first, second])];
    const { code, stdout, stderr } = await kvs(["rebalance", ...lists, ...options]);
    assertEquals([code, stdout, stderr], [
      1,
      "",
      `${second.address} belongs to a cluster with a layout: scale it by kvs scale, ` +
      "while its clients write; nothing was changed\n",
    ]);
  }
  const stats = await (await fetch(`http://${first.address}/v1/stats`)).json();
  assertEquals(stats.move, null);
});
