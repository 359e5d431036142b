/**
 * Section 2 of the specification of layouts: which server answers for a key, row by row of its table.
 *
 * From two servers to three, `modulo` moves single letters like this: b and h from 0 to 2, d and j from 0 to 1,
 * c and i from 1 to 0, e from 1 to 2; a and g stay on 1, f stays on 0.
 */
import { assert, assertEquals } from "@std/assert";
import { Shard, Shards } from "./layout_protocol.ts";
import { headerOf, type LayoutDocument, Reply } from "./layout_words.ts";

const HOW_OWNED: readonly [key: string, source: number, target: number][] = [
  ["a", 1, 1],
  ["b", 0, 2],
  ["c", 1, 0],
  ["d", 0, 1],
  ["e", 1, 2],
  ["f", 0, 0],
];

interface Misdirected {
  readonly error: string;
  readonly detail: string;
  readonly layout: LayoutDocument | null;
  readonly mark: string | null;
  readonly end: boolean;
}

/** Checks the JSON of a 421 of a v1 route. */
function assertMisdirected(
  reply: Reply,
  layout: LayoutDocument | null,
  mark: string | null = null,
  what = "",
): void {
  assertEquals(reply.status, 421, `${what} ${reply.text}`);
  const body = reply.json<Misdirected>();
  assertEquals(body.error, "misdirected_request", what);
  assertEquals(typeof body.detail, "string", what);
  assertEquals(body.layout?.epoch, layout?.epoch, what);
  assertEquals(body.layout?.cluster, layout?.cluster, what);
  assertEquals(body.layout?.servers, layout?.servers, what);
  assertEquals(body.layout?.next, layout?.next, what);
  assertEquals(body.layout?.stores, layout?.stores, what);
  assertEquals(body.layout === null, layout === null, what);
  if (mark !== null) assertEquals(body.mark, mark, what);
}

/** Every way to ask for one key answers with 421, and nothing is changed by it. */
async function assertRefusesAll(
  shard: Shard,
  key: string,
  { header, layout, mark = null }: {
    header: string | undefined;
    layout: LayoutDocument | null;
    mark?: string | null;
  },
): Promise<void> {
  const what = `${shard.name} ${key} by ${header}`;
  const { keys } = await shard.state();
  for (
    const [method, ask] of [
      ["GET", {}],
      ["PUT", { body: "new" }],
      ["PUT", { body: "new", headers: { "if-none-match": "*" } }],
      ["PUT", { body: "n".repeat(200_000) }],
      ["DELETE", {}],
    ] as const
  ) {
    const reply = await shard.key(method, key, header, ask);
    assertMisdirected(reply, layout, mark, `${method} ${what}`);
  }
  assertEquals((await shard.key("HEAD", key, header)).status, 421, `HEAD ${what}`);
  const batch = await shard.batch([
    { op: "get", key },
    { op: "put", key, value: "new" },
    { op: "head", key },
    { op: "delete", key },
  ], header);
  assertEquals(batch.status, 200, batch.text);
  const lines = batch.lines<Record<string, unknown>>();
  assertEquals(lines.length, 5, batch.text);
  for (const line of lines.slice(0, 4)) {
    assertEquals([line.status, line.key, line.error], [421, key, "misdirected_request"], what);
  }
  const last = new Reply(200, new Headers(), new TextEncoder().encode(JSON.stringify(lines[4])));
  const told = last.json<Misdirected>();
  assertEquals(told.layout?.epoch, layout?.epoch, what);
  assert("mark" in told && "end" in told, what);
  const headers: Record<string, string> = header === undefined ? {} : { "kvs-layout": header };
  for (const path of [`/load/${key}`, `/save/${key}/new`]) {
    const book = await shard.ask("GET", path, { headers });
    assertEquals(book.status, 421, `${path} ${what} ${book.text}`);
    assertEquals(book.text.trim().split("\n").length, 1, "One line of text");
    assert(!book.text.startsWith("{"), "Text, no JSON");
  }
  assertEquals((await shard.state()).keys, keys, "Nothing was stored or deleted");
}

