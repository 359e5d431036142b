import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { modulo } from "../../core/placement.ts";
import { kvs, until } from "./program.ts";
import { fill, Load, ScaleCluster, valueOf } from "./scale_cluster.ts";

const KEYS = 3000;

/** All keys of a client's listing, which has to be complete. */
async function listed(cluster: ScaleCluster): Promise<string[]> {
  const store = await cluster.client();
  const keys: string[] = [];
  for await (const key of store.keys()) keys.push(key);
  return keys;
}

Deno.test("from 3 servers to 5 and to 2 while clients count and read: nothing is lost, nothing counts twice", async () => {
  await using cluster = await ScaleCluster.start(5);
  const fixed = await fill(await cluster.client(3), KEYS);
  const found = await cluster.found(3);
  assertEquals(found.code, 0, found.stderr);
  const load = await Load.begin(cluster, { writers: 8, keys: 5, fixed });
  for (const count of [5, 2]) {
    const { code, stderr, stdout } = await cluster.scale(count, "--output", "json");
    assertEquals(code, 0, stderr);
    assertMatch(stdout, /"event":"summary"/);
  }
  const before = load.increments;
  await until("the clients go on behind the moves", () => load.increments > before || undefined);
  await load.end(await cluster.client());
  assertEquals(load.faults, []);
  assert(load.reads > 0);
  assertEquals((await cluster.keysOf()).slice(2), [0, 0, 0]);
  const keys = await listed(cluster);
  assertEquals(keys.length, KEYS + 8 * 5);
});

Deno.test("a mover that was killed is completed by the next one, while clients go on", async () => {
  await using cluster = await ScaleCluster.start(4);
  const fixed = await fill(await cluster.client(3), KEYS);
  assertEquals((await cluster.found(3)).code, 0);
  const load = await Load.begin(cluster, { writers: 4, keys: 5, fixed });
  for (let kill = 0; kill < 2; kill++) {
    await using mover = cluster.start(4, "--output", "lines", "--rate", "2000");
    await mover.line(/ keys?, \d+ bytes?, up to /);
    mover.kill("SIGKILL");
    await mover.exit();
    const status = await kvs(["scale", "--status", "--servers", cluster.list(1)]);
    assertEquals(status.code, 3, status.stderr);
    assertStringIncludes(status.stdout, "hands over");
  }
  const { code, stderr } = await cluster.scale(4);
  assertEquals(code, 0, stderr);
  await load.end(await cluster.client());
  assertEquals(load.faults, []);
  const status = await kvs(["scale", "--status", "--servers", cluster.list(1)]);
  assertEquals(status.code, 0, status.stderr);
});

Deno.test("Ctrl-C stops between ranges, and another goal completes the move first", async () => {
  await using cluster = await ScaleCluster.start(3);
  await fill(await cluster.client(2), KEYS);
  assertEquals((await cluster.found(2)).code, 0);
  await using mover = cluster.start(3, "--output", "lines", "--rate", "1000");
  await mover.line(/ keys?, \d+ bytes?, up to /);
  mover.kill("SIGINT");
  assertEquals(await mover.exit(), 130);
  assertStringIncludes(mover.stdout.join("\n"), "run it again");
  const other = await cluster.scale(1);
  assertEquals(other.code, 3, other.stderr);
  assertStringIncludes(other.stdout, "Another move was under way");
  assertEquals((await cluster.scale(1)).code, 0);
  assertEquals((await listed(cluster)).length, KEYS);
});

Deno.test("large values, any bytes and content types come through", async () => {
  await using cluster = await ScaleCluster.start(3);
  const store = await cluster.client(1);
  const large = crypto.getRandomValues(new Uint8Array(50_000));
  const bytes = new Uint8Array(200_000);
  for (let at = 0; at < bytes.length; at += large.length) bytes.set(large, at);
  for (let index = 0; index < 12; index++) {
    await store.put(`large-${index}`, bytes, { contentType: `image/x-${index}` });
    await store.put(`small-${index}`, large.subarray(0, 100), { contentType: "text/x" });
    await store.put(`empty-${index}`, "");
  }
  await store.put(".", "dot");
  await store.put("schlüssel/💾", "wert", { contentType: "text/plain; charset=utf-8" });
  assertEquals((await cluster.found(1)).code, 0);
  for (const count of [3, 2, 1, 3]) {
    const { code, stderr } = await cluster.scale(count);
    assertEquals(code, 0, stderr);
  }
  const after = await cluster.client();
  for (let index = 0; index < 12; index++) {
    const found = await after.get(`large-${index}`);
    assertEquals(found?.contentType, `image/x-${index}`);
    assertEquals(found?.bytes, bytes);
    assertEquals((await after.get(`small-${index}`))?.bytes, large.subarray(0, 100));
    assertEquals((await after.get(`small-${index}`))?.contentType, "text/x");
    assertEquals((await after.get(`empty-${index}`))?.text, "");
  }
  assertEquals((await after.get("."))?.text, "dot");
  assertEquals((await after.get("schlüssel/💾"))?.contentType, "text/plain; charset=utf-8");
  const keys = await cluster.keysOf();
  assert(keys.every((count) => count > 0), `${keys}`);
});

