import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { kvs, Running, Server, TempDir, until } from "./program.ts";

const TEXT = "text/plain; charset=utf-8";

Deno.test("the book routes answer byte for byte as the contract says", async () => {
  await using dir = new TempDir();
  await using server = await Server.start(dir.path);
  const table: [string, number, string][] = [
    ["/allKeys", 200, ""],
    ["/load/a", 200, "_key_not_found_"],
    ["/save/a/hello", 200, "hello"],
    ["/save/a/hello%20w%C3%B6rld%0A", 200, "hello wörld\n"],
    ["/load/a", 200, "hello wörld\n"],
    ["/save/%2F%2C%25/x%2Fy", 200, "x/y"],
    ["/save/empty/", 200, ""],
    ["/load/empty", 200, ""],
    ["/save/B/1", 200, "1"],
    ["/save/%F0%9F%98%80/1", 200, "1"],
    ["/save/%EF%BD%81/1", 200, "1"],
    ["/allKeys", 200, "%2F%2C%25,B,a,empty,%EF%BD%81,%F0%9F%98%80"],
    ["/load/%2F%2C%25", 200, "x/y"],
    ["/load/a?x=1", 200, "hello wörld\n"],
  ];
  for (const [path, status, body] of table) {
    const answer = await server.ask(path);
    assertEquals([path, answer.status, answer.body], [path, status, body]);
    assertEquals(answer.headers.get("content-type"), TEXT);
  }
});

Deno.test("the book routes refuse what is no such request, in one line", async () => {
  await using dir = new TempDir();
  await using server = await Server.start(dir.path);
  const table: [string, string, number][] = [
    ["GET", "/load", 404],
    ["GET", "/load/a/b", 404],
    ["GET", "/save/a", 404],
    ["GET", "/save/a/b/c", 404],
    ["GET", "/allKeys/", 404],
    ["GET", "/nothing", 404],
    ["GET", "/load/", 400],
    ["GET", "/save//x", 400],
    ["GET", "/load/%zz", 400],
    ["GET", "/save/a/%ff", 400],
    ["GET", "/save/_shutting_down_/x", 400],
    ["GET", `/load/${"a".repeat(256)}`, 400],
    ["POST", "/save/a/b", 405],
    ["DELETE", "/load/a", 405],
    ["PUT", "/allKeys", 405],
  ];
  for (const [method, path, status] of table) {
    const answer = await server.ask(path, { method });
    assertEquals([method, path, answer.status], [method, path, status]);
    assertMatch(answer.body, /^[^\n]+\n?$/);
    assertEquals(answer.headers.get("allow"), status === 405 ? "GET" : null);
  }
  assertEquals((await server.ask("/allKeys")).body, "");
  assertStringIncludes((await server.ask(`/load/${"a".repeat(256)}`)).body, "256 bytes");
});

Deno.test("a target that is too long is refused in the form of its route", async () => {
  await using dir = new TempDir();
  await using server = await Server.start(dir.path);
  const detail = "Target too long: at most 65536 bytes";
  const bodyFor = async (path: string) => {
    // No client library sends such a target.
    const [hostname = "", port] = server.address.split(":");
    using conn = await Deno.connect({ hostname, port: Number(port) });
    const request = new TextEncoder().encode(`GET ${path}${"x".repeat(70_000)}`);
    for (let at = 0; at < request.length;) at += await conn.write(request.subarray(at));
    const answer = await new Response(conn.readable).text();
    assertMatch(answer, /^HTTP\/1\.1 414 /);
    return answer.slice(answer.indexOf("\r\n\r\n") + 4);
  };
  assertEquals(await bodyFor("/load/"), detail);
  assertEquals(JSON.parse(await bodyFor("/v1/keys/")), { error: "uri_too_long", detail });
});

Deno.test("GET / lists the routes", async () => {
  await using dir = new TempDir();
  await using server = await Server.start(dir.path);
  const { status, body } = await server.ask("/");
  assertEquals(status, 200);
  for (const route of ["/save/KEY/WORD", "/load/KEY", "/allKeys", "/healthz", "/readyz"]) {
    assertStringIncludes(body, route);
  }
  const help = (await kvs(["server", "--help"])).stdout;
  for (const text of [body, help]) assertMatch(text, /\? .*%3F/);
});

