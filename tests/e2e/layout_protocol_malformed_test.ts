/** Malformed bodies and headers of the layout protocol: 400 with `{error, detail}`, and nothing is changed. */
import { assert, assertEquals } from "@std/assert";
import { Shard, Shards } from "./layout_protocol.ts";
import { TempDir } from "./program.ts";

async function assertBad(
  shard: Shard,
  request: [method: string, path: string],
  body: BodyInit,
  what: string,
): Promise<void> {
  const before = await shard.state();
  const reply = await shard.ask(...request, { body });
  assertEquals(reply.status, 400, `${request.join(" ")} ${what}: ${reply.status} ${reply.text}`);
  const { error, detail } = reply.json<Record<string, unknown>>();
  assertEquals([typeof error, typeof detail], ["string", "string"], what);
  assert(typeof detail === "string" && detail.length > 0 && !detail.includes("\n    at "), what);
  assertEquals(await shard.state(), before, `${what} changed something`);
}

/** Bodies that are no object of JSON. */
const NO_OBJECTS = ["", "{", "null", "[]", "7", '"text"', "{} {}", "\u0000", '{"layout"'];

/** Copies of `good` that lack a field, or have a wrong value in it. */
function* spoilt(
  good: Record<string, unknown>,
  wrong: Readonly<Record<string, readonly unknown[]>>,
): Generator<[what: string, body: Record<string, unknown>]> {
  for (const [field, values] of Object.entries(wrong)) {
    for (const value of values) {
      const body = { ...good };
      if (value === undefined) delete body[field];
      else body[field] = value;
      yield [`${field} = ${JSON.stringify(value)}`, body];
    }
  }
}

const NO_UUID = [undefined, null, 7, "", "x", {}];
const NO_EPOCH = [undefined, null, "2", -1, 0, 1.5, 1e300, {}];
const NO_COUNT = [null, "2", -1, 0, 1.5, {}];

Deno.test("a layout that is none is refused and changes nothing", async () => {
  await using shards = await Shards.start(3);
  await shards.give(shards.steady(1, 2), 2);
  const shard = shards.get(1);
  const layout = { ...shards.moving(2, 2, 3) };
  const good = { layout, self: shard.name, store: shard.store };
  const request: [string, string] = ["PUT", "/v1/layout"];
  for (const body of NO_OBJECTS) await assertBad(shard, request, body, body);
  const wrong = {
    layout: [undefined, null, 7, "x", [], {}],
    self: [undefined, null, 7, "", {}],
    store: [7, {}],
    replace: ["yes", 1, null],
  };
  for (const [what, body] of spoilt(good, wrong)) {
    await assertBad(shard, request, JSON.stringify(body), what);
  }
  const names = layout.servers;
  const wrongLayout = {
    cluster: NO_UUID,
    epoch: NO_EPOCH,
    since: [null, "2", -1, 1.5, 3],
    placement: [undefined, null, 7, "", "nearest"],
    servers: [undefined, null, "a", [], [7], [""], [...names, ...names], { 0: "a" }],
    next: ["a", [], [7], [names[0], names[0]]],
    nextPlacement: [7, "", "nearest"],
    lost: ["a", [7], ["server-9.server"], {}],
    stores: [undefined, null, [], "x", {}, { [shard.name]: shard.store }],
  };
  for (const [what, body] of spoilt(layout, wrongLayout)) {
    await assertBad(shard, request, JSON.stringify({ ...good, layout: body }), what);
  }
  await assertBad(
    shard,
    request,
    JSON.stringify({ ...good, layout: { ...layout, next: [...names].reverse() } }),
    "another anchor",
  );
  assert(!(await shard.state()).stopped, "Nothing of this stops a server");
  await shard.take(shards.moving(2, 2, 3));
});

