/** Section 3 of the specification of layouts, at the source of a move: ranges, fences, leases, marks. */
import { assert, assertEquals } from "@std/assert";
import { delay } from "@std/async/delay";
import {
  compareKeys,
  type Handover,
  headerOf,
  type LayoutDocument,
  pathOf,
  placed,
  rangeOf,
  type Reply,
  type Shard,
  Shards,
  sourceOf,
  targetOf,
} from "./layout_protocol.ts";

/** A move from two servers to three that has begun; `keys` are at their owners. */
async function begun(
  shards: Shards,
  values: Iterable<[key: string, value: BodyInit, type?: string]>,
): Promise<LayoutDocument> {
  const steady = shards.steady(1, 2);
  await shards.give(steady, 2);
  for (const [key, value, type] of values) {
    const headers: Record<string, string> = type === undefined ? {} : { "content-type": type };
    const owner = shards.named(placed(steady.servers, key));
    const reply = await owner.key("PUT", key, undefined, { body: value, headers });
    assert(reply.status === 201 || reply.status === 204, reply.text);
  }
  const layout = shards.moving(2, 2, 3);
  await shards.give(layout, 3);
  return layout;
}

function fenced(reply: Reply): Handover {
  const range = rangeOf(reply);
  assert(range !== undefined, "There is a range");
  return range;
}

/** Checks that a request has not been answered; how long it looks does not decide anything. */
async function assertWaits(request: Promise<Reply>): Promise<void> {
  const first = await Promise.race([request, delay(80)]);
  assertEquals(first?.status, undefined, `Answered in spite of the fence: ${first?.text}`);
}

function put(shard: Shard, key: string, body: BodyInit = "new"): Promise<Reply> {
  return shard.key("PUT", key, undefined, { body });
}

const LETTERS: [string, string][] = [..."abcdefghij"].map((key) => [key, `of ${key}`]);

Deno.test("ranges come in the order of UTF-8, without gap, overlap or foreign key", async () => {
  await using shards = await Shards.start(3);
  const heads = [
    "a",
    "~",
    "\u00e9",
    "\u65e5",
    "\ud7ff",
    "\ue000",
    "\uff21",
    "\ufffd",
    "\u{1f600}",
    "\u{10ffff}",
  ];
  const keys = heads.flatMap((head) => [0, 1, 2, 3, 4, 5].map((n) => `${head}${n}`));
  const layout = await begun(shards, keys.map((key) => [key, `of ${key}`]));
  for (const source of [shards.get(0), shards.get(1)]) {
    const leaving = keys.filter((key) =>
      sourceOf(layout, key) === source.name && targetOf(layout, key) !== source.name
    ).sort(compareKeys);
    const seen: string[] = [];
    let after: string | null = null;
    let fence = 0;
    while (true) {
      const range = await shards.carry(layout, source, { keys: 3 });
      if (range === undefined) break;
      assertEquals(range.after, after, "It begins behind the one before");
      assert(range.fence > fence, "Fence numbers grow");
      assert(range.lines.length <= 3, "A range has at most the keys that were asked for");
      const names = range.lines.map(({ key }) => key);
      for (const [index, key] of names.entries()) {
        assert(after === null || compareKeys(key, after) > 0, `${key} is behind ${after}`);
        assert(range.upto === null || compareKeys(key, range.upto) <= 0);
        assert(index === 0 || compareKeys(names[index - 1] ?? "", key) < 0, "In order");
        assertEquals(range.lines[index]?.value, `of ${key}`);
      }
      seen.push(...names);
      const { mark, end } = await source.state();
      if (range.upto === null) assertEquals(end, true);
      else assertEquals([mark, end], [range.upto, false]);
      after = range.upto;
      fence = range.fence;
    }
    assertEquals(seen, leaving);
  }
  for (const shard of shards.all) {
    const { keys: held } = (await shard.ask("GET", "/v1/keys")).json<{ keys: string[] }>();
    const owned = keys.filter((key) => targetOf(layout, key) === shard.name).sort(compareKeys);
    assertEquals(held, owned);
    assertEquals((await shard.state()).keys, owned.length, "What was handed over is deleted");
    for (const key of owned) {
      assertEquals((await shard.key("GET", key, headerOf(layout, true))).text, `of ${key}`);
    }
  }
});