Deno.test("another placement is a move, too", async () => {
  await using cluster = await ScaleCluster.start(3);
  await fill(await cluster.client(3), KEYS);
  assertEquals((await cluster.found(3)).code, 0);
  const { code, stderr } = await kvs([
    ...["scale", "--to-placement", "jump", "--servers", cluster.list(1)],
  ]);
  assertEquals(code, 0, stderr);
  assertEquals((await listed(cluster)).length, KEYS);
  const where = await cluster.at(0).ask("/v1/layout");
  assertEquals(JSON.parse(where.body).layout.placement, "jump");
});

Deno.test("--dry-run tells the plan and changes nothing", async () => {
  await using cluster = await ScaleCluster.start(3);
  await fill(await cluster.client(2), KEYS);
  const list = cluster.list(2);
  const dry = await kvs(["scale", cluster.list(3), "--servers", list, "--dry-run"]);
  assertEquals(dry.code, 0, dry.stderr);
  const moving = Array.from({ length: KEYS }, (_, index) => `key-${index}`)
    .filter((key) => modulo(key, 2) !== modulo(key, 3)).length;
  assertStringIncludes(dry.stdout, `${moving} keys to move`);
  assertStringIncludes(dry.stdout, `${cluster.at(0).address} -> ${cluster.at(2).address}: `);
  for (const server of cluster.servers) {
    const { status, body } = await server.ask("/v1/layout");
    assert(status === 404 || JSON.parse(body).layout === null, body);
  }
});

Deno.test("two movers at once come to the same goal", async () => {
  await using cluster = await ScaleCluster.start(4);
  const fixed = await fill(await cluster.client(3), KEYS);
  assertEquals((await cluster.found(3)).code, 0);
  const load = await Load.begin(cluster, { writers: 4, keys: 5, fixed });
  const both = await Promise.all([cluster.scale(4), cluster.scale(4)]);
  assertEquals(both.map(({ code, stderr }) => `${code} ${stderr}`), ["0 ", "0 "]);
  await load.end(await cluster.client());
  assertEquals(load.faults, []);
});

Deno.test("servers that are killed in a move only slow it down", async () => {
  await using cluster = await ScaleCluster.start(3);
  const fixed = await fill(await cluster.client(2), KEYS);
  assertEquals((await cluster.found(2)).code, 0);
  const load = await Load.begin(cluster, { writers: 4, keys: 5, fixed });
  await using mover = cluster.start(3, "--output", "lines", "--rate", "2000");
  await mover.line(/ keys?, \d+ bytes?, up to /);
  await cluster.crash(2);
  await cluster.crash(1);
  await cluster.crash(0);
  assertEquals(await mover.exit(), 0, mover.stderr.join("\n"));
  await load.end(await cluster.client());
  assertEquals(load.faults, []);
});

Deno.test("a server with a new disk serves nothing until the layout names it", async () => {
  await using cluster = await ScaleCluster.start(2);
  await fill(await cluster.client(2), 100);
  assertEquals((await cluster.found(2)).code, 0);
  await cluster.loseDisk(1);
  const { code, stderr } = await cluster.scale(2);
  assertEquals(code, 0, stderr);
  assertStringIncludes(stderr, "another disk");
  const store = await cluster.client();
  await store.put("key-1", "again");
  assertEquals((await store.get("key-1"))?.text, "again");
});

Deno.test("a source that lost its disk in a move stops it until somebody accepts the loss", async () => {
  await using cluster = await ScaleCluster.start(3);
  await fill(await cluster.client(2), KEYS);
  assertEquals((await cluster.found(2)).code, 0);
  await using mover = cluster.start(3, "--output", "lines", "--rate", "1000");
  await mover.line(/ keys?, \d+ bytes?, up to /);
  const lost = cluster.at(1);
  await cluster.loseDisk(1);
  assertEquals(await mover.exit(), 1);
  assertStringIncludes(mover.stderr.join("\n"), `--accept-loss ${lost.address}`);
  const other = await cluster.scale(3, "--accept-loss", cluster.at(0).address);
  assertEquals(other.code, 1);
  const { code, stderr } = await cluster.scale(3, "--accept-loss", lost.address);
  assertEquals(code, 0, stderr);
  const store = await cluster.client();
  for (let index = 0; index < 100; index++) {
    const found = await store.get(`key-${index}`);
    assert(found === undefined || found.text === valueOf(`key-${index}`));
  }
});

Deno.test("the first layout is refused for a list or placement that does not fit", async () => {
  await using cluster = await ScaleCluster.start(3);
  await fill(await cluster.client(3, { placement: "jump" }), 300);
  const short = await kvs(["scale", cluster.list(3), "--servers", cluster.list(2)]);
  assertEquals(short.code, 1);
  assertStringIncludes(short.stderr, "nothing was changed");
  const other = await cluster.found(3);
  assertEquals(other.code, 1);
  assertStringIncludes(other.stderr, "--placement jump fits");
  assertEquals((await cluster.found(3, "--placement", "jump")).code, 0);
});

Deno.test("a command line that is wrong is told in one line", async () => {
  for (
    const args of [["scale"], ["scale", "3"], ["scale", "--servers", "a"], [
      "scale",
      "0",
      "--servers",
      "a",
    ]]
  ) {
    const { code, stderr } = await kvs(args);
    assertEquals(code, 1, args.join(" "));
    assertMatch(stderr, /Usage: kvs scale/);
  }
});
