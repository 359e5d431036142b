import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { BrowserGuard } from "../../../core/http/browser_guard.ts";
import { createHandler } from "../../../core/server/handler.ts";
import { StorageBusyError } from "../../../core/errors.ts";
import { RequestMetrics } from "../../../core/server/metrics.ts";
import { headersOf } from "../../../core/http/headers.ts";
import { type HttpBody, type HttpRequest, type HttpResponse } from "../../../core/http/types.ts";
import { DataDir } from "../../../core/storage/data_dir.ts";
import { denoFiles } from "../../../core/system/deno_files.ts";
import { diskRoom } from "../../../core/system/disk.ts";
import { fileSystemId } from "../../../core/system/disk.ts";
import { type JournalStore } from "../../../core/storage/journal_store.ts";
import { Lifecycle } from "../../../core/server/lifecycle.ts";
import { ClusterStateFile } from "../../../core/server/cluster_state.ts";
import { SYSTEM_LEASES } from "../../../core/server/fence.ts";
import { Membership } from "../../../core/server/membership.ts";
import { LastMove } from "../../../core/server/last_move.ts";
import { openJournalStore } from "../../../core/storage/open_journal_store.ts";
import { TempDir } from "../../e2e/program.ts";

const MAX_VALUE_BYTES = 200_000;

interface Ask {
  readonly method?: string;
  readonly headers?: Record<string, string>;
  readonly body?: string | Uint8Array<ArrayBuffer>;
  /** Whether the body comes in chunks of unknown number. */
  readonly chunked?: boolean;
}

interface Told {
  readonly status: number;
  readonly header: (name: string) => string | undefined;
  readonly body: string;
}

/** A shard without a port: a real store in a folder behind a handler. */
async function withShard(
  test: (
    ask: (target: string, options?: Ask) => Promise<Told>,
    dir: TempDir,
    store: JournalStore,
  ) => Promise<void>,
  { maxValueBytes = MAX_VALUE_BYTES, hosts, requests = new RequestMetrics() }: {
    readonly maxValueBytes?: number;
    readonly requests?: RequestMetrics;
    /** The host names that it admits; any by default. */
    readonly hosts?: readonly string[];
  } = {},
): Promise<void> {
  await using dir = new TempDir();
  const dataDir = await DataDir.open(dir.path);
  const logged: string[] = [];
  const store = await openJournalStore(dir.path, {
    log: () => {},
    onFatal: (error) => logged.push(error.message),
  });
  const lifecycle = new Lifecycle(dir.path);
  const lastMove = await LastMove.open(dir.join(".kvs"), denoFiles, () => {});
  const membership = new Membership({
    file: await ClusterStateFile.open(dir.join(".kvs"), denoFiles, () => {}),
    clock: SYSTEM_LEASES,
    log: () => {},
    onFatal: (error) => logged.push(error.message),
  });
  const handler = createHandler({
    store: () => store,
    lastMove,
    membership,
    lifecycle,
    browserGuard: new BrowserGuard(hosts),
    requests,
    metrics: () => Promise.resolve({ contentType: "text/plain", text: "" }),
    room: () => diskRoom(dir.path),
    fileSystem: await fileSystemId(dir.path),
    journalBytes: 1000,
    maxValueBytes,
    log: (_level, message, facts) => logged.push(`${message} ${JSON.stringify(facts)}`),
  });
  lifecycle.started();
  try {
    const ask = async (target: string, options: Ask = {}) => {
      return told(await handler(request(target, options)));
    };
    await test(ask, dir, store);
    assertEquals(logged, []);
  } finally {
    await store.close();
    dataDir.close();
  }
}

function request(
  target: string,
  { method = "GET", headers = {}, body, chunked }: Ask,
): HttpRequest {
  const bytes = typeof body === "string" ? new TextEncoder().encode(body) : body;
  const [path = "", query = ""] = target.split("?");
  return {
    method,
    path,
    query,
    contentLength: chunked === true ? undefined : bytes?.length,
    chunked: chunked === true,
    body: bytes === undefined || bytes.length === 0 ? undefined : fakeBody(bytes),
    header: (name) => headers[name],
  };
}

function fakeBody(bytes: Uint8Array<ArrayBuffer>): HttpBody {
  return {
    bytes: () => bytes,
    // As if the others came later than the header.
    view: () => bytes.length % 2 === 0 ? bytes : undefined,
    async *chunks() {
      for (let at = 0; at < bytes.length; at += 1000) {
        yield await Promise.resolve(bytes.slice(at, at + 1000));
      }
    },
  };
}

