import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { SharedHeaders } from "../../../core/http/headers.ts";
import { serveHttp } from "../../../core/http/server.ts";
import { type HttpHandler } from "../../../core/http/types.ts";
import {
  Client,
  echo,
  GET,
  hello,
  raw,
  RELAXED,
  talk,
  text,
  until,
  withServer,
} from "./testing.ts";

const SHARED = new SharedHeaders({ "content-type": "text/plain; charset=utf-8" });

Deno.test("serveHttp() answers with status, headers, date, length, and body", async () => {
  await withServer(hello, {}, async ({ port }) => {
    const answer = await talk(port, GET);
    assertMatch(
      answer,
      /^HTTP\/1\.1 200 OK\r\ncontent-type: text\/plain; charset=utf-8\r\ndate: [A-Z][a-z]{2}, \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d GMT\r\ncontent-length: 5\r\n\r\nhello$/,
    );
    const date = Date.parse(/date: ([^\r]*)/.exec(answer)?.[1] ?? "");
    assert(Math.abs(Date.now() - date) < 10_000);
  });
});

const type = "content-type: text/plain; charset=utf-8\r\n";
const BODIES: Record<string, [HttpHandler, string, string]> = {
  "no body": [() => ({ status: 200 }), "HTTP/1.1 200 OK\r\n", "content-length: 0\r\n\r\n"],
  "204": [() => text("x", 204), "HTTP/1.1 204 No Content\r\n", `${type}\r\n`],
  "304": [() => text("x", 304), "HTTP/1.1 304 Not Modified\r\n", `${type}\r\n`],
  "304 with length": [
    () => ({ status: 304, headers: { "content-length": "7" } }),
    "HTTP/1.1 304 Not Modified\r\n",
    "content-length: 7\r\n\r\n",
  ],
  "ETag": [
    () => ({ status: 200, headers: SHARED, etag: '"ab"', body: "cd" }),
    "HTTP/1.1 200 OK\r\n",
    `content-length: 2\r\netag: "ab"\r\n\r\ncd`,
  ],
  "ETag with headers of its own": [
    () => ({ status: 200, headers: { a: "b" }, etag: '"ab"', body: "cd" }),
    `HTTP/1.1 200 OK\r\na: b\r\netag: "ab"\r\n`,
    "content-length: 2\r\n\r\ncd",
  ],
  "201 with ETag": [
    () => ({ status: 201, etag: '"ab"' }),
    "HTTP/1.1 201 Created\r\n",
    `content-length: 0\r\netag: "ab"\r\n\r\n`,
  ],
  "204 with ETag": [
    () => ({ status: 204, etag: '"ab"' }),
    `HTTP/1.1 204 No Content\r\netag: "ab"\r\n`,
    `etag: "ab"\r\n\r\n`,
  ],
  "304 with ETag": [
    () => ({ status: 304, headers: SHARED, etag: '"ab"' }),
    "HTTP/1.1 304 Not Modified\r\n",
    `etag: "ab"\r\n`,
  ],
  "unknown status": [
    () => text("x", 299),
    "HTTP/1.1 299 \r\n",
    `${type}content-length: 1\r\n\r\nx`,
  ],
  "UTF-8": [() => text("ä€😀"), "HTTP/1.1 200 OK\r\n", `${type}content-length: 9\r\n\r\n`],
  "own length ignored": [
    () => ({ status: 200, headers: { "content-length": "7" }, body: "ab" }),
    "HTTP/1.1 200 OK\r\n",
    "content-length: 2\r\n\r\nab",
  ],
  "header in Latin-1": [
    () => ({ status: 200, headers: { "a": "\xe4" }, body: "b" }),
    "HTTP/1.1 200 OK\r\na: \xe4\r\n",
    "content-length: 1\r\n\r\nb",
  ],
  "shared header in Latin-1": [
    () => ({ status: 200, headers: new SharedHeaders({ "a": "\xe4" }), body: "b" }),
    "HTTP/1.1 200 OK\r\na: \xe4\r\n",
    "content-length: 1\r\n\r\nb",
  ],
};
for (const [name, [handler, start, end]] of Object.entries(BODIES)) {
  Deno.test(`serveHttp() sends: ${name}`, async () => {
    const answer = await raw(handler, GET);
    assertEquals(answer.slice(0, start.length), start);
    assertStringIncludes(answer, end);
  });
}

