/** Clients that were written by others. Those that are not installed are left out. */
import { assert, assertEquals, assertMatch } from "@std/assert";
import { type HttpHandler } from "../../../core/http/types.ts";
import { echo, RELAXED, text, withServer } from "./testing.ts";

/** Runs a program; `undefined` if there is none of that name. */
async function run(
  program: string,
  args: string[],
  input?: Uint8Array,
): Promise<{ code: number; stdout: string; stderr: string } | undefined> {
  let child: Deno.ChildProcess;
  try {
    child = new Deno.Command(program, { args, stdin: "piped", stdout: "piped", stderr: "piped" })
      .spawn();
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw error;
  }
  const writer = child.stdin.getWriter();
  if (input !== undefined) await writer.write(input).catch(() => {});
  await writer.close().catch(() => {});
  const { code, stdout, stderr } = await child.output();
  const decoder = new TextDecoder();
  return { code, stdout: decoder.decode(stdout), stderr: decoder.decode(stderr) };
}

const size: HttpHandler = async ({ body, path, contentLength }) => {
  if (path === "/refused") return text(`too large: ${contentLength}`, 413);
  return text(`${(await body?.bytes(1 << 26) ?? new Uint8Array()).length}`);
};

Deno.test("fetch: methods, bodies, streams, keep-alive", async () => {
  const handler: HttpHandler = (request) =>
    request.path === "/stream"
      ? { status: 200, body: new Blob(["x".repeat(1 << 20)]).stream() }
      : echo(request);
  await withServer(handler, {}, async ({ port, server }) => {
    using client = Deno.createHttpClient({});
    const url = `http://127.0.0.1:${port}`;
    const ask = async (path: string, init: RequestInit = {}) =>
      await (await fetch(url + path, { ...init, client })).text();
    assertEquals(await ask("/a%20b?c=d"), "GET /a%20b c=d ".replace(" c", "?c"));
    assertEquals(await ask("/a", { method: "PUT", body: "body" }), "PUT /a body");
    assertEquals(await ask("/a", { method: "HEAD" }), "");
    assertEquals(
      await ask("/a", { method: "PUT", body: new Blob(["streamed"]).stream() }),
      "PUT /a streamed",
    );
    assertEquals((await ask("/stream")).length, 1 << 20);
    assertEquals(await ask("/a", { method: "DELETE" }), "DELETE /a ");
    assertEquals(server.connections, 1);
    const many = await Promise.all(Array.from({ length: 200 }, (_, i) => ask(`/${i}`)));
    assertEquals(many, Array.from({ length: 200 }, (_, i) => `GET /${i} `));
  });
});

Deno.test("curl: upload with and without Expect, chunked, HEAD, 1.0, refusal before upload", async () => {
  await withServer(size, {}, async ({ port }) => {
    const url = `http://127.0.0.1:${port}/`;
    const curl = async (...args: string[]) =>
      await run("curl", ["-sS", "--max-time", "20", ...args], new Uint8Array(3 << 20));
    if ((await curl("--version")) === undefined) return;
    // From standard input without a size: chunked, and curl asks first.
    const chunked = await curl("-v", "-T", "-", url);
    assertEquals(chunked?.stdout, String(3 << 20));
    assertMatch(chunked?.stderr ?? "", /Expect: 100-continue[^]*100 Continue/);
    const known = await curl("-v", "--data-binary", "@-", "-H", "Expect: 100-continue", url);
    assertEquals(known?.stdout, String(3 << 20));
    assertMatch(known?.stderr ?? "", /100 Continue/);
    assertEquals(
      (await curl("--data-binary", "@-", "-H", "Expect:", url))?.stdout,
      String(3 << 20),
    );
    const refused = await curl(
      "-v",
      "--data-binary",
      "@-",
      "-H",
      "Expect: 100-continue",
      url + "refused",
    );
    assertEquals(refused?.stdout, `too large: ${3 << 20}`);
    assert(!(refused?.stderr ?? "").includes("100 Continue"));
    assertEquals((await curl("--data-binary", "@-", "-H", "Expect:", url + "refused"))?.code, 0);
    assertMatch(
      (await curl("-I", url))?.stdout ?? "",
      /^HTTP\/1\.1 200 OK[^]*content-length: 1\r\n/,
    );
    assertEquals((await curl("-0", url))?.stdout, "0");
    // Both requests on one connection.
    const twice = await curl("-v", url, url);
    assertEquals(twice?.stdout, "00");
    assertMatch(twice?.stderr ?? "", /Re-using existing connection/);
  });
});

const PYTHON = `
import http.client, sys
c = http.client.HTTPConnection("127.0.0.1", int(sys.argv[1]), timeout=20)
def ask(method, path, body=None, **kw):
    c.request(method, path, body, **kw)
    r = c.getresponse()
    print(method, r.status, r.read().decode())
ask("GET", "/")
ask("HEAD", "/")
ask("PUT", "/", b"x" * 100000)
ask("PUT", "/", iter([b"abc", b"de"]), encode_chunked=True, headers={"Transfer-Encoding": "chunked"})
ask("DELETE", "/")
# Sends all of it before it looks at the answer.
ask("PUT", "/refused", b"x" * 5000000)
ask("GET", "/")
`;

Deno.test("python http.client: keep-alive, HEAD, chunked, refusal of a large body", async () => {
  await withServer(size, {}, async ({ port }) => {
    const result = await run("python3", ["-c", PYTHON, String(port)]);
    if (result === undefined) return;
    assertEquals(result.stderr, "");
    assertEquals(result.stdout.split("\n"), [
      "GET 200 0",
      "HEAD 200 ",
      "PUT 200 100000",
      "PUT 200 5",
      "DELETE 200 0",
      "PUT 413 too large: 5000000",
      "GET 200 0",
      "",
    ]);
  });
});

Deno.test("wrk: thousands of requests on many connections, none wrong", async () => {
  let served = 0;
  const handler: HttpHandler = () => {
    served++;
    return text("aaaa");
  };
  await withServer(handler, RELAXED, async ({ port }) => {
    const url = `http://127.0.0.1:${port}/load/a`;
    const result = await run("wrk", ["-t1", "-c64", "-d1", url]);
    if (result === undefined) return;
    assertEquals(result.code, 0);
    assert(!/Non-2xx|Socket errors/.test(result.stdout), result.stdout);
    assert(served > 100);
  });
});
