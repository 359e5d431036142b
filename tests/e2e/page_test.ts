import { assert, assertEquals, assertMatch } from "@std/assert";
import { type PageMessages, type PageSnapshot } from "../../core/page/model.ts";
import { TextLineStream } from "@std/streams/text-line-stream";
import { ForeignServer } from "./foreign_server.ts";
import { kvs, Running, Server, TempDir, until } from "./program.ts";

/** A viewer of a page: what its stream said so far. */
class Viewer implements AsyncDisposable {
  readonly messages: { readonly type: string; readonly data: string }[] = [];
  readonly #read: Promise<void>;
  #reader: ReadableStreamDefaultReader<string> | undefined;

  constructor(origin: string, headers: Record<string, string> = {}) {
    this.#read = this.#follow(origin, headers).catch(() => {});
  }

  /** All messages of a type. */
  all<T extends keyof PageMessages>(type: T): PageMessages[T][] {
    return this.messages.filter((message) => message.type === type)
      .map(({ data }) => JSON.parse(data));
  }

  /** All events in words, from the snapshot on. */
  get told(): string[] {
    const events = [...this.all("snapshot").flatMap(({ events }) => events), ...this.all("event")];
    return events.map(({ text }) => text);
  }

  async event(text: string): Promise<void> {
    await until(
      `"${text}" is told; told was: ${this.told.join("; ")}`,
      () => this.told.includes(text) || undefined,
    );
  }

  async #follow(origin: string, headers: Record<string, string>): Promise<void> {
    const { body } = await fetch(`${origin}events`, { headers });
    if (body === null) return;
    this.#reader = body.pipeThrough(new TextDecoderStream()).pipeThrough(new TextLineStream())
      .getReader();
    let type = "";
    while (true) {
      const { value, done } = await this.#reader.read();
      if (done) return;
      if (value.startsWith("event: ")) type = value.slice(7);
      if (value.startsWith("data: ")) this.messages.push({ type, data: value.slice(6) });
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#reader?.cancel().catch(() => {});
    await this.#read;
  }
}

async function originOf(process: Running): Promise<string> {
  const [, origin = ""] = await process.line(/^live page: (http:\S+)$/);
  return origin;
}

async function snapshotOf(origin: string): Promise<PageSnapshot> {
  return await (await fetch(`${origin}snapshot`)).json();
}

Deno.test("kvs client --ui shows on a page what the rows show, from files within the binary", async () => {
  await using temp = new TempDir();
  await using one = await Server.start(temp.join("one"));
  await using foreign = new ForeignServer();
  // Port 1 on loopback: nobody listens there.
  const list = `${one.address},127.0.0.1:1,${foreign.address}`;
  await using client = new Running(["client", list, "--ui", "0", "--interval", "0.1"]);
  const origin = await originOf(client);
  assertMatch(origin, /^http:\/\/127\.0\.0\.1:\d+\/$/);
  const page = await fetch(origin);
  assertEquals(page.status, 200);
  assertMatch(await page.text(), /<title>kvs<\/title>/);
  const script = await fetch(`${origin}page/page.js`);
  assertMatch(await script.text(), /new EventSource/);

  await using viewer = new Viewer(origin);
  await until("rows hit", () => viewer.all("row").some(({ v }) => v === "h.h") || undefined);
  const [snapshot] = viewer.all("snapshot");
  assertEquals(snapshot?.view.servers.map(({ letters }) => letters), [
    "cfilorux",
    "adgjmpsvy",
    "behknqtwz",
  ]);
  assertEquals(snapshot?.view.controls, null);
  // Its own servers tell how many keys they have; others are counted by listing them.
  await until("keys are counted", async () => {
    const { keys } = await snapshotOf(origin);
    return keys.join() === "8,,9" || undefined;
  });
  await viewer.event(`${one.address} is up, empty: 8 letters written`);
  await Deno.writeTextFile(`${one.dir}/_shutting_down_`, "");
  await viewer.event(`${one.address} shutting down`);
  await Deno.remove(`${one.dir}/_shutting_down_`);
  await viewer.event(`${one.address} back, nothing lost`);

  // Whoever comes back gets all of it again, whatever was heard last.
  await using again = new Viewer(origin, { "last-event-id": "3" });
  await until("a snapshot", () => again.all("snapshot")[0]);
  assert(again.told.includes(`${one.address} shutting down`));

  // Nothing can be changed from a client's page.
  const refused = await fetch(`${origin}actions/scale`, {
    method: "POST",
    headers: { origin: origin.slice(0, -1), "content-type": "application/json" },
    body: '{"servers":1}',
  });
  assertEquals(refused.status, 405);
  await refused.body?.cancel();
  client.kill("SIGTERM");
  assertEquals(await client.exit(), 143);
  assertEquals(client.stdout[0], "                    abcdefghijklmnopqrstuvwxyz");
});

/** Asks for a change, as the page does; resolves to status and answer. */
async function postTo(origin: string, action: string, body: unknown): Promise<[number, string]> {
  const response = await fetch(`${origin}actions/${action}`, {
    method: "POST",
    headers: { origin: origin.slice(0, -1), "content-type": "application/json" },
    body: JSON.stringify(body),
  });
  return [response.status, (await response.text()).trim()];
}

async function allHit(origin: string, servers: number): Promise<void> {
  await until(`all letters hit on ${servers} servers`, async () => {
    const { view, rows } = await snapshotOf(origin);
    const all = view.owners.every((owner) => owner < servers) && view.servers.length === servers;
    return all && view.controls?.busy === null && rows.at(-1)?.s === "h".repeat(26) || undefined;
  });
}