async function told(response: HttpResponse): Promise<Told> {
  const { status, body = "" } = response;
  const { text } = headersOf(response);
  return {
    status,
    header: (name) => new RegExp(`^${name}: (.*)\r\n`, "m").exec(text)?.[1],
    body: await new Response(body instanceof Uint8Array ? body.slice() : body).text(),
  };
}

Deno.test("PUT creates, then replaces; GET gives back bytes, ETag and content type", async () => {
  await withShard(async (ask) => {
    const put = (body: string, headers = {}) =>
      ask("/v1/keys/a%2Fb", { method: "PUT", body, headers });
    const created = await put("one", { "content-type": "text/x-odd" });
    assertEquals(created.status, 201);
    const got = await ask("/v1/keys/a%2Fb");
    assertEquals([got.status, got.body], [200, "one"]);
    assertEquals(got.header("content-type"), "text/x-odd");
    assertEquals(got.header("etag"), created.header("etag"));
    assertMatch(got.header("etag") ?? "", /^"[^"]+"$/);

    const replaced = await put("two");
    assertEquals(replaced.status, 204);
    const after = await ask("/v1/keys/a%2Fb");
    assertEquals(after.body, "two");
    assertEquals(after.header("content-type"), "application/octet-stream");
    assertEquals(after.header("etag") === got.header("etag"), false);
    assertEquals((await ask("/load/a%2Fb")).body, "two");
  });
});

Deno.test("GET answers 304 where the client has the value, 404 where there is none", async () => {
  await withShard(async (ask) => {
    const etag = (await ask("/v1/keys/k", { method: "PUT", body: "v" })).header("etag") ?? "";
    for (const known of [etag, `"other", ${etag}`, `W/${etag}`, "*"]) {
      const answer = await ask("/v1/keys/k", { headers: { "if-none-match": known } });
      assertEquals([known, answer.status, answer.body], [known, 304, ""]);
      assertEquals(answer.header("etag"), etag);
    }
    assertEquals((await ask("/v1/keys/k", { headers: { "if-none-match": '"x"' } })).status, 200);
    // A client that has the same bytes as something else does not have the value.
    await ask("/v1/keys/k", { method: "PUT", body: "v", headers: { "content-type": "text/html" } });
    const retyped = await ask("/v1/keys/k", { headers: { "if-none-match": etag } });
    assertEquals([retyped.status, retyped.header("content-type")], [200, "text/html"]);
    const missing = await ask("/v1/keys/none");
    assertEquals(missing.status, 404);
    assertEquals(JSON.parse(missing.body).error, "not_found");
  });
});

Deno.test("conditional writes answer 412 where the condition fails, and change nothing", async () => {
  await withShard(async (ask) => {
    const write = (method: string, body: string | undefined, headers: Record<string, string>) =>
      ask("/v1/keys/k", { method, headers, ...(body === undefined ? {} : { body }) });
    assertEquals((await write("PUT", "0", { "if-match": "*" })).status, 412);
    assertEquals((await write("DELETE", undefined, { "if-match": "*" })).status, 412);
    const first = await write("PUT", "1", { "if-none-match": "*" });
    assertEquals(first.status, 201);
    const etag = first.header("etag") ?? "";
    assertEquals((await write("PUT", "2", { "if-none-match": "*" })).status, 412);
    assertEquals((await write("PUT", "2", { "if-match": '"other"' })).status, 412);
    assertEquals((await write("PUT", "2", { "if-match": `W/${etag}` })).status, 412);
    assertEquals((await write("DELETE", undefined, { "if-match": '"other"' })).status, 412);
    assertEquals((await ask("/v1/keys/k")).body, "1");
    assertEquals((await write("PUT", "2", { "if-match": `"other", ${etag}` })).status, 204);
    assertEquals((await write("DELETE", undefined, { "if-match": etag })).status, 412);
    assertEquals((await write("DELETE", undefined, { "if-match": "*" })).status, 204);
    assertEquals((await write("DELETE", undefined, {})).status, 404);
    for (const bad of ["etag", '"a" "b"', ""]) {
      assertEquals((await write("PUT", "3", { "if-match": bad })).status, 400);
    }
    assertEquals((await write("PUT", "3", { "if-none-match": '"a"' })).status, 400);
    assertEquals((await ask("/v1/keys/k")).status, 404);
  });
});