Deno.test("keys are plain files: what is saved can be read, what was there is served", async () => {
  await using dir = new TempDir();
  await Deno.writeTextFile(dir.join("old"), "from before");
  await Deno.writeTextFile(dir.join("100%"), "odd name");
  await Deno.mkdir(dir.join("lost+found"));
  await Deno.symlink("/etc/hostname", dir.join("link"));
  {
    await using server = await Server.start(dir.path);
    assertEquals((await server.ask("/load/old")).body, "from before");
    assertEquals((await server.ask("/load/100%25")).body, "odd name");
    assertEquals((await server.ask("/allKeys")).body, "100%25,old");
    assertEquals((await server.ask("/load/link")).body, "_key_not_found_");
    assertEquals((await server.ask("/save/lost+found/x")).status, 400);
    await server.ask("/save/new%2Fkey/value");
    await server.ask("/save/100%25/new");
    server.kill("SIGINT");
    assertEquals(await server.exit(), 0);
  }
  assertEquals(await Deno.readTextFile(dir.join("new%2Fkey")), "value");
  assertEquals(await Deno.readTextFile(dir.join("100%25")), "new");
  const names = Array.from(Deno.readDirSync(dir.path), (entry) => entry.name).sort();
  assertEquals(names, [".kvs", "100%25", "link", "lost+found", "new%2Fkey", "old"]);
});

Deno.test("acknowledged saves survive SIGKILL and a restart", async () => {
  await using dir = new TempDir();
  for (let life = 0; life < 3; life++) {
    await using server = await Server.start(dir.path);
    for (let i = 0; i < life; i++) {
      assertEquals((await server.ask(`/load/key-${i}`)).body, `value-${i}`);
    }
    await server.ask(`/save/key-${life}/value-${life}`);
    server.kill("SIGKILL");
    await server.exit();
  }
});

Deno.test("a missing folder is made, one that cannot be used is one line and exit 1", async () => {
  await using dir = new TempDir();
  await using server = await Server.start(dir.join("x", "y"));
  assertEquals((await server.ask("/save/a/b")).body, "b");

  await Deno.writeTextFile(dir.join("file"), "");
  for (const path of [dir.join("file"), dir.join("file", "sub"), "/proc/kvs"]) {
    const { code, stdout, stderr } = await kvs(["server", "0", path]);
    assertEquals([code, stdout], [1, ""]);
    assertMatch(stderr, /^Cannot use data directory [^\n]+\n$/);
  }
});

Deno.test("a second server on one folder refuses to start and says who holds it", async () => {
  await using dir = new TempDir();
  await using server = await Server.start(dir.path);
  const { code, stderr } = await kvs(["server", "0", dir.path]);
  assertEquals(code, 1);
  assertMatch(stderr, /^Cannot use data directory [^\n]+ held by [^\n]+\n$/);
  assertStringIncludes(stderr, `pid ${server.pid}`);
  assertStringIncludes(stderr, server.address);
  assertEquals((await server.ask("/healthz")).status, 200);
});

Deno.test("a port that is taken is one line and exit 1", async () => {
  await using one = new TempDir();
  await using two = new TempDir();
  await using server = await Server.start(one.path);
  const args = ["server", String(server.port), two.path, "--host", "127.0.0.1"];
  const { code, stderr } = await kvs(args);
  assertEquals(code, 1);
  assertEquals(stderr, `Cannot listen on 127.0.0.1:${server.port}: the port is taken\n`);
});

Deno.test("PORT 0 prints the address on stdout; one line on stderr says the rest", async () => {
  await using dir = new TempDir();
  await Deno.writeTextFile(dir.join("a"), "1");
  await using server = await Server.start(dir.path);
  assertEquals(await until("the address is printed", () => server.stdout[0]), server.address);
  assertEquals(server.stderr.length, 1);
  assertMatch(
    server.stderr[0] ?? "",
    /^\S+Z info listening address=127\.0\.0\.1:\d+ data=\S+ keys=1$/,
  );
});

Deno.test("--log-format json makes every log line a JSON object", async () => {
  await using dir = new TempDir();
  await using server = await Server.start(dir.path, ["--log-format", "json", "--drain", "0"]);
  server.kill("SIGTERM");
  assertEquals(await server.exit(), 0);
  const messages = server.stderr.map((line) => JSON.parse(line).message);
  assertEquals(messages, ["listening", "stopping", "stopped"]);
});