Deno.test("a range is as small as the bytes that were asked for", async () => {
  await using shards = await Shards.start(3);
  const keys = Array.from({ length: 60 }, (_, n) => `k${n}`);
  const layout = await begun(shards, keys.map((key) => [key, key.repeat(300)]));
  let most = 0;
  while (true) {
    const range = await shards.carry(layout, shards.get(0), { bytes: 3_000 });
    if (range === undefined) break;
    most = Math.max(most, range.lines.length);
  }
  assert(most >= 1 && most <= 4, `${most} keys of 900 bytes in a range of 3,000`);
});

Deno.test("a fence holds writes of its range alone, and lets all reads through", async () => {
  await using shards = await Shards.start(3);
  const layout = await begun(shards, LETTERS);
  const source = shards.get(0);
  const range = fenced(await source.handover(layout, { keys: 2 }));
  assertEquals(range.lines.map(({ key }) => key), ["b", "d"]);
  const abandoned = new AbortController();
  const waiting = [
    put(source, "b"),
    source.key("PUT", "b", headerOf(layout), { body: "x", headers: { "if-none-match": "*" } }),
    source.key("DELETE", "d"),
    put(source, "d", "n".repeat(300_000)),
    put(source, "bb"),
    source.ask("GET", "/save/b/new"),
  ];
  const dropped = source.key("PUT", "b", undefined, { body: "gone", signal: abandoned.signal })
    .catch(() => undefined);
  const batch = source.batch([
    { op: "put", key: "j", value: "in a batch" },
    { op: "put", key: "b", value: "in a batch" },
    { op: "put", key: "f", value: "in a batch" },
  ]);
  for (const each of [...waiting, batch]) await assertWaits(each);
  for (const key of ["f", "j"]) {
    while ((await source.key("GET", key)).text !== "in a batch") await delay(10);
  }
  for (const key of "bd") assertEquals((await source.key("GET", key)).text, `of ${key}`);
  assertEquals((await source.ask("GET", "/load/b")).text, "of b");
  assertEquals((await source.key("HEAD", "d")).status, 200);
  const listed = (await source.ask("GET", "/v1/keys")).json<{ keys: string[] }>();
  assertEquals(listed.keys, ["b", "d", "f", "h", "j"], "A listing does not wait");
  assertEquals((await put(source, "h")).status, 204, "Behind the range");
  abandoned.abort();
  await dropped;
  for (const name of ["server-1.server", "server-2.server"]) {
    assertEquals((await shards.sendRange(layout, source, range, name)).status, 204);
  }
  for (const each of waiting) await assertWaits(each);
  assertEquals((await source.done(layout, range.fence)).status, 204);
  for (const each of waiting) {
    const reply = await each;
    assertEquals(reply.status, 421, reply.text);
  }
  const results = (await batch).lines<Record<string, unknown>>();
  assertEquals(results.map(({ status }) => status), [204, 421, 204, undefined]);
  assertEquals(results.at(-1)?.mark, range.upto);
  const moved = headerOf(layout, true);
  assertEquals((await shards.get(2).key("GET", "b", moved)).text, "of b");
  assertEquals((await shards.get(1).key("GET", "d", moved)).text, "of d");
});

Deno.test("a fence ends by its lease: writes go through, and done comes too late", async () => {
  await using shards = await Shards.start(3);
  const layout = await begun(shards, LETTERS);
  const source = shards.get(0);
  const range = fenced(await source.handover(layout, { leaseMs: 400 }));
  const abandoned = new AbortController();
  const dropped = source.key("PUT", "h", undefined, { body: "gone", signal: abandoned.signal })
    .catch(() => undefined);
  const waiting = put(source, "b");
  await assertWaits(waiting);
  abandoned.abort();
  await dropped;
  assertEquals((await waiting).status, 204);
  assertEquals((await source.key("GET", "b")).text, "new");
  const late = await source.done(layout, range.fence);
  assertEquals(late.status, 409, late.text);
  assert("layout" in late.json<Record<string, unknown>>());
  assertEquals((await source.state()).mark, null);
  assertEquals((await source.key("GET", "h")).text, "of h", "Whose connection closed is dropped");
  const again = fenced(await source.handover(layout));
  assert(again.fence > range.fence);
  assertEquals(again.after, null);
  assertEquals(again.lines.find(({ key }) => key === "b")?.value, "new");
});

