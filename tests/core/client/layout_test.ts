/** A client follows the layout of its cluster: docs/layouts.md, "The client". */
import { assert, assertEquals, assertRejects } from "@std/assert";
import {
  Kvs,
  type KvsOptions,
  PreconditionFailedError,
  UnknownOutcomeError,
} from "../../../core/client/kvs.ts";
import { parseServerList } from "../../../core/client/server_list.ts";
import { ServerSet } from "../../../core/client/server_set.ts";
import { KvsError, RemoteError } from "../../../core/errors.ts";
import { compareKeys } from "../../../core/key.ts";
import {
  isHandedOver,
  isMoving,
  type Layout,
  type Mark,
  nextOf,
  NO_MARK,
  ownerIn,
} from "../../../core/layout/layout.ts";
import { PLACEMENTS } from "../../../core/placement.ts";

const CLUSTER = "11111111-1111-4111-8111-111111111111";
const OTHER = "22222222-2222-4222-8222-222222222222";
const STORE = "33333333-3333-4333-8333-333333333333";
const NAMES = ["s0", "s1", "s2", "s3"];

function steady(epoch: number, count: number, cluster = CLUSTER): Layout {
  const servers = NAMES.slice(0, count);
  return { cluster, epoch, since: epoch, placement: "modulo", servers, stores: stores(servers) };
}

function moving(epoch: number, from: number, to: number, lost: string[] = []): Layout {
  const next = NAMES.slice(0, to);
  const all = NAMES.slice(0, Math.max(from, to));
  return {
    ...steady(epoch, from),
    next,
    nextPlacement: "modulo",
    lost,
    stores: stores(all),
  };
}

function stores(names: readonly string[]): Record<string, string> {
  return Object.fromEntries(names.map((name) => [name, STORE]));
}

/** A server that answers by the table, as far as clients see it. */
class FakeServer {
  layout: Layout | undefined;
  mark: Mark = NO_MARK;
  isUp = true;
  isStarting = false;
  readonly keys = new Map<string, string>();
  readonly name: string;
  readonly seen: string[] = [];

  constructor(name: string) {
    this.name = name;
  }

  async answer(request: Request): Promise<Response> {
    const { pathname, searchParams } = new URL(request.url);
    const claim = request.headers.get("kvs-layout");
    this.seen.push(`${request.method} ${pathname}${claim === null ? "" : ` ${claim.slice(36)}`}`);
    if (this.isStarting) return Response.json({ detail: "starting" }, { status: 503 });
    if (pathname === "/v1/layout" && request.method === "GET") return Response.json(this.#told());
    if (pathname === "/v1/layout") {
      this.layout = (await request.json()).layout;
      return new Response(null, { status: 204 });
    }
    const told = this.#told();
    if (pathname === "/v1/keys") {
      const after = searchParams.get("after");
      const keys = [...this.keys.keys()].sort(compareKeys)
        .filter((key) => after === null || compareKeys(key, after) > 0);
      const { mark, end } = told;
      const page = this.layout === undefined ? {} : { epoch: this.layout.epoch, mark, end };
      return Response.json({ keys, next: null, ...page });
    }
    const key = decodeURIComponent(pathname.slice("/v1/keys/".length));
    if (!this.#serves(key, claim)) {
      return Response.json({ error: "misdirected_request", detail: "no", ...told }, {
        status: 421,
      });
    }
    if (request.method === "PUT") {
      this.keys.set(key, await request.text());
      return new Response(null, { status: 204, headers: { etag: '"e"' } });
    }
    const value = this.keys.get(key);
    return value === undefined
      ? Response.json({ detail: "No such key" }, { status: 404 })
      : new Response(value);
  }

  #told() {
    return { layout: this.layout ?? null, mark: this.mark.key ?? null, end: this.mark.end };
  }