Deno.test("a plain touch of the marker stops serving at once, a plain rm resumes", async () => {
  await using dir = new TempDir();
  await using server = await Server.start(dir.path);
  await server.ask("/save/a/1");
  for (let round = 0; round < 3; round++) {
    await Deno.writeTextFile(dir.join("_shutting_down_"), "");
    for (const path of ["/load/a", "/save/a/2", "/allKeys", "/v1/keys", "/v1/keys/a"]) {
      const { status, body, headers } = await server.ask(path);
      assertEquals([status, body], [503, "_shutting_down_"]);
      assertEquals(headers.get("retry-after"), "1");
    }
    assertEquals((await server.ask("/healthz")).status, 200);
    const readiness = await server.ask("/readyz");
    assertEquals(readiness.status, 503);
    assertStringIncludes(readiness.body, "_shutting_down_");
    await Deno.remove(dir.join("_shutting_down_"));
    assertEquals((await server.ask("/load/a")).body, "1");
    assertEquals((await server.ask("/readyz")).status, 200);
    assertEquals((await server.ask("/allKeys")).body, "a");
  }
});

Deno.test("the hooks make and remove the marker, and are idempotent", async () => {
  await using dir = new TempDir();
  const hook = async (name: string) => {
    const { code, stdout, stderr } = await kvs(["lifecycle", name, dir.path]);
    assertEquals([code, stderr], [0, ""]);
    assertMatch(stdout, /^[^\n]+\n$/);
    return stdout;
  };
  assertStringIncludes(await hook("prestop"), "no server is running");
  await using server = await Server.start(dir.path);
  assertEquals((await server.ask("/load/a")).status, 503);
  assertStringIncludes(await hook("poststart"), "removed");
  assertStringIncludes(await hook("poststart"), "no ");
  assertEquals((await server.ask("/load/a")).status, 200);
  assertStringIncludes(await hook("prestop"), "answers 503");
  assertStringIncludes(await hook("prestop"), "already");
  assertEquals((await server.ask("/load/a")).status, 503);
  server.kill("SIGKILL");
  await server.exit();
  assertStringIncludes(await hook("prestop"), "no server is running");

  const missing = await kvs(["lifecycle", "prestop", dir.join("missing")]);
  assertEquals([missing.code, missing.stdout], [1, ""]);
  assertMatch(missing.stderr, /^Cannot make marker [^\n]+\n$/);
});

Deno.test("SIGTERM answers 503 for the drain period, then exits 0", async () => {
  await using dir = new TempDir();
  await using server = await Server.start(dir.path, ["--drain", "1"]);
  await server.ask("/save/a/1");
  server.kill("SIGTERM");
  const first = await until("the drain begins", async () => {
    const answer = await server.ask("/load/a");
    return answer.status === 503 ? answer : undefined;
  });
  assertEquals(first.body, "_shutting_down_");
  assertEquals((await server.ask("/healthz")).status, 200);
  assertEquals((await server.ask("/readyz")).status, 503);
  assertEquals(await server.exit(), 0);
  assertEquals(await Deno.readTextFile(dir.join("a")), "1");
});

Deno.test("SIGINT exits 0 without the drain period, a second signal ends at once", async () => {
  await using dir = new TempDir();
  {
    await using server = await Server.start(dir.path, ["--drain", "600"]);
    server.kill("SIGINT");
    assertEquals(await server.exit(), 0);
  }
  await using server = await Server.start(dir.path, ["--drain", "600"]);
  server.kill("SIGTERM");
  await server.line(/stopping/);
  server.kill("SIGTERM");
  assertEquals(await server.exit(), 143);
});

Deno.test("a save in flight when SIGTERM comes is finished and acknowledged", async () => {
  await using dir = new TempDir();
  await using server = await Server.start(dir.path, ["--drain", "1"]);
  const body = new TransformStream<Uint8Array, Uint8Array>();
  const answer = server.ask("/v1/keys/slow", { method: "PUT", body: body.readable });
  const writer = body.writable.getWriter();
  await writer.write(new TextEncoder().encode("first half, "));
  await until("the request is in flight", async () => {
    return (await server.ask("/readyz")).status === 200 ? true : undefined;
  });
  server.kill("SIGTERM");
  await server.line(/stopping/);
  await writer.write(new TextEncoder().encode("second half"));
  await writer.close();
  assertEquals((await answer).status, 201);
  assertEquals(await server.exit(), 0);
  assertEquals(await Deno.readTextFile(dir.join("slow")), "first half, second half");
});