Deno.test("an upload that began before a fence does not slip in behind it", async () => {
  await using shards = await Shards.start(3);
  const layout = await begun(shards, LETTERS);
  const source = shards.get(0);
  for (const size of [10, 200_000]) {
    let finish = () => {};
    const body = new ReadableStream<Uint8Array>({
      start(controller) {
        controller.enqueue(new Uint8Array(size));
        finish = () => {
          controller.enqueue(new Uint8Array(size));
          controller.close();
        };
      },
    });
    const upload = source.key("PUT", size === 10 ? "b" : "h", undefined, { body });
    await assertWaits(upload);
    const range = fenced(await source.handover(layout, { keys: 3 }));
    finish();
    await assertWaits(upload);
    for (const name of ["server-1.server", "server-2.server"]) {
      assertEquals((await shards.sendRange(layout, source, range, name)).status, 204);
    }
    assertEquals((await source.done(layout, range.fence)).status, 204);
    assertEquals((await upload).status, 421);
  }
  for (const key of "bh") {
    const reply = await shards.get(2).key("GET", key, headerOf(layout, true));
    assertEquals(reply.text, `of ${key}`);
  }
});

Deno.test("marks and fence numbers survive SIGKILL, fences do not", async () => {
  await using shards = await Shards.start(3);
  const layout = await begun(shards, LETTERS);
  const source = shards.get(0);
  const first = await shards.carry(layout, source, { keys: 1 });
  assertEquals(first?.upto, "b");
  let highest = first?.fence ?? 0;
  for (let round = 0; round < 3; round++) {
    const range = fenced(await source.handover(layout, { keys: 1 }));
    assert(range.fence > highest, `Fence ${range.fence} behind ${highest}`);
    assertEquals(range.after, "b");
    highest = range.fence;
    await source.restart();
    assertEquals((await source.state()).mark, "b");
    assertEquals((await put(source, "d", `of round ${round}`)).status, 204, "No fence is left");
    assertEquals((await source.done(layout, range.fence)).status, 409);
    assertEquals((await put(source, "b")).status, 421, "Handed over for good");
  }
  const range = await shards.carry(layout, source, { keys: 1 });
  assert(range !== undefined && range.fence > highest);
  const reply = await shards.get(1).key("GET", "d", headerOf(layout, true));
  assertEquals(reply.text, "of round 2");
});

Deno.test("a handover that does not fit is refused and fences nothing", async () => {
  await using shards = await Shards.start(3);
  const layout = await begun(shards, LETTERS);
  const [source, target] = [shards.get(0), shards.get(2)];
  for (
    const [shard, other] of [
      [source, { ...layout, epoch: 1 }],
      [source, { ...layout, epoch: 3 }],
      [source, { ...layout, cluster: crypto.randomUUID() }],
      [target, layout],
    ] as const
  ) {
    const reply = await shard.handover(other);
    assertEquals(reply.status, 409, reply.text);
    assertEquals(reply.json<{ layout: LayoutDocument }>().layout.epoch, 2);
    assertEquals((await shard.done(other, 1)).status, 409);
  }
  assertEquals((await put(source, "b")).status, 204);
  const range = fenced(await source.handover(layout));
  assertEquals((await source.handover(layout)).status, 409, "A fence stands");
  assertEquals((await source.done(layout, range.fence + 1)).status, 409);
  assertEquals((await source.done({ ...layout, epoch: 3 }, range.fence)).status, 409);
  assertEquals((await source.state()).mark, null);
  assertEquals((await source.done(layout, range.fence)).status, 204);
  assertEquals((await source.done(layout, range.fence)).status, 409, "Done once");
});