  #serves(key: string, claim: string | null): boolean {
    const { layout, name } = this;
    if (layout === undefined) return claim === null;
    const [, cluster, epoch, moved] = /^(.{36}):(\d+)(;moved)?$/.exec(claim ?? "") ?? [];
    if (epoch !== undefined && (cluster !== layout.cluster || Number(epoch) > layout.epoch)) {
      return false;
    }
    const source = ownerIn(layout, key);
    const target = ownerIn(nextOf(layout), key);
    if (!isMoving(layout) || source === target) return source === name;
    if (source === name) return !isHandedOver(this.mark, key) && !layout.lost.includes(name);
    return target === name && moved !== undefined && Number(epoch) === layout.epoch;
  }
}

/** Four servers, of which some have a layout. */
class FakeNetwork {
  readonly servers = new Map(NAMES.map((name) => [name, new FakeServer(name)]));

  at(index: number): FakeServer {
    const server = this.servers.get(NAMES[index] ?? "");
    if (server === undefined) throw new RangeError(`No server ${index}`);
    return server;
  }

  give(layout: Layout, ...indices: number[]): void {
    for (const index of indices) this.at(index).layout = layout;
  }

  forget(): void {
    for (const server of this.servers.values()) server.seen.length = 0;
  }

  readonly fetch: typeof fetch = async (input, init) => {
    const request = new Request(input, init);
    const server = this.servers.get(new URL(request.url).hostname);
    if (server === undefined || !server.isUp) throw new TypeError("no connection");
    return await server.answer(request);
  };

  async open(list: string, options: KvsOptions = {}): Promise<Kvs> {
    return await Kvs.open(list, { fetch: this.fetch, patienceMs: 300, ...options });
  }
}

// By modulo: "b" is 98, so it is on 0 of 2 and on 2 of 3; "d" is 100: 0 of 2 and 1 of 3.

Deno.test("one server of the list is enough, and its placement is that of the layout", async () => {
  const network = new FakeNetwork();
  network.give(steady(3, 3), 0, 1, 2);
  network.at(2).keys.set("b", "value");
  const store = await network.open("s0", { placement: "jump" });
  assertEquals((await store.get("b"))?.text, "value");
  assertEquals(store.servers.map(({ name }) => name), ["s0", "s1", "s2"]);
  assertEquals([store.ownerOf("b").server.name, store.placement], ["s2", "modulo"]);
  assertEquals(network.at(2).seen, ["GET /v1/keys/b :3"]);
});

Deno.test("a cluster without a layout is asked by the list, without the header", async () => {
  const network = new FakeNetwork();
  network.at(0).keys.set("b", "value");
  const store = await network.open("s0,s1");
  assertEquals((await store.get("b"))?.text, "value");
  assertEquals(network.at(0).seen, ["GET /v1/layout", "GET /v1/keys/b"]);
});

Deno.test("while keys move, the source is asked first, and a mark that was seen is remembered", async () => {
  const network = new FakeNetwork();
  network.give(moving(5, 2, 3), 0, 1, 2);
  const store = await network.open("s0");
  await store.put("b", "first");
  assertEquals(network.at(0).keys.get("b"), "first");
  network.at(0).mark = { key: "b", end: false };
  network.at(0).keys.delete("b");
  network.at(2).keys.set("b", "first");
  network.forget();
  assertEquals((await store.get("b"))?.text, "first");
  assertEquals((await store.get("b"))?.text, "first");
  assertEquals(network.at(0).seen, ["GET /v1/keys/b :5"]);
  assertEquals(network.at(2).seen, ["GET /v1/keys/b :5;moved", "GET /v1/keys/b :5;moved"]);
  await store.put("d", "behind the mark");
  assertEquals(network.at(0).keys.get("d"), "behind the mark");
});

Deno.test("a source that was lost is not asked", async () => {
  const network = new FakeNetwork();
  network.give(moving(6, 2, 3, ["s0"]), 1, 2);
  network.at(0).isUp = false;
  const store = await network.open("s1");
  await store.put("b", "new");
  assertEquals(network.at(2).keys.get("b"), "new");
});