Deno.test("kvs cluster --ui scales and deletes from the page, and nothing is lost", async () => {
  await using temp = new TempDir();
  await using cluster = new Running(
    ["cluster", "--port", "0", "--replicas", "3", "--drain", "0", "--ui", "0"],
    { env: { TMPDIR: temp.path } },
  );
  const origin = await originOf(cluster);
  await cluster.line(/^all 3 servers are ready$/);
  await using viewer = new Viewer(origin);
  const post = (action: string, body: unknown) => postTo(origin, action, body);
  const hits = (servers: number) => allHit(origin, servers);
  await hits(3);
  // A key that is no letter moves too.
  const { view } = await snapshotOf(origin);
  const addresses = view.servers.map(({ address }) => address);
  const saved = await fetch(`http://${addresses[2]}/save/e/e`);
  assertEquals(await saved.text(), "e");

  assertEquals((await post("delete", { server: "server-7" }))[0], 400);
  assertEquals(await post("delete", { server: "server-1" }), [202, '{"accepted":"delete"}']);
  await viewer.event("server-1 is deleted; the controller makes it anew");
  await cluster.line(/^server-1 has gone/);
  await hits(3);

  assertEquals(await post("resize", { servers: 2 }), [202, '{"accepted":"resize"}']);
  const [status, why] = await post("scale", { servers: 5 });
  assertEquals(status, 409);
  assertMatch(String(why), /^Not possible now: /);
  await viewer.event("2 servers run now");
  await hits(2);
  assertEquals(await post("move", { servers: 3 }), [
    409,
    "Not possible now: the move needs 3 servers, scale first",
  ]);
  // Step by step: more servers first, and the client stays with the old list until the keys move.
  assertEquals((await post("scale", { servers: 3 }))[0], 202);
  await viewer.event("3 servers run now");
  assertEquals((await snapshotOf(origin)).view.controls?.placed, 2);
  await until("idle", async () => (await post("move", { servers: 3 }))[0] === 202 || undefined);
  // All may be found before the move has come to its end.
  const moves = () =>
    viewer.told.filter((text) => text.startsWith("Keys moved: 26 keys seen, ")).length;
  await until("both moves are told", () => moves() === 2 || undefined);
  await hits(3);

  // No letter was written again, so none was lost, in all that was done.
  const told = viewer.told;
  assertEquals(told.filter((text) => /written again|another value|had lost/.test(text)), []);
  const statuses = [...viewer.all("snapshot").flatMap(({ rows }) => rows), ...viewer.all("row")];
  const sinceHits = statuses.slice(statuses.findIndex(({ s }) => s === "h".repeat(26)));
  assertEquals(sinceHits.filter(({ s }) => /[wx]/.test(s)), []);
  const stats = await Promise.all(
    addresses.map((address) =>
      fetch(`http://${address}/v1/stats`).then((response) => response.json())
    ),
  );
  assertEquals(stats.map(({ keys }) => keys), [8, 9, 9]);
  await cluster.type("quit");
  assertEquals(await cluster.exit(), 0);
});

Deno.test("a move from the page that fails leaves the client reading until it is completed", async () => {
  await using temp = new TempDir();
  await using cluster = new Running(
    ["cluster", "--port", "0", "--drain", "0", "--data", temp.path, "--ui", "0"],
  );
  const origin = await originOf(cluster);
  await cluster.line(/^all 3 servers are ready$/);
  await using viewer = new Viewer(origin);
  await allHit(origin, 3);
  // A server that is shutting down stops a rebalance.
  const marker = temp.join("server-2", "_shutting_down_");
  await Deno.writeTextFile(marker, "");
  assertEquals((await postTo(origin, "resize", { servers: 2 }))[0], 202);
  await viewer.event("The client only reads until the keys are moved: move them again");
  assert(viewer.told.some((text) => text.startsWith("The keys were not moved: ")));
  const { view } = await snapshotOf(origin);
  assertEquals([view.readonly, view.controls?.pending], [true, { from: 3, to: 2 }]);
  const other = "Not possible now: first complete the move from 3 to 2 servers";
  assertEquals(await postTo(origin, "resize", { servers: 4 }), [409, other]);
  assertEquals(await postTo(origin, "move", { servers: 3 }), [409, other]);
  await Deno.remove(marker);
  await until(
    "it can be tried again",
    async () => (await postTo(origin, "resize", { servers: 2 }))[0] === 202 || undefined,
  );
  await viewer.event("2 servers run now");
  await allHit(origin, 2);
  assertEquals(viewer.told.filter((text) => /written again|had lost/.test(text)), []);
  assertEquals((await snapshotOf(origin)).view.readonly, false);
  cluster.kill("SIGTERM");
  assertEquals(await cluster.exit(), 0);
});

Deno.test("--ui says in one line what is wrong with it", async () => {
  using taken = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const { port } = taken.addr;
  for (
    const [args, line] of [
      [
        ["client", "127.0.0.1:1", "--ui", String(port)],
        `Cannot serve the page on 127.0.0.1:${port}: it is taken by another program`,
      ],
      [
        ["client", "127.0.0.1:1", "--ui", "here"],
        'Invalid --ui: expected PORT or HOST:PORT, received "here"',
      ],
      [["cluster", "--tour", "--ui", "0"], "Not possible: the tour has no live page"],
    ] as const
  ) {
    const { code, stderr } = await kvs([...args]);
    assertEquals([code, stderr.split("\n")[0]], [1, line]);
  }
});

Deno.test("kvs client --ui on another address says who can watch", async () => {
  await using client = new Running(["client", "127.0.0.1:1", "--ui", "0.0.0.0:0"]);
  await client.line(/^live page: http:\/\/0\.0\.0\.0:\d+\/$/);
  await client.line(/^anyone who can reach 0\.0\.0\.0:\d+ can watch$/);
});
