/** Section 3 of the specification of layouts, at the source of a move: ranges, fences, leases, marks. */
import { assert, assertEquals } from "@std/assert";
import { delay } from "@std/async/delay";
import { type Shard, Shards } from "./layout_protocol.ts";
import {
  fencedRange,
  headerOf,
  type LayoutDocument,
  type Reply,
  sourceOf,
  targetOf,
} from "./layout_words.ts";

/** Checks that a request has not been answered; how long it looks does not decide anything. */
async function assertWaits(request: Promise<Reply>): Promise<void> {
  const first = await Promise.race([request, delay(80)]);
  assertEquals(first?.status, undefined, `Answered in spite of the fence: ${first?.text}`);
}

function put(shard: Shard, key: string, body: BodyInit = "new"): Promise<Reply> {
  return shard.key("PUT", key, undefined, { body });
}

const LETTERS: [string, string][] = [..."abcdefghij"].map((key) => [key, `of ${key}`]);

Deno.test("a fence holds writes of its range alone, and lets all reads through", async () => {
  await using shards = await Shards.start(3);
  const layout = await shards.begin(LETTERS);
  const source = shards.get(0);
  const range = fencedRange(await source.handover(layout, { keys: 2 }));
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
  const layout = await shards.begin(LETTERS);
  const source = shards.get(0);
  const range = fencedRange(await source.handover(layout, { leaseMs: 400 }));
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
  const again = fencedRange(await source.handover(layout));
  assert(again.fence > range.fence);
  assertEquals(again.after, null);
  assertEquals(again.lines.find(({ key }) => key === "b")?.value, "new");
});

Deno.test("an upload that began before a fence does not slip in behind it", async () => {
  await using shards = await Shards.start(3);
  const layout = await shards.begin(LETTERS);
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
    const range = fencedRange(await source.handover(layout, { keys: size === 10 ? 1 : 2 }));
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
  const layout = await shards.begin(LETTERS);
  const source = shards.get(0);
  const first = await shards.carry(layout, source, { keys: 1 });
  assertEquals(first?.upto, "b");
  let highest = first?.fence ?? 0;
  for (let round = 0; round < 3; round++) {
    const range = fencedRange(await source.handover(layout, { keys: 1 }));
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
  const layout = await shards.begin(LETTERS);
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
  const range = fencedRange(await source.handover(layout));
  assertEquals((await source.handover(layout)).status, 409, "A fence stands");
  assertEquals((await source.done(layout, range.fence + 1)).status, 409);
  assertEquals((await source.done({ ...layout, epoch: 3 }, range.fence)).status, 409);
  assertEquals((await source.state()).mark, null);
  assertEquals((await source.done(layout, range.fence)).status, 204);
  assertEquals((await source.done(layout, range.fence)).status, 409, "Done once");
});

Deno.test("a restart keeps layout, name, store and mark", async () => {
  await using shards = await Shards.start(3);
  await shards.give(shards.steady(1, 2), 2);
  const source = shards.get(0);
  for (const key of "bdhj") await source.key("PUT", key, undefined, { body: key });
  const layout = shards.moving(2, 2, 3);
  await shards.give(layout, 3);
  const first = await shards.carry(layout, source, { keys: 1 });
  const before = await source.state();
  assertEquals(before.mark, first?.upto);
  await source.kill();
  await source.restart();
  assertEquals(await source.state(), before);
  assertEquals((await put(source, "b")).status, 421);
  while (await shards.carry(layout, source, { keys: 1 }) !== undefined);
  assertEquals((await source.state()).end, true);
  await source.kill();
  await source.restart();
  assertEquals((await source.state()).end, true);
  for (const key of ["b", "hb", "\u{10fffc}"]) {
    assertEquals(sourceOf(layout, key), source.name);
    assert(targetOf(layout, key) !== source.name);
    const reply = await source.key("GET", key);
    assertEquals([reply.status, reply.json<{ end: boolean }>().end], [421, true], key);
  }
  assertEquals((await source.ask("GET", "/readyz")).status, 200);
});