Deno.test("a program goes on through a whole move that it has not heard of", async () => {
  const network = new FakeNetwork();
  network.give(steady(1, 2), 0, 1);
  const store = await network.open("s0,s1");
  await store.put("b", "1");
  network.give(moving(2, 2, 3), 0, 1, 2);
  await store.put("b", "2");
  network.at(0).mark = { key: undefined, end: true };
  await store.put("b", "3");
  network.give(steady(3, 3), 0, 1, 2);
  network.at(0).mark = NO_MARK;
  await store.put("b", "4");
  assertEquals([network.at(0).keys.get("b"), network.at(2).keys.get("b")], ["2", "4"]);
});

Deno.test("the layout is given to a server with an older one, and never to one without", async () => {
  const network = new FakeNetwork();
  network.give(steady(7, 3), 0, 1);
  network.give(moving(6, 2, 3), 2);
  const store = await network.open("s0");
  await store.put("b", "value");
  assertEquals([network.at(2).layout?.epoch, network.at(2).keys.get("b")], [7, "value"]);
  network.at(2).layout = undefined;
  const error = await assertRejects(() => store.get("b"), KvsError);
  assert(/epoch 7.*s2 has none/.test(error.message), error.message);
  assertEquals(network.at(2).layout, undefined);
});

Deno.test("a client that had a layout does not go back to the list", async () => {
  const network = new FakeNetwork();
  network.give(steady(1, 2), 0, 1);
  const store = await network.open("s0,s1");
  await store.put("b", "value");
  network.at(0).layout = undefined;
  await assertRejects(() => store.get("b"), KvsError, "No agreement");
});

Deno.test("if an owner is away, the others tell that it has left for good", async () => {
  const network = new FakeNetwork();
  network.give(steady(1, 3), 0, 1, 2);
  const store = await network.open("s0");
  await store.put("b", "on s2");
  network.give(steady(3, 2), 0, 1);
  network.at(2).isUp = false;
  await store.put("b", "on s0");
  assertEquals(network.at(0).keys.get("b"), "on s0");
});

Deno.test("a layout of another cluster takes the place of what was known", async () => {
  const network = new FakeNetwork();
  network.give(steady(9, 2), 0, 1);
  const store = await network.open("s0,s1");
  await store.put("b", "old");
  network.give(steady(1, 2, OTHER), 0, 1);
  await store.put("b", "new");
  assertEquals(network.at(0).keys.get("b"), "new");
  assertEquals(network.at(0).seen.at(-1), "PUT /v1/keys/b :1");
});

Deno.test("keys() takes from a target only what the source has handed over", async () => {
  const network = new FakeNetwork();
  network.give(moving(4, 2, 3), 0, 1, 2);
  // "b" is handed over; "h" and "n" are on their way, and the target has taken "h" already.
  network.at(0).mark = { key: "b", end: false };
  for (const key of ["d", "h", "n"]) network.at(0).keys.set(key, key);
  for (const key of ["b", "h"]) network.at(2).keys.set(key, key);
  network.at(1).keys.set("a", "a");
  const store = await network.open("s0");
  assertEquals(await Array.fromAsync(store.keys()), ["a", "b", "d", "h", "n"]);
  network.at(2).keys.set("z", "a copy of before");
  assertEquals(await Array.fromAsync(store.keys({ prefix: "" })), ["a", "b", "d", "h", "n"]);
});

Deno.test("keys() asks the sources of a stretch before its targets", async () => {
  const network = new FakeNetwork();
  network.give(moving(4, 2, 3), 0, 1, 2);
  network.at(0).keys.set("b", "b");
  const target = network.at(2);
  const fetchAll = network.fetch;
  const order: string[] = [];
  const store = await network.open("s0", {
    fetch: async (input, init) => {
      const answer = await fetchAll(input, init);
      const { hostname, pathname } = new URL(new Request(input, init).url);
      if (pathname === "/v1/keys") order.push(hostname);
      // The key goes over when the source has been listed.
      if (pathname === "/v1/keys" && hostname === "s0" && order.length === 1) {
        network.at(0).mark = { key: "b", end: false };
        network.at(0).keys.delete("b");
        target.keys.set("b", "b");
      }
      return answer;
    },
  });
  assertEquals(await Array.fromAsync(store.keys()), ["b"]);
  assertEquals(order.slice(0, 2).toSorted(), ["s0", "s1"]);
});

