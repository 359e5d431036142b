import { assert, assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { ScaleError } from "../../../core/errors.ts";
import { isMoving } from "../../../core/layout/layout.ts";
import { FakeCluster } from "./fake_cluster.ts";

const KEYS = 5000;

/** The layouts that a run made, as `epoch servers` or `epoch servers>next`. */
function layoutsOf(cluster: FakeCluster): string[] {
  return cluster.events.flatMap((event) => {
    if (event.kind !== "layout") return [];
    const { layout } = event;
    const next = isMoving(layout) ? `>${layout.next.length}` : "";
    return [`${layout.epoch} ${layout.servers.length}${next}`];
  });
}

Deno.test("a cluster without a layout gets one, and all keys come to their new servers", async () => {
  await using cluster = new FakeCluster(5, 3, KEYS);
  const summary = await cluster.scale(3, 5);
  assertEquals(layoutsOf(cluster), ["1 3", "2 3>5", "3 5"]);
  assertEquals(cluster.astray, []);
  assertEquals(cluster.keys, KEYS);
  assert(summary.keys > KEYS / 2);
  for (const { layout } of cluster.servers) assertEquals(layout?.epoch, 3);
});

Deno.test("one server of the list is enough if there is a layout; leavers learn of the layout after them", async () => {
  await using cluster = new FakeCluster(5, 3, KEYS);
  await cluster.scale(3, 5);
  await cluster.scale(1, 2);
  assertEquals(cluster.astray, []);
  assertEquals(cluster.keys, KEYS);
  assertEquals(cluster.at(4).layout?.servers, cluster.names(2));
});

Deno.test("another placement moves keys on the same servers", async () => {
  await using cluster = new FakeCluster(3, 3, KEYS);
  await cluster.scale(3, undefined, { toPlacement: "jump" });
  assertEquals(cluster.at(0).layout?.placement, "jump");
  assertEquals(cluster.astray, []);
  assertEquals(cluster.keys, KEYS);
});

Deno.test("values keep their types, and large ones go alone", async () => {
  await using cluster = new FakeCluster(3, 2, 100);
  const large = "x".repeat(5000) + "\n" + "y".repeat(5000);
  for (const { keys } of cluster.servers) {
    for (const key of keys.keys()) {
      if (key.endsWith("7")) keys.set(key, { value: large, type: `type/${key}` });
    }
  }
  await cluster.scale(2, 3);
  assertEquals(cluster.astray, []);
  for (const { keys } of cluster.servers) {
    for (const [key, { value, type }] of keys) {
      assertEquals(value, key.endsWith("7") ? large : `value ${key.slice(4)}`);
      assertEquals(type, key.endsWith("7") ? `type/${key}` : "text/plain");
    }
  }
});

Deno.test("a take whose answer was lost is repeated with a higher attempt", async () => {
  await using cluster = new FakeCluster(2, 1, 1000);
  let lost = 2;
  cluster.at(1).hook = (route) => route.endsWith("/take") && lost-- > 0 ? "lost" : undefined;
  await cluster.scale(1, 2);
  assertEquals(cluster.astray, []);
  const attempts = cluster.at(1).log.filter((line) => line.includes("/take"))
    .map((line) => /"attempt":(\d+)/.exec(line)?.[1]);
  assertEquals(attempts.slice(0, 3), ["1", "2", "3"]);
});

Deno.test("a fence that ended before done doubles the lease, and its range is carried again", async () => {
  await using cluster = new FakeCluster(2, 1, 1000);
  const source = cluster.at(0);
  let ended = 2;
  source.hook = (route) => {
    if (route.endsWith("/done") && ended-- > 0) source.fence = undefined;
    return undefined;
  };
  await cluster.scale(1, 2);
  assertEquals(cluster.astray, []);
  assertEquals(source.leases.slice(0, 3), [2000, 4000, 8000]);
});

Deno.test("a done whose answer was lost counts", async () => {
  await using cluster = new FakeCluster(2, 1, 1000);
  let lost = 1;
  cluster.at(0).hook = (route) => route.endsWith("/done") && lost-- > 0 ? "lost" : undefined;
  await cluster.scale(1, 2);
  assertEquals(cluster.astray, []);
  assertEquals(cluster.keys, 1000);
});

Deno.test("a run that was stopped is completed by the next one", async () => {
  await using cluster = new FakeCluster(3, 2, KEYS);
  const stop = new AbortController();
  let ranges = 0;
  const signal = stop.signal;
  const summary = await cluster.scale(2, 3, {
    signal,
    onEvent: ({ kind }) => {
      if (kind === "range" && ++ranges === 1) stop.abort();
    },
  });
  assert(summary.interrupted);
  assert(isMoving(cluster.at(0).layout ?? assertNever()));
  const again = await cluster.scale(1, 3);
  assertEquals(again.otherGoal, false);
  assertEquals(cluster.astray, []);
  assertEquals(cluster.keys, KEYS);
});

Deno.test("a run with another goal completes the move under way, and says so", async () => {
  await using cluster = new FakeCluster(4, 2, KEYS);
  const stop = new AbortController();
  await cluster.scale(2, 3, {
    signal: stop.signal,
    onEvent: ({ kind }) => kind === "range" && stop.abort(),
  });
  const summary = await cluster.scale(1, 4);
  assertEquals(summary.otherGoal, true);
  assertEquals(cluster.at(0).layout?.servers.length, 3);
  assertEquals(cluster.astray, []);
});

Deno.test("two movers to the same goal both come to it", async () => {
  await using cluster = new FakeCluster(4, 2, KEYS);
  await cluster.scale(2, 2);
  const [one, other] = await Promise.all([cluster.scale(1, 4), cluster.scale(1, 4)]);
  assertEquals([one.otherGoal, other.otherGoal], [false, false]);
  assertEquals(cluster.astray, []);
  assertEquals(cluster.keys, KEYS);
});

Deno.test("of two movers to different goals one reaches it, and the other one says that it did not", async () => {
  await using cluster = new FakeCluster(4, 2, KEYS);
  await cluster.scale(2, 2);
  const both = await Promise.all([cluster.scale(1, 4), cluster.scale(1, 3)]);
  assertEquals(both.filter(({ otherGoal }) => otherGoal).length, 1);
  assertEquals(cluster.astray, []);
  assertEquals(cluster.keys, KEYS);
});

Deno.test("a list or placement that does not fit the keys is refused, and nothing is changed", async () => {
  await using cluster = new FakeCluster(4, 3, KEYS);
  const [one, two, three] = cluster.servers;
  assert(one && two && three);
  await assertRejects(() => cluster.scale(2, 3), ScaleError, "nothing was changed");
  await assertRejects(() => cluster.scale(4, 3), ScaleError, "are not on the server");
  await assertRejects(
    () => cluster.scale(3, 4, { placement: "jump" }),
    ScaleError,
    "--placement modulo fits",
  );
  for (const { layout } of cluster.servers) assertEquals(layout, undefined);
});

Deno.test("a dry run tells the keys between each two servers, and gives no server anything", async () => {
  await using cluster = new FakeCluster(3, 2, KEYS);
  cluster.at(2).freeBytes = 1000;
  const summary = await cluster.scale(2, 3, { dryRun: true });
  const plans = cluster.events.filter(({ kind }) => kind === "plan");
  assertEquals(plans.length, 4);
  assert(summary.keys > KEYS / 2 && summary.bytes > summary.keys);
  assertStringIncludes(cluster.notes.join(), "has no room");
  const writes = cluster.servers.flatMap(({ log }) => log)
    .filter((line) => !line.startsWith("GET") && !line.startsWith("POST /v1/batch"));
  assertEquals(writes, []);
});

Deno.test("a target without room stops the run before anything is changed", async () => {
  await using cluster = new FakeCluster(3, 2, KEYS);
  await cluster.scale(2, 2);
  cluster.at(2).freeBytes = 1000;
  await assertRejects(() => cluster.scale(1, 3), ScaleError, "has no room");
  assertEquals(cluster.at(0).layout?.epoch, 1);
});

Deno.test("a server that cannot be reached stops the run before anything is changed", async () => {
  await using cluster = new FakeCluster(3, 2, KEYS);
  cluster.at(2).hook = () => new Response("_shutting_down_", { status: 503 });
  await cluster.scale(2, 2);
  await assertRejects(() => cluster.scale(1, 3), ScaleError, "shutting down");
  assertEquals(cluster.at(0).layout?.epoch, 1);
});

Deno.test("a server with a new disk in steady state is named anew, and told", async () => {
  await using cluster = new FakeCluster(3, 3, KEYS);
  await cluster.scale(3, 3);
  cluster.at(1).loseDisk();
  await cluster.scale(1, 3);
  assertEquals(cluster.at(0).layout?.epoch, 2);
  for (const { layout } of cluster.servers) {
    assertEquals(layout?.stores[cluster.at(1).name], cluster.at(1).store);
  }
  assertStringIncludes(cluster.notes.join(), "has another disk");
});

Deno.test("a disk that is not named and holds keys is emptied only if somebody says so", async () => {
  await using cluster = new FakeCluster(3, 3, KEYS);
  await cluster.scale(3, 3);
  const stranger = cluster.at(1);
  stranger.loseDisk();
  stranger.keys.set("stranger", { value: "1", type: "text/plain" });
  await assertRejects(() => cluster.scale(1, 3), ScaleError, `--replace ${stranger.name}`);
  assertEquals(cluster.at(0).layout?.epoch, 1);
  await cluster.scale(1, 3, { replace: stranger.name });
  assertEquals(stranger.keys.size, 0);
  assertEquals(stranger.layout?.stores[stranger.name], stranger.store);
});

Deno.test("a member that is to be replaced is emptied, also if it has the newest layout", async () => {
  await using cluster = new FakeCluster(3, 3, KEYS);
  await cluster.scale(3, 3);
  for (const index of [2, 0]) {
    const { name, keys } = cluster.at(index);
    assert(keys.size > 0);
    await cluster.scale(1, 3, { replace: name });
    assertEquals(keys.size, 0);
  }
  assertEquals(cluster.servers.map(({ layout }) => layout?.epoch), [3, 3, 3]);
});

Deno.test("an anchor with a new disk in steady state takes the layout of the others", async () => {
  await using cluster = new FakeCluster(3, 3, KEYS);
  await cluster.scale(3, 3);
  cluster.at(0).loseDisk();
  await cluster.scale(3, 3);
  assertEquals(cluster.at(0).layout?.epoch, 2);
});

Deno.test("a source that lost its disk in a move stops it, until somebody accepts the loss", async () => {
  await using cluster = new FakeCluster(4, 3, KEYS);
  const lost = cluster.at(1);
  let ranges = 0;
  lost.hook = (route) => {
    if (route.endsWith("/handover") && ++ranges === 2) lost.loseDisk();
    return undefined;
  };
  await assertRejects(() => cluster.scale(3, 4), ScaleError, "--accept-loss");
  await assertRejects(() => cluster.scale(1, 4), ScaleError, "lost its disk");
  const { name } = cluster.at(2);
  await assertRejects(() => cluster.scale(1, 4, { acceptLoss: name }), ScaleError, "has the disk");
  await cluster.scale(1, 4, { acceptLoss: lost.name });
  assertEquals(cluster.at(0).layout?.servers.length, 4);
  assertEquals(cluster.at(1).layout?.epoch, cluster.at(0).layout?.epoch);
  assertEquals(cluster.astray, []);
});

Deno.test("a server with keys of its own joins only if it is to be replaced", async () => {
  await using cluster = new FakeCluster(3, 2, KEYS);
  cluster.at(2).keys.set("stranger", { value: "1", type: "text/plain" });
  await assertRejects(() => cluster.scale(2, 3), ScaleError, "--replace");
  await cluster.scale(2, 3, { replace: cluster.at(2).name });
  assertEquals(cluster.astray, []);
  assertEquals(cluster.keys, KEYS);
});

Deno.test("a server that missed layouts gets the newest", async () => {
  await using cluster = new FakeCluster(3, 3, KEYS);
  await cluster.scale(3, 3);
  const behind = cluster.at(2);
  const old = behind.layout;
  cluster.at(1).loseDisk();
  await cluster.scale(1, 3);
  behind.layout = old;
  await cluster.scale(1, 3);
  assertEquals(behind.layout?.epoch, 2);
});

Deno.test("two names of one server are refused", async () => {
  await using cluster = new FakeCluster(3, 2, KEYS);
  cluster.at(1).store = cluster.at(0).store;
  await assertRejects(() => cluster.scale(2, 3), ScaleError, "are one server");
});

Deno.test("a server that is about to leave joins no move", async () => {
  await using cluster = new FakeCluster(3, 2, KEYS);
  cluster.at(2).leaving = true;
  await assertRejects(() => cluster.scale(2, 3), ScaleError, "about to leave");
});

Deno.test("the status tells marks, and what differs from the layout", async () => {
  await using cluster = new FakeCluster(3, 2, KEYS);
  const stop = new AbortController();
  await cluster.scale(2, 3, {
    signal: stop.signal,
    onEvent: ({ kind }) => kind === "range" && stop.abort(),
  });
  cluster.at(2).stopped = true;
  const { layout, servers } = await cluster.status(1);
  assert(isMoving(layout));
  assertEquals(servers.map(({ role }) => role), ["both", "both", "target"]);
  assertEquals(servers[2]?.differs.length, 1);
  assert(servers.some(({ mark }) => mark?.key !== undefined));
});

function assertNever(): never {
  throw new Error("There is no layout");
}