Deno.test("bad arguments are one line and the usage line on stderr, exit 1", async () => {
  for (
    const args of [
      ["server"],
      ["server", "80"],
      ["server", "http", "data"],
      ["server", "70000", "data"],
      ["server", "80", "data", "more"],
      ["server", "80", "data", "--nope"],
      ["lifecycle"],
      ["lifecycle", "restart"],
      ["client"],
      ["client", "a,,b"],
      ["client", "a", "writeonly"],
      ["client", "a,a"],
      ["client", "a:99999"],
      ["rebalance"],
      ["rebalance", "a"],
      ["rebalance", "a,b", "a,b"],
      ["rebalance", "", "a"],
      ["cluster", "--replicas", "0"],
      ["cluster", "extra"],
      ["unknown"],
      [],
    ]
  ) {
    const { code, stdout, stderr } = await kvs(args);
    assertEquals([args, code, stdout], [args, 1, ""]);
    assertMatch(stderr, /^[^\n]+\nUsage: kvs [^\n]+\n$/);
  }
});

Deno.test("--help and --version answer on stdout, exit 0", async () => {
  for (const command of ["server", "client", "rebalance", "lifecycle", "cluster"]) {
    const help = await kvs([command, "--help"]);
    assertEquals([help.code, help.stderr], [0, ""]);
    assertStringIncludes(help.stdout, `Usage: kvs ${command} `);
    const version = await kvs([command, "--version"]);
    assertEquals([version.code, version.stderr], [0, ""]);
    assertMatch(version.stdout, /^kvs \d+\.\d+\.\d+\n$/);
  }
  assertStringIncludes((await kvs(["--help"])).stdout, "Usage: kvs ");
  assertMatch((await kvs(["--version"])).stdout, /^kvs \d/);
});

Deno.test("a variable gives an option, the command line wins", async () => {
  await using dir = new TempDir();
  const start = (args: string[]) =>
    new Running(["server", "0", dir.path, "--host", "127.0.0.1", ...args], {
      env: { KVS_LOG_FORMAT: "json" },
    });
  {
    await using server = start([]);
    await server.line(/"message":"listening"/);
  }
  await using server = start(["--log-format", "text"]);
  await server.line(/ info listening /);
});

Deno.test("no key reaches outside of the data directory", async () => {
  await using dir = new TempDir();
  await using server = await Server.start(dir.join("data"));
  for (const key of ["..%2Fescape", "%2E%2E%2Fescape", "%2Fetc%2Fkvs-escape", ".kvs%2Flock"]) {
    assertEquals((await server.ask(`/save/${key}/x`)).status, 200);
    assertEquals((await server.ask(`/load/${key}`)).body, "x");
  }
  assertEquals(Array.from(Deno.readDirSync(dir.path), (entry) => entry.name), ["data"]);
  assert((await server.ask("/allKeys")).body.includes("..%2Fescape"));
});

/** Sends a GET with this Host, which no client library lets its caller choose; resolves to the status. */
async function statusFor(port: number, path: string, host: string): Promise<number> {
  using conn = await Deno.connect({ hostname: "127.0.0.1", port });
  const head = `GET ${path} HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`;
  await conn.write(new TextEncoder().encode(head));
  const answer = await new Response(conn.readable).text();
  return Number(/^HTTP\/1\.1 (\d{3}) /.exec(answer)?.[1]);
}

Deno.test("on loopback no name of another site leads to the data, and no page of one", async () => {
  await using dir = new TempDir();
  await using server = await Server.start(dir.join("a"), ["--allow-host", "One.example, two"]);
  const table: [string, number][] = [
    [server.address, 200],
    ["localhost", 200],
    ["one.example:80", 200],
    ["two", 200],
    ["evil.example", 403],
  ];
  for (const [host, status] of table) {
    assertEquals([host, await statusFor(server.port, "/save/a/1", host)], [host, status]);
  }
  const page = { "content-type": "text/plain", origin: "http://evil.example" };
  const body = '{"op":"delete","key":"a"}';
  const refused = await server.ask("/v1/batch", { method: "POST", headers: page, body });
  assertEquals([refused.status, JSON.parse(refused.body).error], [403, "forbidden"]);
  assertEquals((await server.ask("/load/a")).body, "1");
});

