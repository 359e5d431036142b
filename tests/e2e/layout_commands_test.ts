/** The commands follow the layout of the cluster: one server of it is enough, also while keys move. */
import { assert, assertEquals, assertMatch } from "@std/assert";
import { kvs, Running, until } from "./program.ts";
import { fill, ScaleCluster } from "./scale_cluster.ts";

Deno.test("kvs get, put, keys, where and delete need one server of the layout", async () => {
  await using cluster = await ScaleCluster.start(3);
  const keys = await fill(await cluster.client(3), 200);
  assertEquals((await cluster.found(2)).code, 1, "The list does not fit the keys");
  const found = await cluster.found(3);
  assertEquals(found.code, 0, found.stderr);
  const servers = ["--servers", cluster.at(1).address];
  const ask = async (...args: string[]) => await kvs([...args, ...servers]);
  assertEquals((await ask("put", "c", "value")).code, 0);
  assertEquals((await ask("get", "c")).stdout, "value");
  const listed = (await ask("keys")).stdout.trimEnd().split("\n");
  assertEquals(listed.length, keys.length + 1);
  const where = await ask("where", "c", "--placement", "jump");
  assertEquals(where.stdout, `${cluster.at(0).address} (index 0 of 3, placement modulo)\n`);
  assertEquals((await ask("delete", "c")).code, 0);
  assertEquals((await ask("get", "c")).code, 1);
});

Deno.test("the rows of kvs client show hits through a whole move", async () => {
  await using cluster = await ScaleCluster.start(4);
  await fill(await cluster.client(3), 2000);
  assertEquals((await cluster.found(3)).code, 0);
  const args = ["client", cluster.at(0).address, "--interval", "0.1"];
  await using client = new Running(args);
  await client.line(/ h{26} \|/);
  const moved = await cluster.scale(4, "--rate", "1000");
  assertEquals(moved.code, 0, moved.stderr);
  const isHeader = (line: string) => /^ {20}[0-3]{26}$/.test(line);
  await until(
    "the header shows the new owners",
    () => client.stdout.filter(isHeader).length > 1 || undefined,
  );
  client.kill("SIGINT");
  await client.exit();
  const rows = client.stdout.filter((line) => line.includes(" | hits"));
  const others = rows.filter((line) => !/ h{26} \|/.test(line) && !/ [hw]{26} \|/.test(line));
  assertEquals(others, []);
  assert(rows.length > 5, client.stdout.join("\n"));
});

Deno.test("kvs rebalance refuses a cluster with a layout, and a book client sees 421", async () => {
  await using cluster = await ScaleCluster.start(3);
  await fill(await cluster.client(2), 50);
  assertEquals((await cluster.found(2)).code, 0);
  const { code, stderr } = await kvs(["rebalance", cluster.list(2), cluster.list(3)]);
  assertEquals(code, 1, stderr);
  assertMatch(stderr, /belongs to a cluster with a layout: scale it by kvs scale/);
  // By its own list of one server a book client would look for every key on the first one.
  const save = await cluster.at(0).ask("/save/a/wrong");
  assertEquals(save.status, 421);
  assertMatch(save.body, /^Misdirected: [^\n]+$/);
  assertEquals((await cluster.at(1).ask("/save/a/right")).status, 200);
  assertEquals((await cluster.at(0).ask("/load/a")).status, 421);
  assertEquals((await cluster.at(2).ask("/load/a")).status, 200, "It has no layout");
});