Deno.test("every refusal on a native route is one line of JSON", async () => {
  await withShard(async (ask, dir) => {
    await Deno.mkdir(dir.join("folder"));
    const big = "x".repeat(MAX_VALUE_BYTES + 1);
    const table: [string, Ask, number, string][] = [
      ["/v1/keys/", {}, 400, "bad_request"],
      ["/v1/keys/%zz", {}, 400, "bad_request"],
      ["/v1/keys/_shutting_down_", { method: "PUT", body: "x" }, 400, "bad_request"],
      ["/v1/keys/a", { method: "PUT" }, 411, "length_required"],
      ["/v1/keys/a", { method: "PUT", body: big }, 413, "content_too_large"],
      [
        "/v1/keys/a",
        { method: "PUT", body: "x", headers: { "content-type": "ä" } },
        400,
        "bad_request",
      ],
      ["/v1/keys/a", { method: "POST", body: "x" }, 405, "method_not_allowed"],
      ["/v1/keys", { method: "PUT", body: "x" }, 405, "method_not_allowed"],
      ["/v1/batch", {}, 405, "method_not_allowed"],
      ["/v1/batch", { method: "POST" }, 411, "length_required"],
      ["/v1/keys?limit=0", {}, 400, "bad_request"],
      ["/v1/keys?limit=x", {}, 400, "bad_request"],
      ["/v1/keys?limit=10000000000", {}, 400, "bad_request"],
      ["/v1/keys?color=red", {}, 400, "bad_request"],
      ["/v1/keys?prefix=%ff", {}, 400, "bad_request"],
      ["/v1/keys/a?me", { method: "PUT", body: "x" }, 400, "bad_request"],
      ["/v1/keys/a?limit=1", {}, 400, "bad_request"],
      ["/v1/keys/a?x=1", { method: "DELETE" }, 400, "bad_request"],
      ["/v1/batch?x", { method: "POST", body: "" }, 400, "bad_request"],
      ["/v1/stats?x", {}, 400, "bad_request"],
      [
        "/v1/keys/a",
        { method: "PUT", body: "x", headers: { "content-range": "bytes 3-3/4" } },
        400,
        "bad_request",
      ],
      [
        "/v1/keys/a",
        { method: "PUT", body: "x", headers: { "content-encoding": "gzip" } },
        415,
        "unsupported_media_type",
      ],
      [
        "/v1/batch",
        { method: "POST", body: "x", headers: { "content-encoding": "br" } },
        415,
        "unsupported_media_type",
      ],
      ["/v1/nothing", {}, 404, "not_found"],
      ["/v1/keys/a/b", {}, 404, "not_found"],
    ];
    for (const [target, options, status, error] of table) {
      const answer = await ask(target, options);
      assertEquals([target, answer.status], [target, status]);
      assertMatch(answer.body, /^\{[^\n]*\}\n$/);
      const parsed = JSON.parse(answer.body);
      assertEquals(parsed.error, error);
      assertEquals(typeof parsed.detail, "string");
    }
    assertStringIncludes(
      (await ask("/v1/keys/a", { method: "PUT", body: big })).body,
      `${MAX_VALUE_BYTES + 1} bytes, at most ${MAX_VALUE_BYTES}`,
    );
    assertStringIncludes((await ask("/v1/keys?limit=10000000000")).body, "from 1 to 999999999");
    assertEquals((await ask("/v1/keys")).body, '{"keys":[],"next":null}\n');
  });
});

Deno.test("a value of any size comes back whole, with its length known or not", async () => {
  await withShard(async (ask) => {
    for (const size of [0, 1, 65_535, 65_536, 65_537, 150_000]) {
      for (const chunked of [false, true]) {
        const body = "0123456789".repeat(size / 10 + 1).slice(0, size);
        const target = `/v1/keys/size-${size}-${chunked}`;
        const answer = await ask(target, { method: "PUT", body, chunked });
        assertEquals([size, chunked, answer.status], [size, chunked, 201]);
        assertEquals((await ask(target)).body, body);
        assertEquals((await ask(target)).header("etag"), answer.header("etag"));
      }
    }
  });
});