Deno.test("serveHttp() sends an ETag if the connection goes on", async () => {
  const etags = ["", '"0123456789abcdef"', `"${"x".repeat(5000)}"`];
  const handler: HttpHandler = ({ path, query }) => {
    const etag = etags[Number(query)] ?? "";
    const status = Number(path.slice(1));
    return status === 204 ? { status, etag } : { status, headers: SHARED, etag, body: "ab" };
  };
  await withServer(handler, {}, async ({ port }) => {
    using client = await Client.connect(port);
    const asked = [200, 201, 204].flatMap((status) =>
      etags.map((etag, i) => ({ status, etag, i }))
    );
    // As many at once as make the buffer for answers too small.
    await client.send(
      asked.map(({ status, i }) => {
        return `GET /${status}?${i} HTTP/1.1\r\nHost: x\r\n\r\n`;
      }).join(""),
    );
    for (const { status, etag } of asked) {
      const answer = await client.response();
      assertEquals(answer?.status, status);
      assertEquals(answer?.headers.get("etag") ?? "", etag);
      assertEquals(answer?.headers.get("content-length"), status === 204 ? undefined : "2");
      assertEquals(answer?.body, status === 204 ? "" : "ab");
    }
  });
});

Deno.test("serveHttp() sends bodies of any size as they are", async () => {
  const sizes = [0, 1, 9, 10, 63, 64, 65, 1000, 16_000, 16_384, 20_000, 1 << 20];
  const letters = "aä€".repeat(1 << 19);
  const handler: HttpHandler = ({ path, query }) => {
    const size = Number(query);
    if (path === "/ascii") return text("x".repeat(size));
    if (path === "/text") return text(letters.slice(0, size));
    if (path === "/shared") return { status: 200, headers: SHARED, body: letters.slice(0, size) };
    return { status: 200, body: new Uint8Array(size).fill(0xfe) };
  };
  await withServer(handler, {}, async ({ port }) => {
    using client = await Client.connect(port);
    for (const size of sizes) {
      for (const path of ["ascii", "text", "shared", "bytes"]) {
        await client.send(`GET /${path}?${size} HTTP/1.1\r\nHost: x\r\n\r\n`);
        const { body } = (await client.response()) ?? { body: "" };
        if (path === "ascii") assert(body === "x".repeat(size));
        if (path === "bytes") assert(body === "\xfe".repeat(size));
        if (path === "text" || path === "shared") {
          const decoded = new TextDecoder().decode(Uint8Array.from(body, (it) => it.charCodeAt(0)));
          assert(decoded === letters.slice(0, size), `${size}`);
        }
      }
    }
  });
});

Deno.test("serveHttp() tells ASCII from text that only takes as many bytes as there is room", async () => {
  // The buffer has 16 KiB: with one character of two bytes, UTF-8 just fills what is left.
  const handler: HttpHandler = ({ query }) => ({
    status: 200,
    headers: { "a": "\xe4" + "x".repeat(Number(query)) + "!" },
  });
  await withServer(handler, {}, async ({ port }) => {
    using client = await Client.connect(port);
    for (let size = 16_384 - 120; size <= 16_384 - 60; size++) {
      await client.send(`GET /?${size} HTTP/1.1\r\nHost: x\r\n\r\n`);
      const answer = await client.response();
      assert(answer?.headers.get("a") === "\xe4" + "x".repeat(size) + "!", `${size}`);
    }
  });
});

Deno.test("serveHttp() sends all of a pipeline whose client reads late", async () => {
  const count = 20_000;
  const handler: HttpHandler = ({ query }) => ({
    status: 200,
    headers: SHARED,
    body: query.padEnd(1024, "x"),
  });
  await withServer(handler, {}, async ({ port }) => {
    using client = await Client.connect(port);
    let sent = 0;
    const sending = (async () => {
      for (let i = 0; i < count; i += 100) {
        let batch = "";
        for (let j = i; j < i + 100; j++) batch += `GET /?${j} HTTP/1.1\r\nHost: x\r\n\r\n`;
        await client.send(batch);
        sent = i;
      }
    })();
    let before = -1;
    await until(() => {
      const stands = sent === before;
      before = sent;
      return stands;
    }, "the answers to fill what the system holds");
    for (let i = 0; i < count; i++) {
      const answer = await client.response();
      assert(answer?.body === String(i).padEnd(1024, "x"), `${i}`);
    }
    await sending;
  });
});

Deno.test("serveHttp() invites a body behind answers that fill its buffer", async () => {
  const handler: HttpHandler = (request) =>
    request.method === "GET" ? text("x".repeat(1000)) : echo(request);
  await withServer(handler, {}, async ({ port }) => {
    for (let gets = 13; gets < 17; gets++) {
      using client = await Client.connect(port);
      await client.send(
        GET.repeat(gets) +
          "PUT / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n",
      );
      for (let i = 0; i < gets; i++) assertEquals((await client.response())?.body.length, 1000);
      assertEquals(await client.readTo("\r\n\r\n"), "HTTP/1.1 100 Continue\r\n\r\n");
      await client.send("ok");
      assertEquals((await client.response())?.body, "PUT / ok");
    }
  });
});

