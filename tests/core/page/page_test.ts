import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { TextLineStream } from "@std/streams/text-line-stream";
import { UsageError } from "../../../core/errors.ts";
import { lettersByServer, LivePage } from "../../../core/page/page.ts";
import { PageAssets } from "../../../core/page/assets.ts";
import { NotNowError, type PageActions } from "../../../core/page/handler.ts";
import { type PageSnapshot, type PageView } from "../../../core/page/model.ts";
import { formatMessage, MAX_VIEWERS, Viewers } from "../../../core/page/viewers.ts";
import { modulo } from "../../../core/placement.ts";
import { LETTERS } from "../../../core/client/probe.ts";
import { parseServerList } from "../../../core/client/server_list.ts";

const OWNERS = LETTERS.map((letter) => modulo(letter, 3));

const VIEW: PageView = {
  role: "client",
  placement: "modulo",
  readonly: false,
  intervalMs: 2000,
  servers: lettersByServer((letter) => modulo(letter, 3), 3).map((letters, index) => ({
    name: `server-${index}`,
    address: `127.0.0.1:${index + 1}`,
    letters,
  })),
  owners: OWNERS,
  controls: null,
};

const SNAPSHOT: PageSnapshot = {
  version: "1",
  now: 0,
  view: VIEW,
  rows: [],
  events: [],
  keys: [],
};

/** A page under test, and how it is asked. */
class Subject implements AsyncDisposable {
  readonly page: LivePage;
  readonly port: number;
  readonly errors: unknown[] = [];

  private constructor(assets: PageAssets, actions: PageActions | undefined) {
    const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
    this.port = listener.addr.port;
    this.page = new LivePage(listener, {
      version: "1.2.3",
      remote: { timeoutMs: 1000 },
      assets,
      hostname: "Board.example",
      view: VIEW,
      // Nobody listens there.
      servers: parseServerList("127.0.0.1:1,127.0.0.1:2,127.0.0.1:3", "list"),
      ...(actions === undefined ? {} : { actions }),
      onError: (error) => this.errors.push(error),
    });
  }

  static async open(actions?: PageActions): Promise<Subject> {
    return new Subject(await PageAssets.load(), actions);
  }

  row(statuses: string): void {
    this.page.addRow({ time: new Date(), statuses, hits: 0 });
  }

  /** Sends a request with just these headers; resolves to status, header lines and body. */
  async ask(
    line: string,
    headers: Record<string, string> = {},
    body = "",
  ): Promise<{ status: number; head: string; body: string }> {
    const all = { host: `127.0.0.1:${this.port}`, connection: "close", ...headers };
    const lines = Object.entries(all).map(([name, value]) => `${name}: ${value}\r\n`).join("");
    const conn = await Deno.connect({ hostname: "127.0.0.1", port: this.port });
    const length = body === "" ? "" : `content-length: ${body.length}\r\n`;
    await conn.write(
      new TextEncoder().encode(`${line} HTTP/1.1\r\n${lines}${length}\r\n${body}`),
    );
    const answer = await new Response(conn.readable).text();
    const [head = "", ...rest] = answer.split("\r\n\r\n");
    return { status: Number(head.slice(9, 12)), head, body: rest.join("\r\n\r\n") };
  }

  async post(action: string, body: unknown, headers: Record<string, string> = {}) {
    const { status, body: text } = await this.ask(`POST /actions/${action}`, {
      origin: `http://127.0.0.1:${this.port}`,
      "content-type": "application/json",
      ...headers,
    }, JSON.stringify(body));
    return [status, text];
  }

  /** The messages of a new viewer, one by one. */
  async *watch(): AsyncGenerator<{ event: string; data: string }> {
    const response = await fetch(`http://127.0.0.1:${this.port}/events`);
    assertEquals(response.headers.get("content-type"), "text/event-stream; charset=utf-8");
    if (response.body === null) throw new Error("No body");
    let event = "";
    const lines = response.body.pipeThrough(new TextDecoderStream())
      .pipeThrough(new TextLineStream());
    for await (const line of lines) {
      if (line.startsWith("event: ")) event = line.slice(7);
      if (line.startsWith("data: ")) yield { event, data: line.slice(6) };
    }
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.page.close();
    assertEquals(this.errors, []);
    return Promise.resolve();
  }
}