Deno.test("GET and HEAD answer 412 where If-Match does not hold, before all else", async () => {
  await withShard(async (ask) => {
    for (const [key, body] of [["small", "v"], ["large", "v".repeat(150_000)]] as const) {
      const target = `/v1/keys/${key}`;
      const etag = (await ask(target, { method: "PUT", body })).header("etag") ?? "";
      const table: [Record<string, string>, number][] = [
        [{ "if-match": etag }, 200],
        [{ "if-match": "*" }, 200],
        [{ "if-match": `"other", ${etag}` }, 200],
        [{ "if-match": '"other"' }, 412],
        [{ "if-match": `W/${etag}` }, 412],
        [{ "if-match": etag, "if-none-match": '"other"' }, 200],
        [{ "if-match": etag, "if-none-match": etag }, 304],
        [{ "if-match": '"other"', "if-none-match": etag }, 412],
        [{ "if-match": "unquoted" }, 400],
      ];
      for (const method of ["GET", "HEAD"]) {
        for (const [headers, status] of table) {
          const answer = await ask(target, { method, headers });
          assertEquals([key, method, headers, answer.status], [key, method, headers, status]);
        }
        for (const match of ["*", '"other"']) {
          const absent = await ask("/v1/keys/none", { method, headers: { "if-match": match } });
          assertEquals([method, match, absent.status], [method, match, 412]);
        }
      }
    }
  });
});

Deno.test("content that would be stored as something else is refused, and the value stands", async () => {
  await withShard(async (ask) => {
    const put = (headers: Record<string, string>) =>
      ask("/v1/keys/k", { method: "PUT", body: "tail", headers });
    await ask("/save/k/whole");
    assertEquals((await put({ "content-range": "bytes 3-6/7" })).status, 400);
    assertEquals((await put({ "content-range": "bytes */7" })).status, 400);
    for (const coding of ["gzip", "identity, gzip", "GZIP"]) {
      const refused = await put({ "content-encoding": coding });
      assertEquals([coding, refused.status], [coding, 415]);
      assertEquals(refused.header("accept-encoding"), "identity");
    }
    assertEquals((await ask("/load/k")).body, "whole");
    assertEquals((await put({ "content-encoding": "Identity" })).status, 204);
    assertEquals((await put({ "content-encoding": "" })).status, 204);
  });
});

Deno.test("HEAD is answered wherever GET is, but on the book routes", async () => {
  await withShard(async (ask) => {
    await ask("/save/a/1");
    for (const target of ["/", "/healthz", "/readyz", "/metrics", "/v1/keys", "/v1/stats"]) {
      const [get, head] = [await ask(target), await ask(target, { method: "HEAD" })];
      assertEquals([target, get.status, head.status], [target, 200, 200]);
      assertEquals(head.header("content-type"), get.header("content-type"));
      const other = await ask(target, { method: "POST", body: "x" });
      assertEquals([target, other.status, other.header("allow")], [target, 405, "GET, HEAD"]);
    }
    for (const target of ["/load/a", "/save/a/2", "/allKeys"]) {
      const head = await ask(target, { method: "HEAD" });
      assertEquals([target, head.status, head.header("allow")], [target, 405, "GET"]);
    }
    assertEquals((await ask("/load/a")).body, "1");
  });
});

Deno.test("requests are counted by route and status, those for no route as other", async () => {
  const requests = new RequestMetrics();
  await withShard(async (ask) => {
    await ask("/save/a/1");
    for (const target of ["/load/a", "/load/b", "/load/%zz"]) await ask(target);
    await ask("/v1/keys/a", { method: "PUT", body: "2" });
    await ask("/v1/keys/a", { method: "HEAD" });
    await ask("/readyz");
    for (const target of ["/load/a/b", "/made/up"]) await ask(target);
    for (const target of ["/load/a", "/v1/keys/a"]) await ask(target, { method: "PATCH" });
    assertEquals(requests.counts.map(({ route, statuses }) => [route, statuses]), [
      ["save", [[200, 1]]],
      ["load", [[200, 2], [400, 1]]],
      ["v1_put", [[204, 1]]],
      ["v1_get", [[200, 1]]],
      ["health", [[200, 1]]],
      ["other", [[404, 2], [405, 2]]],
    ]);
  }, { requests });
});

Deno.test("a query is passed over where there is no data to be had, and on the book routes", async () => {
  await withShard(async (ask) => {
    await ask("/save/a/1?b");
    for (const target of ["/healthz?x", "/readyz?x", "/metrics?name=x", "/?x", "/load/a?x"]) {
      assertEquals([target, (await ask(target)).status], [target, 200]);
    }
    // Without a name in it there is nothing to pass over.
    assertEquals((await ask("/v1/keys/a?")).body, "1");
    assertEquals((await ask("/v1/stats?&")).status, 200);
  });
});