Deno.test("serveHttp() sends headers larger than its buffer", async () => {
  const long = "a".repeat(20_000);
  for (const body of ["b", new Uint8Array(100_000)]) {
    await withServer(() => ({ status: 200, headers: { long }, body }), {}, async ({ port }) => {
      using client = await Client.connect(port);
      await client.send(GET);
      const answer = await client.response();
      assertEquals(answer?.headers.get("long"), long);
      assertEquals(answer?.body.length, body.length);
    });
  }
});

Deno.test("serveHttp() answers HEAD as GET, without the body", async () => {
  const stream = () => new ReadableStream({ pull: (it) => it.enqueue(new Uint8Array(10)) });
  const handler: HttpHandler = ({ path }) => {
    if (path === "/stream") return { status: 200, body: stream() };
    if (path === "/sized") return { status: 200, headers: { "content-length": "7" } };
    return path === "/large" ? text("x".repeat(100_000)) : text("hello");
  };
  await withServer(handler, {}, async ({ port }) => {
    using client = await Client.connect(port);
    for (const [path, length] of [["/", "5"], ["/sized", "7"], ["/large", "100000"]]) {
      await client.send(`HEAD ${path} HTTP/1.1\r\nHost: x\r\n\r\n`);
      assertEquals((await client.response("HEAD"))?.headers.get("content-length"), length);
    }
    await client.send("HEAD /stream HTTP/1.1\r\nHost: x\r\n\r\n" + GET);
    assertEquals((await client.response("HEAD"))?.status, 200);
    assertEquals((await client.response())?.body, "hello");
  });
});

Deno.test("serveHttp() keeps or closes the connection as the client asks", async () => {
  const cases: [string, boolean, string | undefined][] = [
    ["HTTP/1.1\r\nHost: x", true, undefined],
    ["HTTP/1.1\r\nHost: x\r\nConnection: keep-alive", true, undefined],
    ["HTTP/1.1\r\nHost: x\r\nConnection: close", false, "close"],
    ["HTTP/1.0", false, "close"],
    ["HTTP/1.0\r\nConnection: keep-alive", true, "keep-alive"],
  ];
  await withServer(hello, {}, async ({ port }) => {
    for (const [line, keeps, connection] of cases) {
      using client = await Client.connect(port);
      await client.send(`GET / ${line}\r\n\r\n${GET}`);
      assertEquals((await client.response())?.headers.get("connection"), connection, line);
      assertEquals((await client.response())?.status, keeps ? 200 : undefined, line);
    }
  });
});

Deno.test("serveHttp() closes the connection if the answer says so", async () => {
  const closing: HttpHandler[] = [
    () => ({ ...text("x"), close: true }),
    () => ({ status: 200, headers: { connection: "close" } }),
    () => ({ status: 200, headers: new SharedHeaders({ connection: "close" }) }),
    () => Promise.resolve({ status: 204, close: true }),
  ];
  for (const handler of closing) {
    await withServer(handler, {}, async ({ port }) => {
      using client = await Client.connect(port);
      await client.send(GET + GET);
      assertEquals((await client.response())?.headers.get("connection"), "close");
      assertEquals(await client.response(), undefined);
    });
  }
});

Deno.test("serveHttp() closes with the answer to what it refuses", async () => {
  await withServer(hello, {}, async ({ port }) => {
    using client = await Client.connect(port);
    await client.send(GET + "bad\r\n\r\n" + GET);
    assertEquals((await client.response())?.status, 200);
    const refusal = await client.response();
    assertEquals(refusal?.status, 400);
    assertEquals(refusal?.headers.get("connection"), "close");
    assertEquals(refusal?.body, "Bad request line: the method is not one");
    assertEquals(await client.response(), undefined);
  });
});

Deno.test("serveHttp() lets the caller word refusals, by path if there is one", async () => {
  const refuse = (status: number, detail: string, path: string) => ({
    status,
    body: JSON.stringify({ path, detail }),
  });
  await withServer(hello, { refuse }, async ({ port }) => {
    assertStringIncludes(
      await talk(port, "GET /v1/x HTTP/1.1\r\n\r\n"),
      '{"path":"/v1/x","detail":"Host header required, once"}',
    );
    assertStringIncludes(await talk(port, "x\r\n"), '{"path":"","detail":"Bad request line');
  });
});

Deno.test("serveHttp() answers 500 if a refusal cannot be worded", async () => {
  const refuse = () => {
    throw new RangeError("no words");
  };
  await withServer(hello, { refuse }, async ({ port, errors }) => {
    assertMatch(await talk(port, "bad\r\n\r\n"), /^HTTP\/1\.1 500 /);
    assertEquals(errors.splice(0).length, 1);
  });
});

