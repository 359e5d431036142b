/** Section 3 of the specification of layouts: what the ranges of a move hold, and that it arrives as it was. */
import { assert, assertEquals } from "@std/assert";
import { Shards } from "./layout_protocol.ts";
import { compareKeys, fencedRange, headerOf, pathOf, sourceOf, targetOf } from "./layout_words.ts";

Deno.test("a source without keys has one range without keys, then the end", async () => {
  await using shards = await Shards.start(3);
  const layout = await shards.begin([["a", "stays"]]);
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
  const layout = await shards.begin([...values].map(([key, [bytes, type]]) => [key, bytes, type]));
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
  const layout = await shards.begin([["b", "x".repeat(100_000)], ["d", "small"], ["a", "other"]]);
  const source = shards.get(0);
  const get = (key: string, fence: string) =>
    source.key("GET", key, headerOf(layout), { headers: { "kvs-fence": fence } });
  assertEquals((await get("b", "1")).status, 409, "No fence stands");
  const range = fencedRange(await source.handover(layout));
  assertEquals(range.lines.map(({ key }) => key), ["b"]);
  const { key, value, base64, size } = range.lines[0] ?? {};
  assertEquals([key, value, base64, size], ["b", undefined, undefined, 100_000]);
  assertEquals((await get("b", String(range.fence))).bytes.length, 100_000);
  assertEquals((await get("b", String(range.fence + 1))).status, 409);
  assertEquals((await get("d", String(range.fence))).status, 409, "Not in the range");
  assertEquals((await source.done(layout, range.fence)).status, 204);
  assertEquals((await get("b", String(range.fence))).status, 409);
});
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
  const layout = await shards.begin(keys.map((key) => [key, `of ${key}`]));
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
  const layout = await shards.begin(keys.map((key) => [key, key.repeat(300)]));
  let most = 0;
  while (true) {
    const range = await shards.carry(layout, shards.get(0), { bytes: 3_000 });
    if (range === undefined) break;
    most = Math.max(most, range.lines.length);
  }
  assert(most >= 1 && most <= 4, `${most} keys of 900 bytes in a range of 3,000`);
});