Deno.test("every data route refuses pages of other sites, and nothing is changed", async () => {
  const headers = { host: "127.0.0.1:8000" };
  const foreign = [
    { ...headers, origin: "http://evil.example" },
    { ...headers, "sec-fetch-site": "cross-site" },
    { host: "evil.example:8000" },
  ];
  await withShard(async (ask) => {
    assertEquals((await ask("/save/a/1", { headers })).body, "1");
    const batch = '{"op":"delete","key":"a"}';
    const routes: [string, Ask][] = [
      ["/save/a/2", {}],
      ["/load/a", {}],
      ["/allKeys", {}],
      ["/v1/keys", {}],
      ["/v1/keys", { method: "HEAD" }],
      ["/v1/keys/a", {}],
      ["/v1/keys/a", { method: "HEAD" }],
      ["/v1/keys/a", { method: "PUT", body: "2" }],
      ["/v1/keys/a", { method: "DELETE" }],
      ["/v1/batch", { method: "POST", body: batch }],
      ["/v1/stats", {}],
    ];
    for (const [target, options] of routes) {
      for (const theirs of foreign) {
        const { status, body } = await ask(target, { ...options, headers: theirs });
        assertEquals([target, theirs, status], [target, theirs, 403]);
        assertMatch(body, target.startsWith("/v1/") ? /^\{[^\n]*\}\n$/ : /^Not for [^\n]+$/);
      }
    }
    // Probes come as they please, and a person may look what this is.
    for (const target of ["/healthz", "/readyz", "/metrics", "/"]) {
      for (const theirs of foreign) {
        assertEquals((await ask(target, { headers: theirs })).status, 200, target);
      }
    }
    assertEquals((await ask("/load/a", { headers })).body, "1");
  }, { hosts: [] });
});

Deno.test("GET /v1/keys pages in order, by prefix, after and limit", async () => {
  await withShard(async (ask) => {
    for (const key of ["b1", "a2", "a1", "a3", "%F0%9F%98%80", "%EF%BD%81"]) {
      await ask(`/save/${key}/x`);
    }
    const list = async (query: string) => JSON.parse((await ask(`/v1/keys?${query}`)).body);
    assertEquals(await list(""), { keys: ["a1", "a2", "a3", "b1", "ａ", "😀"], next: null });
    assertEquals(await list("limit=2"), { keys: ["a1", "a2"], next: "a2" });
    assertEquals(await list("limit=2&after=a2"), { keys: ["a3", "b1"], next: "b1" });
    assertEquals(await list("prefix=a&limit=3"), { keys: ["a1", "a2", "a3"], next: null });
    assertEquals(await list("prefix=a&after=a1x"), { keys: ["a2", "a3"], next: null });
    assertEquals(await list("after=zzz&limit=1"), { keys: ["ａ"], next: "ａ" });
  });
});

Deno.test("a + in a query is a blank, in a path itself", async () => {
  await withShard(async (ask) => {
    const keys = ["user 1", "user 2", "user 3", "user+1"];
    for (const key of keys) {
      await ask(`/v1/keys/${key.replace(" ", "%20")}`, { method: "PUT", body: key });
    }
    assertEquals((await ask("/v1/keys/user+1")).body, "user+1");
    const list = async (fields: Record<string, string>) =>
      JSON.parse((await ask(`/v1/keys?${new URLSearchParams(fields)}`)).body).keys;
    assertEquals(await list({ prefix: "user " }), keys.slice(0, 3));
    assertEquals(await list({ prefix: "user+" }), keys.slice(3));
    assertEquals(await list({ after: "user 1", limit: "2" }), keys.slice(1, 3));
    assertEquals(await list({ after: "user 3" }), keys.slice(3));
  });
});

Deno.test("listings of many pages are complete as JSON pages, as NDJSON and on the book route", async () => {
  await withShard(async (ask) => {
    const keys = Array.from({ length: 2500 }, (_, i) => `key-${String(i).padStart(5, "0")}`);
    const lines = keys.map((key) => JSON.stringify({ op: "put", key, value: "v" })).join("\n");
    await ask("/v1/batch", { method: "POST", body: lines });
    const streamed = await ask("/v1/keys", { headers: { accept: "application/x-ndjson" } });
    assertEquals(streamed.header("content-type"), "application/x-ndjson");
    assertEquals(streamed.body.trimEnd().split("\n").map((line) => JSON.parse(line).key), keys);
    assertEquals((await ask("/allKeys")).body, keys.join(","));
    const paged: string[] = [];
    for (let after: string | null = ""; after !== null;) {
      const page = JSON.parse((await ask(`/v1/keys?after=${after}`)).body);
      paged.push(...page.keys);
      after = page.next;
    }
    assertEquals(paged, keys);
  });
});