Deno.test("serveHttp() answers 500 and logs if the handler fails", async () => {
  const handlers: HttpHandler[] = [
    () => {
      throw new Error("sync");
    },
    () => Promise.reject(new Error("async")),
    () => ({ status: 99 }),
    () => ({ status: 101 }),
    () => ({ status: 200.5 }),
    () => ({ status: 200, headers: { "a": "b\r\nc: d" } }),
    () => ({ status: 200, headers: { "a\r\nb": "c" } }),
    () => ({ status: 200, headers: { "A": "upper case" } }),
    () => ({ status: 200, headers: { "a": "€" } }),
    () => ({ status: 200, etag: `"a"\r\nb: c` }),
    () => ({ status: 204, etag: `"€"` }),
    () => ({ status: 200, headers: { "transfer-encoding": "chunked" } }),
    () => ({ status: 200, headers: { "content-length": "-1" } }),
    () => ({ status: 200, headers: { "connection": "upgrade" } }),
    () => ({ status: 200, headers: { "date": "now" }, body: new ReadableStream() }),
    () => ({ status: 200, body: new ReadableStream({ start: (it) => it.error(new Error("x")) }) }),
    () => {
      const body = new ReadableStream();
      body.getReader();
      return { status: 200, body };
    },
  ];
  for (const handler of handlers) {
    await withServer(handler, {}, async ({ port, errors }) => {
      using client = await Client.connect(port);
      await client.send(GET + GET);
      for (const _ of [1, 2]) {
        const answer = await client.response();
        assertEquals(answer?.status, 500, handler.toString());
        assertEquals(answer?.body, "Internal error: the server's log tells more");
      }
      assertEquals(errors.splice(0).length, 2);
    });
  }
});

Deno.test("serveHttp() answers pipelined requests in order, in few writes", async () => {
  let order = 0;
  const handler: HttpHandler = ({ path }) => {
    const answer = text(`${path} ${order++}`);
    return path === "/2" ? new Promise((resolve) => setTimeout(() => resolve(answer), 20)) : answer;
  };
  await withServer(handler, {}, async ({ port }) => {
    using client = await Client.connect(port);
    let all = "";
    for (let i = 0; i < 2000; i++) all += `GET /${i} HTTP/1.1\r\nHost: x\r\n\r\n`;
    const [answers] = await Promise.all([
      (async () => {
        const bodies = [];
        for (let i = 0; i < 2000; i++) bodies.push((await client.response())?.body);
        return bodies;
      })(),
      client.send(all),
    ]);
    assertEquals(answers, Array.from({ length: 2000 }, (_, i) => `/${i} ${i}`));
  });
});

Deno.test("serveHttp() does not hold an answer back for a slow one behind it", async () => {
  const slow = Promise.withResolvers<void>();
  const handler: HttpHandler = ({ path }) =>
    path === "/slow" ? slow.promise.then(() => text("slow")) : text("fast");
  await withServer(handler, {}, async ({ port }) => {
    using client = await Client.connect(port);
    await client.send(GET + "GET /slow HTTP/1.1\r\nHost: x\r\n\r\n" + GET);
    assertEquals((await client.response())?.body, "fast");
    slow.resolve();
    assertEquals((await client.response())?.body, "slow");
    assertEquals((await client.response())?.body, "fast");
  });
});

Deno.test("serveHttp() works if the system reads and writes a few bytes at a time", async () => {
  const inner = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  /** `target` with some of its methods replaced. */
  const replace = <T extends object>(target: T, replaced: Record<string, unknown>): T =>
    new Proxy(target, {
      get(_, name) {
        const value = typeof name === "string" && name in replaced
          ? replaced[name]
          : Reflect.get(target, name);
        return typeof value === "function" ? value.bind(target) : value;
      },
    });
  const listener = replace(inner, {
    async accept() {
      const conn = await inner.accept();
      return replace(conn, {
        read: (into: Uint8Array) => conn.read(into.subarray(0, 5)),
        write: (bytes: Uint8Array) => conn.write(bytes.subarray(0, 7)),
      });
    },
  });
  const handler: HttpHandler = (request) => {
    if (request.path === "/stream") {
      return { status: 200, body: new Blob(["streamed ".repeat(20)]).stream() };
    }
    return request.method === "PUT" ? echo(request) : { status: 200, headers: SHARED, body: "hi" };
  };
  const server = serveHttp(listener, handler, { ...RELAXED, onError: (error) => assert(!error) });
  using client = await Client.connect(server.addr.port);
  const put = "PUT / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n";
  await client.send(GET + GET + put + "14\r\n01234567890123456789\r\n0\r\n\r\n");
  await client.send("GET /stream HTTP/1.1\r\nHost: x\r\n\r\n" + GET);
  const bodies = [];
  for (let i = 0; i < 5; i++) bodies.push((await client.response())?.body);
  const streamed = "streamed ".repeat(20);
  assertEquals(bodies, ["hi", "hi", "PUT / 01234567890123456789", streamed, "hi"]);
  client.close();
  await server.shutdown();
});