/** Every way to ask for one key is served; the key is absent before and after. */
async function assertServesAll(shard: Shard, key: string, header: string | undefined) {
  const what = `${shard.name} ${key} by ${header}`;
  assertEquals((await shard.key("GET", key, header)).status, 404, what);
  assertEquals((await shard.key("PUT", key, header, { body: "1" })).status, 201, what);
  assertEquals((await shard.key("HEAD", key, header)).status, 200, what);
  const big = await shard.key("PUT", key, header, { body: "n".repeat(200_000) });
  assertEquals(big.status, 204, what);
  assertEquals((await shard.key("DELETE", key, header)).status, 204, what);
  const batch = await shard.batch([
    { op: "put", key, value: "2" },
    { op: "get", key },
    { op: "delete", key },
  ], header);
  const statuses = batch.lines<{ status: number }>().map(({ status }) => status);
  assertEquals(statuses, [201, 200, 204], what);
  const headers: Record<string, string> = header === undefined ? {} : { "kvs-layout": header };
  assertEquals((await shard.ask("GET", `/save/${key}/3`, { headers })).text, "3", what);
  assertEquals((await shard.ask("GET", `/load/${key}`, { headers })).text, "3", what);
  assertEquals((await shard.key("DELETE", key, header)).status, 204, what);
}

Deno.test("without a layout all is served without the header, and nothing with it", async () => {
  await using shards = await Shards.start(1);
  const shard = shards.get(0);
  for (const [key] of HOW_OWNED) await assertServesAll(shard, key, undefined);
  for (const form of [`${shards.cluster}:1`, `${shards.cluster}:7;moved`]) {
    await assertRefusesAll(shard, "a", { header: form, layout: null });
    const listing = await shard.ask("GET", "/v1/keys", { headers: { "kvs-layout": form } });
    assertMisdirected(listing, null);
  }
  const state = await shard.state();
  assertEquals([state.layout, state.self, state.mark, state.end], [null, null, null, false]);
});

Deno.test("in a steady layout a server answers for its own keys alone", async () => {
  await using shards = await Shards.start(3);
  const layout = shards.steady(3, 2);
  await shards.give(layout, 2);
  const { cluster } = shards;
  for (const [key, source] of HOW_OWNED) {
    const [owner, other] = [shards.get(source), shards.get(1 - source)];
    for (const form of [undefined, `${cluster}:3`, `${cluster}:1`, `${cluster}:3;moved`]) {
      await assertServesAll(owner, key, form);
    }
    await assertRefusesAll(other, key, { header: undefined, layout });
    await assertRefusesAll(other, key, { header: `${cluster}:3;moved`, layout });
  }
  const foreign = `${crypto.randomUUID()}:3`;
  for (const header of [foreign, `${cluster}:4`, `${cluster}:4;moved`]) {
    await assertRefusesAll(shards.get(1), "a", { header, layout });
    const listing = await shards.get(1).ask("GET", "/v1/keys", {
      headers: { "kvs-layout": header },
    });
    assertMisdirected(listing, layout);
  }
});

Deno.test("a server in no list of its layout serves nothing, and tells the layout", async () => {
  await using shards = await Shards.start(3);
  const layout = shards.steady(3, 2);
  const shard = shards.get(2);
  await shard.take(layout);
  for (const restarted of [false, true]) {
    if (restarted) await shard.restart();
    for (const [key] of HOW_OWNED) {
      for (const header of [undefined, headerOf(layout), headerOf(layout, true)]) {
        await assertRefusesAll(shard, key, { header, layout });
      }
    }
  }
});

Deno.test("while keys move each key has the one server that the table says", async () => {
  await using shards = await Shards.start(3);
  await shards.give(shards.steady(1, 2), 2);
  const layout = shards.moving(2, 2, 3);
  await shards.give(layout, 3);
  const { cluster } = shards;
  for (const [key, source, target] of HOW_OWNED) {
    for (const shard of shards.all) {
      const isSource = shard === shards.get(source);
      const isTarget = shard === shards.get(target);
      for (const form of [undefined, `${cluster}:2`, `${cluster}:1`, `${cluster}:1;moved`]) {
        if (isSource) await assertServesAll(shard, key, form);
        else await assertRefusesAll(shard, key, { header: form, layout });
      }
      const moved = `${cluster}:2;moved`;
      if (isSource || isTarget) await assertServesAll(shard, key, moved);
      else await assertRefusesAll(shard, key, { header: moved, layout });
      for (const form of [`${cluster}:3;moved`, `${crypto.randomUUID()}:2;moved`]) {
        await assertRefusesAll(shard, key, { header: form, layout });
      }
    }
  }
});