Deno.test("POST /v1/batch answers each line in order, refusals among them", async () => {
  await withShard(async (ask) => {
    const run = async (...operations: (object | string)[]) => {
      const body = operations.map((one) => typeof one === "string" ? one : JSON.stringify(one));
      const answer = await ask("/v1/batch", { method: "POST", body: body.join("\n") });
      assertEquals(answer.status, 200);
      return answer.body.trimEnd().split("\n").map((line) => JSON.parse(line));
    };
    const results = await run(
      { op: "put", key: "a", value: "ä\n" },
      { op: "get", key: "a" },
      { op: "put", key: "b", base64: "AP8=", type: "x/y" },
      { op: "get", key: "b" },
      { op: "head", key: "b" },
      { op: "head", key: "none" },
      { op: "put", key: "..", value: "dots" },
      { op: "put", key: "a", value: "2", ifNoneMatch: "*" },
      { op: "delete", key: "none" },
      { op: "get", key: "none" },
      { op: "delete", key: "a" },
      { op: "get", key: "a" },
    );
    assertEquals(results.map(({ status }) => status), [
      201,
      200,
      201,
      200,
      200,
      404,
      201,
      412,
      404,
      404,
      204,
      404,
    ]);
    assertEquals([results[1].value, results[1].etag], ["ä\n", results[0].etag]);
    assertEquals([results[3].base64, results[3].type], ["AP8=", "x/y"]);
    const { etag } = results[2];
    assertEquals(results[4], { status: 200, key: "b", etag, size: 2, type: "x/y" });
    assertEquals(results.map(({ key }) => key).join(" "), "a a b b b none .. a none none a a");
    const malformed = [
      { op: "put", key: "a", value: 5 },
      { op: "put", key: "a", value: null },
      { op: "put", key: "a", base64: ["AA=="] },
      { op: "put", key: 7, value: "x" },
      { op: "put", key: "a", value: "x", type: null },
      { op: "put", key: "a", value: "x", type: 5 },
      { op: "put", key: "a", value: "x", ifMatch: {} },
      { op: "put", key: "a", value: "x", ifNoneMatch: true },
      { op: "get", key: "b", value: "x" },
      { op: "head", key: "b", value: "x" },
      { op: "delete", key: "b", base64: "AA==" },
      { op: "delete", key: "b", type: "x/y" },
      { op: "get", key: "b", ifMatch: '"no such"' },
      { op: "get", key: "b", ifNoneMatch: "*" },
      { op: "get", key: "b", type: "x/y" },
      { op: "head", key: "b", ifMatch: '"no such"' },
      { op: "head", key: "b", ifNoneMatch: "*" },
      { op: "head", key: "b", type: "x/y" },
      '{"op":"get","key":"b","__proto__":{}}',
      '{"__proto__":{"op":"get","key":"b"}}',
      "null",
      '"get"',
    ];
    for (const { status, error } of await run(...malformed)) {
      assertEquals([status, error], [400, "bad_request"]);
    }
    const refused = await run(
      "not json",
      "[]",
      { op: "put", key: "a" },
      { op: "put", key: "a", value: "x", base64: "AA==" },
      { op: "put", key: "a", base64: "*" },
      { op: "put", key: "a", value: "x", type: "a\r\nb: c" },
      { op: "put", key: "", value: "x" },
      { op: "move", key: "a" },
      { op: "get", key: "a", color: "red" },
      { op: "put", key: "big", value: "x".repeat(70_000) },
      '{"op":"put","key":"a","value":"\\ud800"}',
      { op: "put", key: "last", value: "x" },
    );
    assertEquals(refused.map(({ status }) => status), [
      ...Array(9).fill(400),
      413,
      400,
      201,
    ]);
    // Those that are operations are told by their key.
    assertEquals(refused.map(({ key }) => key), [
      ...Array(4).fill(undefined),
      "a",
      "a",
      "",
      undefined,
      undefined,
      "big",
      "a",
      "last",
    ]);
    assertEquals(JSON.parse((await ask("/v1/keys")).body).keys, ["..", "b", "last"]);
  });
});