Deno.test("keys() finds the first layout, even if the question for it is lost", async () => {
  const network = new FakeNetwork();
  network.at(0).keys.set("b", "1");
  let isLost = false;
  const fetch: typeof globalThis.fetch = async (input, init) => {
    if (isLost && String(input).endsWith("/v1/layout")) {
      isLost = false;
      throw new TypeError("no connection");
    }
    return await network.fetch(input, init);
  };
  const kvs = await network.open("s0", { fetch });
  await kvs.discover();
  network.give(steady(1, 1), 0);
  isLost = true;
  assertEquals(await Array.fromAsync(kvs.keys()), ["b"]);
  assert(!isLost);
});

Deno.test("a stream that meets another layout fails once, and the next one is put", async () => {
  const network = new FakeNetwork();
  network.give(steady(1, 2), 0, 1);
  const store = await network.open("s0");
  await store.discover();
  network.give(steady(3, 3), 0, 1, 2);
  const put = () => store.put("b", new Blob(["value"]).stream());
  await assertRejects(put, RemoteError, "put it again");
  await put();
  assertEquals(network.at(2).keys.get("b"), "value");
});

Deno.test("a client without patience, as the probe, also looks for a newer layout", async () => {
  const network = new FakeNetwork();
  network.give(steady(1, 3), 0, 1, 2);
  const servers = new ServerSet({
    servers: parseServerList("s0", "list"),
    placement: PLACEMENTS.modulo,
    timeoutMs: 500,
    fetch: network.fetch,
  });
  const put = () =>
    servers.askKey("b", async (remote, { claim }) => {
      const bytes = new TextEncoder().encode("value");
      await remote.put("b", { bytes }, { claim });
    });
  await put();
  network.give(steady(3, 2), 0, 1);
  network.at(2).isUp = false;
  await assertRejects(put, RemoteError, "no connection");
  await put();
  assertEquals(network.at(0).keys.get("b"), "value");
});

Deno.test("the highest epoch counts, also if another server answered first", async () => {
  const network = new FakeNetwork();
  network.give(steady(2, 2), 0);
  network.give(steady(4, 3), 1, 2);
  const store = await network.open("s0,s1");
  await store.put("b", "value");
  assertEquals(network.at(2).keys.get("b"), "value");
});

for (const [what, isStarting] of [["be reached", false], ["answer but 503", true]] as const) {
  Deno.test(`no request goes by the list while no server can ${what}`, async () => {
    const network = new FakeNetwork();
    // s0 comes back with a new disk, so without the layout that s1 has.
    network.give(steady(3, 2), 1);
    const servers = [network.at(0), network.at(1)];
    for (const server of servers) Object.assign(server, { isUp: isStarting, isStarting });
    let questions = 0;
    const store = await network.open("s0,s1", {
      patienceMs: 5000,
      fetch: async (input, init) => {
        if (++questions > servers.length) {
          for (const server of servers) Object.assign(server, { isUp: true, isStarting: false });
        }
        return await network.fetch(input, init);
      },
    });
    await assertRejects(() => store.put("b", "value"), KvsError, "No agreement");
    assertEquals(network.at(0).keys.size, 0);
    assertEquals(network.at(0).seen.filter((line) => / \/v1\/keys\/b$/.test(line)), []);
  });
}

Deno.test("a list of which nobody answers costs one time-out, also for keys()", async () => {
  const seen: string[] = [];
  const fetch: typeof globalThis.fetch = (input, init) => {
    seen.push(new URL(new Request(input, init).url).pathname);
    return silence(init?.signal);
  };
  const store = await Kvs.open("s0,s1", { fetch, timeoutMs: 50, patienceMs: 0 });
  await assertRejects(() => store.get("b"), RemoteError, "no answer within 50 ms");
  await assertRejects(() => Array.fromAsync(store.keys()), RemoteError, "no answer within 50 ms");
  assertEquals(new Set(seen), new Set(["/v1/layout"]));
});

