import { assertEquals, assertRejects } from "@std/assert";
import { RebalanceError } from "../../../core/errors.ts";
import { openEndpoints } from "../../../core/rebalance/open.ts";

interface Shop extends AsyncDisposable {
  readonly name: string;
  readonly origin: string;
  readonly requests: string[];
}

/** A server that answers each request by `answer`, and remembers them. */
function serve(
  answer: (target: string, request: Request) => Response | Promise<Response>,
): Shop {
  const requests: string[] = [];
  const server = Deno.serve({ port: 0, hostname: "127.0.0.1", onListen() {} }, (request) => {
    const target = request.url.slice(request.url.indexOf("/", 7));
    requests.push(`${request.method} ${target}`);
    return answer(target, request);
  });
  const name = `127.0.0.1:${server.addr.port}`;
  return {
    name,
    origin: `http://${name}`,
    requests,
    [Symbol.asyncDispose]: () => server.shutdown(),
  };
}

const OPTIONS = {
  timeoutMs: 5000,
  patienceMs: 0,
  signal: new AbortController().signal,
  onWait: () => {},
};

async function open(server: Shop) {
  const [endpoint] = await openEndpoints([server], OPTIONS);
  if (endpoint === undefined) throw new Error("No endpoint");
  return endpoint;
}

async function gather(pages: AsyncIterable<readonly string[]>): Promise<(readonly string[])[]> {
  const all: (readonly string[])[] = [];
  for await (const page of pages) all.push(page);
  return all;
}

Deno.test("openEndpoints() takes only a page of keys as a sign of the native routes", async () => {
  const answers: [() => Response, boolean][] = [
    [() => Response.json({ keys: [], next: null }), true],
    [() => Response.json({ keys: ["a"], next: "a" }), true],
    [() => new Response("<h1>Not Found</h1>", { status: 404 }), false],
    [() => new Response("it works", { headers: { "content-type": "text/html" } }), false],
    [() => Response.json({ keys: [1] }), false],
    [() => Response.json(["a"]), false],
    [() => new Response("crashed", { status: 500 }), false],
    [() => new Response("", { status: 503 }), false],
  ];
  for (const [answer, native] of answers) {
    await using server = serve((target) => target === "/allKeys" ? new Response("") : answer());
    assertEquals([String((await open(server)).native)], [String(native)]);
  }
});

Deno.test("openEndpoints() tells the first server of the list that is not serving", async () => {
  await using good = serve(() => new Response(""));
  await using down = serve(() => new Response("_shutting_down_", { status: 503 }));
  const nobody = { name: "nobody", origin: "http://127.0.0.1:1" };
  await assertRejects(
    () => openEndpoints([good, nobody, down], OPTIONS),
    RebalanceError,
    "nobody cannot be reached: no connection; nothing was changed",
  );
  await assertRejects(
    () => openEndpoints([good, down, nobody], OPTIONS),
    RebalanceError,
    "answered 503: it is shutting down or starting; nothing was changed",
  );
});

Deno.test("openEndpoints() gives up on a server that does not answer", async () => {
  const never = Promise.withResolvers<Response>();
  const server = Deno.serve({ port: 0, hostname: "127.0.0.1", onListen() {} }, () => never.promise);
  const name = `127.0.0.1:${server.addr.port}`;
  await assertRejects(
    () => openEndpoints([{ name, origin: `http://${name}` }], { ...OPTIONS, timeoutMs: 50 }),
    RebalanceError,
    "no answer within 50 ms",
  );
  never.resolve(new Response(""));
  await server.shutdown();
});

Deno.test("a native listing goes from page to page", async () => {
  await using server = serve((target) => {
    const after = new URL(target, "http://x").searchParams.get("after");
    if (after === null) return Response.json({ keys: ["a", "b,%"], next: "b,%" });
    return Response.json({ keys: after === "b,%" ? ["c"] : [], next: null });
  });
  const endpoint = await open(server);
  assertEquals(await gather(endpoint.keys()), [["a", "b,%"], ["c"]]);
  assertEquals(server.requests.slice(1), [
    "GET /v1/keys?limit=1000",
    "GET /v1/keys?limit=1000&after=b%2C%25",
  ]);
});

Deno.test("a book listing keeps the server's order, or is sorted with each key once", async () => {
  await using server = serve((target) =>
    target === "/allKeys" ? new Response("b,%2C,a,100%,b") : new Response("", { status: 404 })
  );
  const endpoint = await open(server);
  assertEquals(await gather(endpoint.keys()), [["b", ",", "a", "100%", "b"]]);
  assertEquals(await gather(endpoint.sortedKeys()), [[",", "100%", "a", "b"]]);
});

Deno.test("whyRefused() tells what the book routes cannot carry", async () => {
  await using server = serve((target) =>
    target === "/allKeys" ? new Response("") : new Response("", { status: 404 })
  );
  const endpoint = await open(server);
  const text = (word: string, contentType?: string) => ({
    bytes: new TextEncoder().encode(word),
    contentType,
    etag: undefined,
  });
  const only = "it speaks only the book routes, and the value";
  assertEquals(endpoint.whyRefused("a", text("")), undefined);
  assertEquals(endpoint.whyRefused("a", text("é/%", "application/octet-stream")), undefined);
  assertEquals(endpoint.whyRefused("a", text("x", "text/plain; charset=utf-8")), undefined);
  assertEquals(endpoint.whyRefused("a", text("x".repeat(61_000))), undefined);
  assertEquals(
    endpoint.whyRefused("a", text("{}", "application/json")),
    `${only} would lose its content type application/json`,
  );
  assertEquals(
    endpoint.whyRefused("a", text("_key_not_found_")),
    `${only} is the text for "no such key"`,
  );
  assertEquals(
    endpoint.whyRefused("a", text("é".repeat(12_000))),
    `${only} makes a path of 72008 bytes, over 61440`,
  );
  assertEquals(
    endpoint.whyRefused("a", {
      bytes: new Uint8Array([255]),
      contentType: undefined,
      etag: undefined,
    }),
    `${only} is not UTF-8 text`,
  );
});

Deno.test("deleteMany() leaves a copy that changed meanwhile", async () => {
  await using server = serve(async (target, request) => {
    if (target.startsWith("/v1/keys?")) return Response.json({ keys: [], next: null });
    const lines = (await request.text()).trim().split("\n").map((line) => JSON.parse(line));
    return new Response(
      lines.map(({ op, key, ifMatch }) => {
        const status = key === "gone" ? 404 : op === "delete" && ifMatch === '"old"' ? 204 : 412;
        return JSON.stringify({ status, key }) + "\n";
      }).join(""),
    );
  });
  const endpoint = await open(server);
  const entry = (key: string, etag: string) => ({
    key,
    copy: { bytes: new Uint8Array(), contentType: undefined, etag },
  });
  const entries = [entry("a", '"old"'), entry("b", '"new"'), entry("gone", '"old"')];
  assertEquals(await endpoint.deleteMany(entries), [true, false, false]);
});

Deno.test("a server that lists its keys by a layout is refused", async () => {
  await using member = serve(() =>
    Response.json({ keys: [], next: null, epoch: 3, mark: null, end: false })
  );
  await assertRejects(
    () => open(member),
    RebalanceError,
    "belongs to a cluster with a layout: scale it by kvs scale, while its clients write; nothing was changed",
  );
});