Deno.test("a batch takes no value over the limit of the server", async () => {
  await withShard(async (ask) => {
    const put = (value: string) => JSON.stringify({ op: "put", key: "a", value });
    const { body } = await ask("/v1/batch", {
      method: "POST",
      body: [put("x".repeat(10)), put("x".repeat(11))].join("\n"),
    });
    const lines = body.trimEnd().split("\n").map((line) => JSON.parse(line));
    assertEquals(lines.map(({ status }) => status), [201, 413]);
    assertEquals(lines[1].detail, "Value too large: 11 bytes, at most 10 are accepted");
    assertEquals((await ask("/load/a")).body, "x".repeat(10));
  }, { maxValueBytes: 10 });
});

Deno.test("a batch of many lines ends before its answer fills the memory", async () => {
  await withShard(async (ask) => {
    // Each answer names the key, so that few of them are too long together.
    const absent = `{"op":"get","key":"${"k".repeat(255)}"}\n`;
    const body = absent.repeat(60_000) + '{"op":"put","key":"a","value":"x"}';
    const answer = await ask("/v1/batch", { method: "POST", body });
    assert(answer.body.length < 20 << 20, `${answer.body.length} characters`);
    assertMatch(answer.body, /Answer too long[^\n]*\n$/);
    assertEquals((await ask("/load/a")).body, "_key_not_found_");
  });
});

Deno.test("a line of a batch that never ends is refused before it fills the memory", async () => {
  await withShard(async (ask) => {
    const body = `{"op":"put","key":"a","value":"x"}\n` + "x".repeat(600_000);
    const { body: text } = await ask("/v1/batch", { method: "POST", body, chunked: true });
    const lines = text.trimEnd().split("\n").map((line) => JSON.parse(line));
    assertEquals(lines.map(({ status }) => status), [201, 413]);
  });
});

Deno.test("GET /save refuses a word over the largest value and keeps the old one", async () => {
  await withShard(async (ask) => {
    await ask("/save/a/old");
    const { status, body } = await ask(`/save/a/${"x".repeat(MAX_VALUE_BYTES + 1)}`);
    assertEquals(status, 413);
    assertEquals(
      body,
      `Value too large: ${MAX_VALUE_BYTES + 1} bytes, at most ${MAX_VALUE_BYTES} are accepted`,
    );
    assertEquals((await ask("/load/a")).body, "old");
    assertEquals((await ask(`/save/a/${"x".repeat(MAX_VALUE_BYTES)}`)).status, 200);
  });
});

Deno.test("GET /v1/stats counts keys and tells the room on the disk", async () => {
  await withShard(async (ask, dir) => {
    await ask("/save/a/1");
    await ask("/save/b/1");
    const { status, body } = await ask("/v1/stats");
    const { keys, start, writes, freeBytes, freeFiles, blockBytes, ...more } = JSON.parse(body);
    assertEquals([more.fileSystem, more.journalBytes], [await fileSystemId(dir.path), 1000]);
    assertEquals([status, keys, writes], [200, 2, 2]);
    await ask("/save/b/2");
    const again = JSON.parse((await ask("/v1/stats")).body);
    assertEquals([again.start, again.keys, again.writes], [start, 2, 3]);
    assert(freeBytes > 0 && blockBytes > 0 && (freeFiles === null || freeFiles > 0), body);
    assertEquals((await ask("/v1/stats", { method: "POST" })).status, 405);
  });
});

Deno.test("writes that the end of the server leaves no room for are answered 503, not as a failure", async () => {
  await withShard(async (ask, _, store) => {
    store.refuseWaiting();
    for (
      const [target, options] of [
        ["/save/a/1", {}],
        ["/v1/keys/a", { method: "PUT", body: "1" }],
      ] as const
    ) {
      const { status, body, header } = await ask(target, options);
      assertEquals([status, body, header("retry-after")], [503, "_shutting_down_", "1"]);
    }
    const batch = await ask("/v1/batch", {
      method: "POST",
      body: '{"op":"put","key":"a","value":"1"}',
    });
    assertEquals(JSON.parse(batch.body).status, 503);
  });
});