Deno.test("a question for the layout that got no answer does not make a write uncertain", async () => {
  const network = new FakeNetwork();
  network.at(0).keys.set("b", "there");
  let isSilent = true;
  const store = await network.open("s0", {
    timeoutMs: 50,
    patienceMs: 5000,
    fetch: async (input, init) => {
      if (isSilent) {
        isSilent = false;
        return await silence(init?.signal);
      }
      if (init?.method === "PUT") return Response.json({ detail: "no" }, { status: 412 });
      return await network.fetch(input, init);
    },
  });
  await assertRejects(() => store.put("b", "x", { ifAbsent: true }), PreconditionFailedError);
});

Deno.test("a write without an answer from the source stays uncertain at the target", async () => {
  const network = new FakeNetwork();
  network.give(moving(5, 2, 3), 0, 1, 2);
  let isLost = false;
  const store = await network.open("s0", {
    patienceMs: 5000,
    fetch: async (input, init) => {
      const { hostname } = new URL(new Request(input, init).url);
      if (init?.method === "PUT" && hostname === "s0" && !isLost) {
        isLost = true;
        network.at(0).mark = { key: "b", end: false };
        throw new TypeError("connection closed");
      }
      if (init?.method === "PUT" && hostname === "s2") {
        return Response.json({ detail: "no" }, { status: 412 });
      }
      return await network.fetch(input, init);
    },
  });
  const put = () => store.put("b", "x", { ifAbsent: true });
  await assertRejects(put, UnknownOutcomeError);
  await assertRejects(put, PreconditionFailedError);
});

Deno.test("a caller gives up a question for the layout that others wait for", async () => {
  const answer = Promise.withResolvers<Response>();
  const fetch: typeof globalThis.fetch = () => answer.promise;
  const store = await Kvs.open("s0", { fetch, patienceMs: 0 });
  const others = assertRejects(() => store.get("a"), RemoteError);
  const signal = AbortSignal.abort(new Error("enough"));
  await assertRejects(() => store.discover({ signal }), Error, "enough");
  answer.reject(new TypeError("no connection"));
  await others;
});

Deno.test("keys() goes on without a server that has left for good", async () => {
  const network = new FakeNetwork();
  network.give(steady(1, 3), 0, 1, 2);
  const store = await network.open("s0", { patienceMs: 5000 });
  await store.discover();
  network.give(steady(3, 2), 0, 1);
  network.at(2).isUp = false;
  network.at(0).keys.set("b", "b");
  network.at(1).keys.set("a", "a");
  assertEquals(await Array.fromAsync(store.keys()), ["a", "b"]);
});

Deno.test("a request does not wait for silent servers that may know a newer layout", async () => {
  const network = new FakeNetwork();
  network.give(steady(1, 3), 0, 1, 2);
  const stop = new AbortController();
  let isTimedOut = false;
  const fetch: typeof globalThis.fetch = async (input, init) => {
    const { hostname } = new URL(new Request(input, init).url);
    if (network.at(2).isUp || hostname === "s2") return await network.fetch(input, init);
    init?.signal?.addEventListener("abort", () => isTimedOut = true);
    return await silence(stop.signal);
  };
  const store = await network.open("s0", { fetch, patienceMs: 0, timeoutMs: 5000 });
  await store.discover();
  network.at(2).isUp = false;
  await assertRejects(() => store.get("b"), RemoteError, "no connection");
  assert(!isTimedOut);
  stop.abort();
});

/** No answer, until the request is given up. */
function silence(signal: AbortSignal | null | undefined): Promise<Response> {
  const { promise, reject } = Promise.withResolvers<Response>();
  if (signal?.aborted) reject(signal.reason);
  signal?.addEventListener("abort", () => reject(signal.reason), { once: true });
  return promise;
}
