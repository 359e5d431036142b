import { assertEquals, assertRejects } from "@std/assert";
import { hasDotSegment, rawRequest } from "../../../core/client/raw_http.ts";

Deno.test("hasDotSegment() finds the paths that fetch would change", () => {
  const table: [string, boolean][] = [
    ["/load/.", true],
    ["/load/..", true],
    ["/save/../x", true],
    ["/save/x/.", true],
    ["/load/...", false],
    ["/load/.a", false],
    ["/load/a..", false],
    ["/load/a", false],
    ["/v1/keys?after=/..", false],
  ];
  for (const [target, has] of table) assertEquals([target, hasDotSegment(target)], [target, has]);
});

function request(signal = AbortSignal.timeout(10_000)) {
  return { method: "GET", headers: new Headers(), body: undefined, signal };
}

Deno.test("rawRequest() sends the path as it is, with headers and a body", async () => {
  const seen: unknown[] = [];
  await using server = Deno.serve({ port: 0, hostname: "127.0.0.1", onListen() {} }, async (r) => {
    seen.push(r.method, r.url.slice(r.url.indexOf("/", 7)), r.headers.get("if-match"));
    seen.push([...await r.bytes()]);
    return r.method === "DELETE"
      ? new Response(null, { status: 204, headers: { etag: '"x"' } })
      : new Response(new Uint8Array([0, 255, 10]), { status: 207 });
  });
  const origin = `http://127.0.0.1:${server.addr.port}`;
  const put = await rawRequest(origin, "/v1/keys/..", {
    ...request(),
    method: "PUT",
    headers: new Headers({ "if-match": '"e"' }),
    body: new Uint8Array([1, 2, 254]),
  });
  assertEquals([put.status, ...await put.bytes()], [207, 0, 255, 10]);
  const gone = await rawRequest(origin, "/load/./%2E", { ...request(), method: "DELETE" });
  assertEquals([gone.status, gone.headers.get("etag"), await gone.text()], [204, '"x"', ""]);
  assertEquals(seen, [
    ...["PUT", "/v1/keys/..", '"e"', [1, 2, 254]],
    ...["DELETE", "/load/./%2E", null, []],
  ]);
});

/** Answers each connection with `answer` and closes it. */
async function answering(
  answer: string,
  test: (origin: string) => Promise<unknown>,
): Promise<void> {
  using listener = Deno.listen({ port: 0, hostname: "127.0.0.1" });
  const served = (async () => {
    for await (const conn of listener) {
      await conn.read(new Uint8Array(1024));
      await conn.write(new TextEncoder().encode(answer));
      conn.close();
    }
  })();
  await test(`http://127.0.0.1:${listener.addr.port}`);
  listener.close();
  await served;
}

Deno.test("rawRequest() takes an answer that ends with the connection", async () => {
  await answering(
    "HTTP/1.0 200 OK\r\nContent-Type: text/html\r\n\r\nvalue\r\n\r\n",
    async (origin) => {
      const response = await rawRequest(origin, "/load/..", request());
      assertEquals(response.headers.get("content-type"), "text/html");
      assertEquals(await response.text(), "value\r\n\r\n");
    },
  );
});

Deno.test("rawRequest() refuses an answer that is cut off or is none", async () => {
  for (
    const answer of [
      "",
      "hello",
      "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nval",
      "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
      "HTTP/1.1 two OK\r\n\r\n",
    ]
  ) {
    await answering(answer, async (origin) => {
      await assertRejects(() => rawRequest(origin, "/load/..", request()), Deno.errors.InvalidData);
    });
  }
});

Deno.test("rawRequest() ends when its signal fires", async () => {
  using listener = Deno.listen({ port: 0, hostname: "127.0.0.1" });
  const stop = new AbortController();
  const origin = `http://127.0.0.1:${listener.addr.port}`;
  const answer = rawRequest(origin, "/load/..", request(stop.signal));
  using _silent = await listener.accept();
  stop.abort(new DOMException("late", "TimeoutError"));
  await assertRejects(() => answer, DOMException, "late");
});