Deno.test("PUT /v1/move: writes of a run are refused once another one has begun", async () => {
  await withShard(async (ask) => {
    const tell = (move: string, run: string, step: string) =>
      ask("/v1/move", { method: "PUT", body: JSON.stringify({ move, run, step }) });
    const told = async () => JSON.parse((await ask("/v1/stats")).body).move;
    const put = async (key: string, query: string) => {
      const line = JSON.stringify({ op: "put", key, value: "new" });
      const batch = await ask(`/v1/batch${query}`, { method: "POST", body: line });
      const { status } = await ask(`/v1/keys/${key}${query}`, { method: "PUT", body: "new" });
      return [JSON.parse(batch.body).status, status];
    };
    assertEquals(await told(), null);
    assertEquals(await put("none", "?move=1"), [201, 204]);
    assertEquals((await tell("a 0/2", "1", "begin")).status, 200);
    assertEquals(await told(), { name: "a 0/2", run: "1", complete: false });
    assertEquals(await put("a", "?move=1"), [201, 204]);
    assertEquals((await tell("b", "2", "begin")).status, 200);
    assertEquals(await put("b", "?move=1"), [409, 409]);
    const line = JSON.stringify({ op: "delete", key: "a" });
    const { body } = await ask("/v1/batch?move=1", { method: "POST", body: line });
    assertEquals(JSON.parse(body).status, 409);
    assertEquals((await tell("a 0/2", "1", "complete")).status, 409);
    assertEquals(await told(), { name: "b", run: "2", complete: false });
    // What clients write belongs to no run.
    assertEquals(await put("a", ""), [204, 204]);
    assertEquals(await put("c", "?move=2"), [201, 204]);
    assertEquals((await tell("b", "2", "complete")).status, 200);
    assertEquals(await told(), { name: "b", run: "2", complete: true });
    assertEquals((await tell("b", "3", "begin")).status, 200);
    assertEquals(await told(), { name: "b", run: "3", complete: false });
    for (const wrong of ["?me", "?move", "?move=a&x=y", "?move=%"]) {
      const late = { method: "PUT", body: "old" };
      assertEquals([wrong, (await ask(`/v1/keys/free${wrong}`, late)).status], [wrong, 400]);
      const batch = { method: "POST", body: "" };
      assertEquals([wrong, (await ask(`/v1/batch${wrong}`, batch)).status], [wrong, 400]);
    }
  });
});

Deno.test("PUT /v1/move refuses what is no step of a move, queries, and other methods", async () => {
  await withShard(async (ask) => {
    const step = { move: "a", run: "1", step: "begin" };
    const wrong = [
      ...[{ ...step, move: "" }, { ...step, step: "end" }, { ...step, step: "restart" }],
      ...[{ ...step, move: "a\n" }, { ...step, run: "a".repeat(201) }, { ...step, run: 1 }],
      ...[{ ...step, more: 1 }, { move: "a", step: "begin" }, []],
    ];
    for (const body of ["", "{", ...wrong.map((one) => JSON.stringify(one))]) {
      const { status, body: text } = await ask("/v1/move", { method: "PUT", body });
      assertEquals([body, status], [body, 400]);
      assertStringIncludes(text, "Invalid step of a move");
    }
    const put = { method: "PUT", body: JSON.stringify(step) };
    assertEquals((await ask("/v1/move?x=1", put)).status, 400);
    assertEquals(JSON.parse((await ask("/v1/stats")).body).move, null);
    const { status, header } = await ask("/v1/move");
    assertEquals([status, header("allow")], [405, "PUT"]);
  });
});

Deno.test("what the system has no open files for is answered 503, and when to try again", async () => {
  await withShard(async (ask, _dir, store) => {
    const busy = () => Promise.reject(new StorageBusyError("Busy: nothing was changed"));
    store.set = busy;
    store.get = busy;
    store.delete = busy;
    for (
      const [target, method] of [
        ["/v1/keys/a", "PUT"],
        ["/v1/keys/a", "GET"],
        ["/v1/keys/a", "DELETE"],
        ["/save/a/b", "GET"],
        ["/load/a", "GET"],
      ] as const
    ) {
      const { status, header, body } = await ask(
        target,
        method === "PUT" ? { method, body: "v" } : { method },
      );
      assertEquals([target, status, header("retry-after")], [target, 503, "1"]);
      assertStringIncludes(body, "Busy: nothing was changed");
    }
    const batch = await ask("/v1/batch", { method: "POST", body: '{"op":"get","key":"a"}' });
    assertEquals([batch.status, JSON.parse(batch.body).status], [200, 503]);
  });
});