Deno.test("a viewer gets a snapshot first, then what comes, in words too", async () => {
  await using subject = await Subject.open();
  subject.row("h".repeat(26));
  const viewer = subject.watch();
  const first = await viewer.next();
  const snapshot = JSON.parse(first.value?.data ?? "");
  assertEquals(first.value?.event, "snapshot");
  assertEquals([snapshot.version, snapshot.rows.length, snapshot.keys], ["1.2.3", 1, [
    null,
    null,
    null,
  ]]);
  assertEquals(snapshot.rows[0].v, "hhh");
  assertEquals(snapshot.events.length, 3);
  subject.row(LETTERS.map((letter) => modulo(letter, 3) === 1 ? "5" : "h").join(""));
  const [row, event] = [await viewer.next(), await viewer.next()];
  assertEquals(row.value?.event, "row");
  assertEquals(JSON.parse(row.value?.data ?? "").v, "h5h");
  assertEquals(event.value?.event, "event");
  assertEquals(JSON.parse(event.value?.data ?? "").text, "server-1 shutting down");
  await viewer.return(undefined);
});

Deno.test("everything on the page comes from its own origin, safely", async () => {
  await using subject = await Subject.open();
  const page = await subject.ask("GET /");
  assertEquals(page.status, 200);
  assertMatch(page.head, /content-type: text\/html; charset=utf-8/);
  assertMatch(page.head, /content-security-policy: default-src 'none'; script-src 'self';/);
  assertMatch(page.head, /frame-ancestors 'none'/);
  assertMatch(page.head, /x-content-type-options: nosniff/);
  assertEquals(/\son\w+=|style=|<style|<script(?![^>]*src=)|https?:/i.exec(page.body), null);
  const files = [...page.body.matchAll(/(?:src|href)="(\/page\/[^"]+)"/g)].map(([, path]) => path);
  assertEquals(files.length, 3);
  const seen = new Set<string>();
  while (files.length > 0) {
    const path = files.pop() ?? "";
    if (seen.has(path)) continue;
    seen.add(path);
    const file = await subject.ask(`GET ${path}`);
    assertEquals(file.status, 200, path);
    const etag = /etag: (.*)/.exec(file.head)?.[1]?.trim() ?? "";
    assertEquals((await subject.ask(`GET ${path}`, { "if-none-match": etag })).status, 304);
    for (const [, name] of file.body.matchAll(/from "\.\/([^"]+)"/g)) files.push(`/page/${name}`);
  }
  // All that is embedded is used, and nothing used is missing.
  const embedded = [...Deno.readDirSync(new URL("../../../core/page/browser", import.meta.url))];
  assertEquals(seen.size, embedded.length - 1);
});

Deno.test("paths and methods that are none are refused", async () => {
  await using subject = await Subject.open();
  for (
    const [line, status] of [
      ["GET /nothing", 404],
      ["GET /page/../page.ts", 404],
      ["GET /page/index.html", 404],
      ["POST /actions/scale", 405],
      ["GET /actions/scale", 404],
      ["HEAD /events", 200],
      ["HEAD /", 200],
    ] as const
  ) {
    const headers = {
      origin: `http://127.0.0.1:${subject.port}`,
      "content-type": "application/json",
    };
    assertEquals((await subject.ask(line, headers)).status, status, line);
  }
});

Deno.test("the page is only there under its own names, so that no other site's name leads to it", async () => {
  await using subject = await Subject.open();
  for (
    const [host, status] of [
      ["127.0.0.1", 200],
      ["localhost:9999", 200],
      ["kvs.localhost", 200],
      ["[::1]:80", 200],
      ["10.0.0.7:8080", 200],
      ["board.example:8080", 200],
      ["evil.example", 421],
      ["127.0.0.1.evil.example", 421],
      ["localhost.evil.example", 421],
      ["evil.example:80@127.0.0.1", 421],
      ["", 421],
    ] as const
  ) {
    for (const path of ["/", "/events", "/snapshot"]) {
      const line = path === "/events" ? `HEAD ${path}` : `GET ${path}`;
      const answer = await subject.ask(line, { host });
      // The HTTP server has its own word on a Host that is none.
      const ok = status === 421
        ? answer.status === 421 || answer.status === 400
        : answer.status === status;
      assert(ok, `${host} ${path}: ${answer.status}`);
    }
  }
});

/** Actions that note what was asked for. */
function recorded(): PageActions & { readonly asked: unknown[] } {
  const asked: unknown[] = [];
  return {
    asked,
    resize(servers) {
      if (servers > 62) throw new UsageError("Expected from 1 to 62 servers");
      asked.push(["resize", servers]);
    },
    scale: (servers) => void asked.push(["scale", servers]),
    move() {
      throw new NotNowError("Not possible now: Scaling");
    },
    delete: (server) => void asked.push(["delete", server]),
  };
}