Deno.test("on loopback in the form of IPv6 for IPv4, too, no name of another site leads to the data", async () => {
  await using dir = new TempDir();
  await using server = new Running(["server", "0", dir.join("a"), "--host", "::ffff:127.0.0.1"]);
  const [, port] = await server.line(/listening.*address=\S+:([0-9]+)/);
  assertEquals(await statusFor(Number(port), "/allKeys", "localhost"), 200);
  assertEquals(await statusFor(Number(port), "/allKeys", "evil.example"), 403);
});

Deno.test("on all addresses any name leads to the data, unless names are given", async () => {
  await using dir = new TempDir();
  for (
    const [name, env, status] of [
      ["a", {}, 200],
      ["b", { KVS_ALLOW_HOST: "server-0.server" }, 403],
    ] as const
  ) {
    await using server = new Running(["server", "0", dir.join(name)], { env });
    const [, port] = await server.line(/listening.*address=[0-9.]+:([0-9]+)/);
    assertEquals(await statusFor(Number(port), "/allKeys", "server-0.server"), 200);
    assertEquals(await statusFor(Number(port), "/allKeys", "other.example"), status);
  }
  const { code, stderr } = await kvs(["server", "0", dir.join("c"), "--allow-host", "a:80"]);
  assertEquals(code, 1);
  assertStringIncludes(stderr, 'Invalid --allow-host: expected host names, received "a:80"');
});

Deno.test("a batch runs over the wire, whether it is short, long or of unknown length", async () => {
  await using dir = new TempDir();
  await using server = await Server.start(dir.path);
  const keys = Array.from({ length: 3000 }, (_, i) => `key-${i}`);
  const lines = keys.map((key) => JSON.stringify({ op: "put", key, value: key.repeat(5) }) + "\n");
  const bodies: [string, BodyInit, number][] = [
    ["short", '{"op":"put","key":"a","value":"1"}\n{"op":"get","key":"a"}', 2],
    ["long", lines.join(""), 3000],
    ["chunked", ReadableStream.from(lines).pipeThrough(new TextEncoderStream()), 3000],
    ["empty", "", 0],
  ];
  for (const [what, body, count] of bodies) {
    const answer = await server.ask("/v1/batch", { method: "POST", body });
    const statuses = answer.body.split("\n").filter((line) => line !== "")
      .map((line) => JSON.parse(line).status);
    assertEquals([what, answer.status, statuses.length], [what, 200, count]);
    assert(statuses.every((status) => status === 200 || status === 201 || status === 204));
  }
  assertEquals((await server.ask("/load/key-2999")).body, "key-2999".repeat(5));
});

Deno.test("an upload that stalls holds up no other write to its key", async () => {
  await using dir = new TempDir();
  await using server = await Server.start(dir.path);
  const slow = await Deno.connect({ hostname: "127.0.0.1", port: server.port });
  try {
    const head = "PUT /v1/keys/k HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\n";
    await slow.write(new TextEncoder().encode(head + "x".repeat(70_000)));
    for (const word of ["1", "2"]) {
      assertEquals((await server.ask(`/save/k/${word}`)).body, word);
      assertEquals((await server.ask("/load/k")).body, word);
    }
  } finally {
    slow.close();
  }
});

Deno.test("a proxy in the environment is not between the roles", async () => {
  await using dir = new TempDir();
  await using server = await Server.start(dir.path);
  // Port 9 on loopback: nobody listens there.
  const env = { http_proxy: "http://127.0.0.1:9", HTTP_PROXY: "http://127.0.0.1:9" };
  const client = await kvs(["client", server.address, "--rows", "1"], { env });
  assertStringIncludes(client.stdout, "w".repeat(26));
  const hook = await kvs(["lifecycle", "prestop", dir.path], { env });
  assertStringIncludes(hook.stdout, "answers 503");
});

Deno.test("prestop is not misled by what another program does on the port of a killed server", async () => {
  await using dir = new TempDir();
  await using server = await Server.start(dir.path);
  server.kill("SIGKILL");
  await server.exit();
  const options = { port: server.port, hostname: "127.0.0.1", onListen() {} };
  await using _other = Deno.serve(options, () => new Response("ok"));
  const { code, stdout } = await kvs(["lifecycle", "prestop", dir.path]);
  assertEquals(code, 0);
  assertStringIncludes(stdout, "no server is running");
});