Deno.test("a source without keys has one range without keys, then the end", async () => {
  await using shards = await Shards.start(3);
  const layout = await begun(shards, [["a", "stays"]]);
  for (const source of [shards.get(0), shards.get(1)]) {
    const range = await shards.carry(layout, source);
    assertEquals([range?.after, range?.upto, range?.lines], [null, null, []]);
    assertEquals(await shards.carry(layout, source), undefined);
    assertEquals((await source.state()).end, true);
  }
  assertEquals((await shards.get(1).key("GET", "a")).text, "stays");
  assertEquals((await shards.get(0).key("GET", "b")).status, 421);
  assertEquals((await shards.get(0).ask("GET", pathOf("f"))).status, 404);
});

Deno.test("values of every size and kind arrive as they were, also over --max-value", async () => {
  await using shards = await Shards.start(3);
  const random = (size: number) => {
    const bytes = new Uint8Array(size);
    for (let i = 0; i < size; i += 65_536) crypto.getRandomValues(bytes.subarray(i, i + 65_536));
    return bytes;
  };
  const sizes = [0, 1, 1_000, 65_535, 65_536, 65_537, 300_000, 2_000_000];
  const values = new Map<string, [Uint8Array<ArrayBuffer>, string]>();
  for (const [index, size] of sizes.entries()) {
    for (const head of ["x", "\u{1f600}", "\uff21%/ "]) {
      const type = index % 2 === 0 ? "image/png" : 'text/plain; charset="utf-8"';
      values.set(`${head}${index}`, [random(size), type]);
    }
  }
  const text = new TextEncoder().encode("\ufeffz\u0000\u{1f600}\n");
  values.set("text", [text, "text/x"]);
  const layout = await begun(shards, [...values].map(([key, [bytes, type]]) => [key, bytes, type]));
  const etags = new Map<string, string | null>();
  for (const key of values.keys()) {
    const head = await shards.named(sourceOf(layout, key)).key("HEAD", key);
    etags.set(key, head.headers.get("etag"));
  }
  for (const shard of shards.all) await shard.restart(["--max-value", "1000"]);
  for (const source of [shards.get(0), shards.get(1)]) {
    while (true) {
      const range = await shards.carry(layout, source);
      if (range === undefined) break;
      const large = range.lines.filter(({ size }) => size !== undefined);
      if (large.length > 0) assertEquals(range.lines.length, 1, "A large value stands alone");
      for (const { key, etag, type, size } of range.lines) {
        const [bytes, kind] = values.get(key) ?? [];
        assertEquals([etag, type], [etags.get(key) ?? null, kind ?? ""]);
        if (size !== undefined) assertEquals(size, bytes?.length);
      }
    }
  }
  for (const [key, [bytes, type]] of values) {
    const owner = shards.named(targetOf(layout, key));
    for (const restarted of [false, true]) {
      if (restarted && key === "text") await owner.restart();
      const got = await owner.key("GET", key, headerOf(layout, true));
      assertEquals(got.status, 200, key);
      assert(got.bytes.length === bytes.length && got.bytes.every((byte, i) => byte === bytes[i]));
      assertEquals(got.headers.get("content-type"), type);
      assertEquals(got.headers.get("etag"), etags.get(key));
    }
  }
});

Deno.test("a value under a fence is given for its number alone", async () => {
  await using shards = await Shards.start(3);
  const layout = await begun(shards, [["b", "x".repeat(100_000)], ["d", "small"], ["a", "other"]]);
  const source = shards.get(0);
  const get = (key: string, fence: string) =>
    source.key("GET", key, headerOf(layout), { headers: { "kvs-fence": fence } });
  assertEquals((await get("b", "1")).status, 409, "No fence stands");
  const range = fenced(await source.handover(layout));
  assertEquals(range.lines.map(({ key }) => key), ["b"]);
  const { key, value, base64, size } = range.lines[0] ?? {};
  assertEquals([key, value, base64, size], ["b", undefined, undefined, 100_000]);
  assertEquals((await get("b", String(range.fence))).bytes.length, 100_000);
  assertEquals((await get("b", String(range.fence + 1))).status, 409);
  assertEquals((await get("d", String(range.fence))).status, 409, "Not in the range");
  assertEquals((await source.done(layout, range.fence)).status, 204);
  assertEquals((await get("b", String(range.fence))).status, 409);
});