Deno.test("a key that is handed over is served by its target alone, with the mark told", async () => {
  await using shards = await Shards.start(3);
  await shards.give(shards.steady(1, 2), 2);
  const source = shards.get(0);
  for (const key of "bdfhj") await source.key("PUT", key, undefined, { body: `of ${key}` });
  for (const key of "aceg") await shards.get(1).key("PUT", key, undefined, { body: `of ${key}` });
  const layout = shards.moving(2, 2, 3);
  await shards.give(layout, 3);
  const range = await shards.carry(layout, source, { keys: 2 });
  assert(range !== undefined && range.upto !== null);
  const { upto } = range;
  const state = await source.state();
  assertEquals([state.mark, state.end], [upto, false]);
  const moved = headerOf(layout, true);
  for (const key of "bdhj") {
    const [, , to] = HOW_OWNED[(key.charCodeAt(0) - 97) % 6] ?? ["", 0, 0];
    const target = shards.get(to);
    if (key <= upto) {
      await assertRefusesAll(source, key, { header: undefined, layout, mark: upto });
      await assertRefusesAll(source, key, { header: moved, layout, mark: upto });
      assertEquals((await target.key("GET", key, moved)).text, `of ${key}`);
      await assertRefusesAll(target, key, { header: headerOf(layout), layout });
      await assertRefusesAll(target, key, { header: undefined, layout });
    } else {
      assertEquals((await source.key("GET", key, headerOf(layout))).text, `of ${key}`);
      assertEquals((await target.key("GET", key, moved)).status, 404);
    }
  }
  assertEquals((await source.key("GET", "f", headerOf(layout))).text, "of f", "f stays");

  const listed = await source.ask("GET", "/v1/keys");
  const page = listed.json<Record<string, unknown>>();
  const kept = [..."bdfhj"].filter((key) => key === "f" || key > upto);
  assertEquals(page.keys, kept);
  assertEquals([page.epoch, page.mark, page.end], [2, upto, false]);
  assertEquals((await source.ask("GET", "/allKeys")).text, kept.join(","));
  const stream = await source.ask("GET", "/v1/keys", {
    headers: { accept: "application/x-ndjson", "kvs-layout": headerOf(layout) },
  });
  const lines = stream.lines<Record<string, unknown>>();
  const { epoch, mark, end, key } = lines.at(-1) ?? {};
  assertEquals([epoch, mark, end, key], [2, upto, false, undefined]);
  assertEquals(lines.length, kept.length + 1);
  for (const [to, own] of [[1, "aceg"], [2, ""]] as const) {
    const came = [..."bdhj"].filter((key) =>
      key <= upto && (key.charCodeAt(0) - 97) % 6 === (to === 1 ? 3 : 1)
    );
    const all = (await shards.get(to).ask("GET", "/v1/keys")).json<{ keys: string[] }>();
    assertEquals(all.keys, [...own, ...came].sort(), "A target lists what it is the target of");
  }

  const batch = await source.batch(
    [..."bdfhj"].map((key) => ({ op: "get", key })),
    headerOf(layout),
  );
  const results = batch.lines<Record<string, unknown>>();
  for (const [index, key] of [..."bdfhj"].entries()) {
    assertEquals(results[index]?.status, kept.includes(key) ? 200 : 421, `${key} in a batch`);
  }
  assertEquals([results.at(-1)?.mark, results.at(-1)?.end], [upto, false]);
  const whole = await source.batch([{ op: "get", key: "f" }], headerOf(layout));
  assertEquals(whole.lines().length, 1, "No last line without a 421");
});