Deno.test("handover, take and done say what is wrong with their bodies", async () => {
  await using shards = await Shards.start(3);
  await shards.give(shards.steady(1, 2), 2);
  const [source, target] = [shards.get(0), shards.get(2)];
  for (const key of "bdh") await source.key("PUT", key, undefined, { body: key });
  const layout = shards.moving(2, 2, 3);
  await shards.give(layout, 3);
  const { cluster, epoch, since } = layout;

  const handover: [string, string] = ["POST", "/v1/handover"];
  for (const body of NO_OBJECTS) await assertBad(source, handover, body, body);
  const asks = { cluster, epoch, keys: 10, bytes: 1_000, leaseMs: 1_000 };
  const wrong = {
    cluster: NO_UUID.slice(0, 3),
    epoch: NO_EPOCH,
    keys: NO_COUNT,
    bytes: NO_COUNT,
    leaseMs: NO_COUNT,
  };
  for (const [what, body] of spoilt(asks, wrong)) {
    await assertBad(source, handover, JSON.stringify(body), what);
  }
  assertEquals((await source.key("PUT", "b", undefined, { body: "b" })).status, 204, "No fence");

  const done: [string, string] = ["POST", "/v1/handover/done"];
  for (const body of NO_OBJECTS) await assertBad(source, done, body, body);
  const ends = { cluster, epoch, fence: 1 };
  for (
    const [what, body] of spoilt(ends, { epoch: NO_EPOCH, fence: [undefined, null, "1", 1.5] })
  ) {
    await assertBad(source, done, JSON.stringify(body), what);
  }

  const take: [string, string] = ["POST", "/v1/handover/take"];
  const head = {
    cluster,
    epoch,
    since,
    source: source.name,
    fence: 7,
    attempt: 1,
    after: null,
    upto: null,
  };
  const heads = {
    epoch: NO_EPOCH,
    source: [undefined, null, 7],
    fence: [undefined, null, "7", 1.5],
    attempt: [undefined, null, "1", 1.5],
    after: [7, {}],
    upto: [7, {}],
    large: [7, {}, { key: "b", type: "x/y" }, { key: "b", type: "x/y", size: -1 }],
  };
  for (const body of NO_OBJECTS) await assertBad(target, take, body, body);
  for (const [what, body] of spoilt(head, heads)) {
    await assertBad(target, take, JSON.stringify(body) + "\n", what);
  }
  const { headers: told } = await source.key("HEAD", "b");
  const line = { key: "b", value: "b", type: told.get("content-type"), etag: told.get("etag") };
  const lines = {
    key: [undefined, null, 7, "", "\ud800", "x".repeat(300), "_shutting_down_"],
    value: [undefined, null, 7],
    type: [undefined, null, 7],
    etag: [undefined, null, 7],
    base64: ["AAE="],
  };
  for (const [what, body] of spoilt(line, lines)) {
    const text = [head, body].map((each) => JSON.stringify(each) + "\n").join("");
    await assertBad(target, take, text, `line with ${what}`);
  }
  for (const rest of ["{", "null\n", "[]\n", "7\n", '{"key":"b","base64":"*"}\n']) {
    await assertBad(target, take, JSON.stringify(head) + "\n" + rest, rest);
  }
  const good = [head, line].map((each) => JSON.stringify(each) + "\n").join("");
  const taken = await target.ask(...take, { body: good });
  assertEquals(taken.status, 204, `Nothing was remembered: ${taken.text}`);
});

Deno.test("a header that is no layout is refused on v1 routes and book routes", async () => {
  await using dir = new TempDir();
  await using bare = await Shard.start("server-0.server", dir.path);
  await using shards = await Shards.start(2);
  await shards.give(shards.steady(5, 2), 2);
  const { cluster } = shards;
  const bad = [
    "",
    "5",
    cluster,
    `${cluster}:`,
    `${cluster}:x`,
    `${cluster}:-5`,
    `${cluster}:5.5`,
    `${cluster}:5;`,
    `${cluster}:5;gone`,
    `${cluster}:5;moved;moved`,
    `:5`,
    `${cluster}:5 moved`,
    `${cluster}:0x5`,
  ];
  for (const shard of [shards.get(1), bare]) {
    for (const form of bad) {
      const headers = { "kvs-layout": form };
      for (
        const [method, path] of [
          ["GET", "/v1/keys/a"],
          ["PUT", "/v1/keys/a"],
          ["DELETE", "/v1/keys/a"],
          ["POST", "/v1/batch"],
          ["GET", "/v1/keys"],
        ] as const
      ) {
        const body = method === "PUT" || method === "POST"
          ? { body: '{"op":"put","key":"a","value":"x"}\n' }
          : {};
        const reply = await shard.ask(method, path, { headers, ...body });
        assertEquals(
          reply.status,
          400,
          `${method} ${path} by ${JSON.stringify(form)}: ${reply.text}`,
        );
        assertEquals(typeof reply.json<Record<string, unknown>>().detail, "string");
      }
      for (const path of ["/load/a", "/save/a/x", "/allKeys"]) {
        const reply = await shard.ask("GET", path, { headers });
        assertEquals(reply.status, 400, `${path} by ${form}: ${reply.text}`);
        assertEquals(reply.text.trim().split("\n").length, 1);
      }
    }
    assertEquals((await shard.state()).keys, 0);
  }
  for (const fence of ["", "x", "-1", "1.5"]) {
    const headers = { "kvs-fence": fence };
    assertEquals((await shards.get(1).key("GET", "a", undefined, { headers })).status, 400, fence);
  }
});

Deno.test("the routes of layouts refuse other methods, and ask for the token", async () => {
  await using dir = new TempDir();
  const token = "t".repeat(32);
  await Deno.writeTextFile(dir.join("token"), token, { mode: 0o600 });
  const headers = { authorization: `Bearer ${token}` };
  await using shards = await Shards.start(1);
  const shard = shards.get(0);
  const routes = [["GET", "/v1/layout"], ["PUT", "/v1/layout"], ["POST", "/v1/handover"], [
    "POST",
    "/v1/handover/take",
  ], ["POST", "/v1/handover/done"]] as const;
  for (const [, path] of routes) {
    const reply = await shard.ask("DELETE", path);
    assertEquals(reply.status, 405, path);
    assert(reply.headers.get("allow") !== null);
    const right = path === "/v1/layout" ? "PUT" : "POST";
    assertEquals((await shard.ask(right, `${path}?x=1`, { body: "{}" })).status, 400, "A query");
  }
  await shard.restart(["--token-file", dir.join("token")]);
  for (const [method, path] of routes) {
    const body = method === "GET" ? {} : { body: "{}" };
    assertEquals((await shard.ask(method, path, body)).status, 401, `${method} ${path}`);
    const known = await shard.ask(method, path, { ...body, headers });
    assertEquals(known.status, method === "GET" ? 200 : 400, `${method} ${path} ${known.text}`);
  }
});