Deno.test("changes come from the page itself, by POST, and from nowhere else", async () => {
  const actions = recorded();
  await using subject = await Subject.open(actions);
  const own = `http://127.0.0.1:${subject.port}`;
  const servers = { servers: 2 };
  for (
    const headers of [
      { origin: "http://evil.example" },
      { origin: "null" },
      { origin: "" },
      { origin: `http://127.0.0.1:${subject.port + 1}` },
      { origin: own, "sec-fetch-site": "cross-site" },
      { origin: own, "sec-fetch-site": "same-site" },
    ]
  ) {
    assertEquals((await subject.post("scale", servers, headers))[0], 403, JSON.stringify(headers));
  }
  assertEquals(
    (await subject.post("scale", servers, { host: "evil.example", origin: "http://evil.example" }))[
      0
    ],
    421,
  );
  assertEquals((await subject.post("scale", servers, { "content-type": "text/plain" }))[0], 415);
  assertEquals((await subject.ask("GET /actions/scale")).status, 405);
  assertEquals(
    (await subject.ask("PUT /actions/scale", { origin: own, "content-type": "application/json" }))
      .status,
    405,
  );
  const none = await subject.ask(
    "POST /actions/scale",
    { "content-type": "application/json" },
    "{}",
  );
  assertEquals(none.status, 403);
  assertEquals(actions.asked, []);
  assertEquals(await subject.post("scale", servers), [202, '{"accepted":"scale"}\n']);
  assertEquals(await subject.post("resize", { servers: 4 }), [202, '{"accepted":"resize"}\n']);
  assertEquals(
    await subject.post("delete", { server: "server-1" }, { "sec-fetch-site": "same-origin" }),
    [202, '{"accepted":"delete"}\n'],
  );
  assertEquals(actions.asked, [["scale", 2], ["resize", 4], ["delete", "server-1"]]);
});

Deno.test("changes that make no sense, or not now, are refused in one line", async () => {
  const actions = recorded();
  await using subject = await Subject.open(actions);
  assertEquals(await subject.post("resize", { servers: 63 }), [
    400,
    "Expected from 1 to 62 servers",
  ]);
  assertEquals(await subject.post("resize", { servers: 1.5 }), [
    400,
    'Expected a whole number as "servers"',
  ]);
  assertEquals(await subject.post("resize", {}), [400, 'Expected a whole number as "servers"']);
  assertEquals(await subject.post("delete", ["server-1"]), [400, 'Expected text as "server"']);
  assertEquals(await subject.post("delete", null), [400, 'Expected text as "server"']);
  assertEquals(await subject.post("move", { servers: 2 }), [409, "Not possible now: Scaling"]);
  assertEquals(await subject.post("quit", {}), [404, "No such action: quit"]);
  const headers = {
    origin: `http://127.0.0.1:${subject.port}`,
    "content-type": "application/json",
  };
  assertEquals((await subject.ask("POST /actions/scale", headers, "{")).status, 400);
  const long = await subject.ask("POST /actions/scale", headers, " ".repeat(2000));
  assertEquals(long.status, 400);
  assertStringIncludes(long.body, "at most 1024");
  assertEquals(actions.asked, []);
});

Deno.test("a viewer that does not read is dropped, others go on", async () => {
  const viewers = new Viewers();
  const slow = viewers.open(SNAPSHOT);
  const quick = viewers.open(SNAPSHOT);
  if (slow === undefined || quick === undefined) throw new Error("Too many viewers");
  const reader = quick.getReader();
  await reader.read();
  const text = "x".repeat(1000);
  for (let sent = 0; sent < 400; sent++) {
    viewers.send("event", { id: sent, t: 0, text, tone: "note" });
    await reader.read();
  }
  assertEquals(viewers.size, 1);
  const failed = await slow.getReader().read().then(() => "", (error) => error.message);
  assertEquals(failed, "Viewer reads too slowly");
  await reader.cancel();
  assertEquals(viewers.size, 0);
  viewers.close();
});

Deno.test("there are at most so many viewers, and one that goes makes room", async () => {
  const viewers = new Viewers();
  const streams = Array.from({ length: MAX_VIEWERS }, () => viewers.open(SNAPSHOT));
  assertEquals(viewers.open(SNAPSHOT), undefined);
  await streams[0]?.cancel();
  const last = viewers.open(SNAPSHOT);
  assert(last !== undefined);
  viewers.close();
  assertEquals(viewers.size, 0);
});

Deno.test("a message is one line of data, whatever is in it", () => {
  const message = formatMessage(7, "event", { text: "a\nevent: b\r\n\u2028data: </script>" });
  assertEquals(message.split("\n").length, 5);
  assertMatch(message, /^id: 7\nevent: event\ndata: [^\n\r]+\n\n$/);
});
