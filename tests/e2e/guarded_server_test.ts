import { exists } from "@std/fs/exists";
import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { Access } from "../../core/access.ts";
import { Authority, type KeyPair } from "../certificates.ts";
import { kvs, Running, Server, TempDir, until } from "./program.ts";

const DATA_ROUTES: readonly (readonly [string, string, string?])[] = [
  ["GET", "/load/a"],
  ["GET", "/save/a/1"],
  ["GET", "/allKeys"],
  ["GET", "/v1/keys/a"],
  ["HEAD", "/v1/keys/a"],
  ["PUT", "/v1/keys/a", "value"],
  ["DELETE", "/v1/keys/a"],
  ["GET", "/v1/keys"],
  ["GET", "/v1/keys?prefix=a&limit=1"],
  ["POST", "/v1/batch", '{"op":"put","key":"a","value":"1"}\n'],
  ["GET", "/v1/stats"],
];

function bearer(token: string): Record<string, string> {
  return { authorization: `Bearer ${token}` };
}

Deno.test("a server with a token answers data routes only to who shows it", async () => {
  await using dir = new TempDir();
  const file = dir.join("token");
  await Deno.writeTextFile(file, "right-token\nolder-token\n");
  await using server = await Server.start(dir.join("data"), ["--token-file", file]);
  const wrong: readonly Record<string, string>[] = [
    {},
    { authorization: "right-token" },
    { authorization: "Basic right-token" },
    { authorization: "Bearer" },
    bearer(""),
    bearer("right-toke"),
    bearer("right-token2"),
    bearer("Right-token"),
    bearer("right-token, Bearer right-token"),
  ];
  for (const [method, path, body = null] of DATA_ROUTES) {
    for (const headers of wrong) {
      const answer = await server.ask(path, { method, body, headers });
      assertEquals([method, path, headers, answer.status], [method, path, headers, 401]);
      assertEquals(answer.headers.get("www-authenticate"), 'Bearer realm="kvs"');
      if (method === "HEAD") continue;
      assertMatch(answer.body, /^[^\n]*Unauthorized: [^\n]+\n?$/);
      assertEquals(answer.body.startsWith("{"), path.startsWith("/v1/"));
    }
  }
  const ask = async (path: string, token: string) =>
    await server.ask(path, { headers: bearer(token) });
  assertEquals((await ask("/allKeys", "right-token")).body, "");
  for (const token of ["right-token", "older-token"]) {
    for (const [method, path, body = null] of DATA_ROUTES) {
      const { status } = await server.ask(path, { method, body, headers: bearer(token) });
      assert(status < 300 || status === 404, `${method} ${path} ${status}`);
    }
  }
  assertEquals(
    (await server.ask("/load/a", { headers: { authorization: "bEARER right-token" } })).status,
    200,
  );
  for (const path of ["/", "/healthz", "/readyz"]) {
    assertEquals((await server.ask(path)).status, 200);
  }
});

Deno.test("a request without the token is refused before its body is asked for", async () => {
  await using dir = new TempDir();
  await Deno.writeTextFile(dir.join("token"), "secret");
  await using server = await Server.start(dir.join("data"), ["--token-file", dir.join("token")]);
  using conn = await Deno.connect({ hostname: "127.0.0.1", port: server.port });
  const head = "PUT /v1/keys/a HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n" +
    "Expect: 100-continue\r\n\r\n";
  await conn.write(new TextEncoder().encode(head));
  // To the end of the connection, without having sent the body.
  const answer = await new Response(conn.readable).text();
  assertMatch(answer, /^HTTP\/1\.1 401 /);
});

Deno.test("tokens are read again when their file changes, as a Secret does", async () => {
  await using dir = new TempDir();
  const secret = new Secret(dir.join("secret"), "token");
  await secret.publish("first\n");
  await using server = await Server.start(dir.join("data"), ["--token-file", secret.join("token")]);
  const client = Deno.createHttpClient({ poolMaxIdlePerHost: 1 });
  try {
    const statusOf = async (token: string) => {
      const response = await fetch(`http://${server.address}/load/a`, {
        headers: bearer(token),
        client,
      });
      await response.body?.cancel();
      return response.status;
    };
    assertEquals([await statusOf("first"), await statusOf("second")], [200, 401]);
    await secret.publish("second\nfirst\n");
    await until("the second token is accepted", async () => {
      return await statusOf("second") === 200 ? true : undefined;
    });
    assertEquals(await statusOf("first"), 200);
    await secret.publish("second");
    await until("the first token is refused", async () => {
      return await statusOf("first") === 401 ? true : undefined;
    });
    await secret.publish("no token\n");
    await server.line(/error tokens changed, but the old ones go on to count.*Invalid token/);
    assertEquals(await statusOf("second"), 200);
    assert(![...server.stderr, ...server.stdout].some((line) => /second|no token/.test(line)));
  } finally {
    client.close();
  }
});

Deno.test("a server does not start with a token or a certificate that is none", async () => {
  await using dir = new TempDir();
  const authority = await Authority.create();
  const { cert, key } = await authority.sign();
  const { key: other } = await authority.sign();
  const path = async (name: string, text: string) => {
    await Deno.writeTextFile(dir.join(name), text);
    return dir.join(name);
  };
  const empty = await path("empty", "\n");
  const certFile = await path("cert", cert);
  const keyFile = await path("key", key);
  const otherFile = await path("other", other);
  const table: readonly (readonly [string[], RegExp])[] = [
    [["--token-file", empty], /Cannot guard the server: Invalid token/],
    [["--token-file", dir.join("none")], /Cannot guard the server: .*none/],
    [["--token", "secret"], /Not an option: --token .*KVS_TOKEN/],
    [["--tls-cert", certFile], /Missing option: --tls-key/],
    [["--tls-key", keyFile], /Missing option: --tls-cert/],
    [["--tls-cert", certFile, "--tls-key", otherFile], /Cannot use --tls-cert .*KeyMismatch/],
    [["--tls-cert", empty, "--tls-key", keyFile], /Cannot use --tls-cert/],
    [["--tls-cert", dir.join("none"), "--tls-key", keyFile], /Cannot use --tls-cert/],
  ];
  for (const [args, message] of table) {
    const { code, stderr } = await kvs(["server", "0", dir.join("data"), ...args]);
    assertEquals(code, 1);
    assertMatch(stderr, message);
    assertMatch(
      stderr.split("\n").filter((line) => !line.startsWith("Usage")).join("\n"),
      /^.*\n$/,
    );
    assert(!stderr.includes("secret"));
    // The rows with a token come first: such a server does not begin to make its folder.
    if (args[0] === "--token-file") assertEquals(await exists(dir.join("data")), false);
  }
});

Deno.test("a start line says what everyone on the network can do, and none on loopback", async () => {
  await using dir = new TempDir();
  const open = /warn open: anyone who can reach this port can read and write/;
  const clear = /warn not encrypted: anyone on the way can read the token/;
  const { cert, key } = await (await Authority.create()).sign();
  await Deno.writeTextFile(dir.join("tls.crt"), cert);
  await Deno.writeTextFile(dir.join("tls.key"), key);
  const tls = ["--tls-cert", dir.join("tls.crt"), "--tls-key", dir.join("tls.key")];
  const token = { KVS_TOKEN: "secret" };
  const table: readonly (readonly [string[], Record<string, string>, RegExp | undefined])[] = [
    [[], {}, open],
    [tls, {}, open],
    [[], token, clear],
    [tls, token, undefined],
    [["--host", "127.0.0.1"], {}, undefined],
  ];
  for (const [args, env, line] of table) {
    await using server = new Running(["server", "0", dir.join("data"), ...args], { env });
    await server.line(/listening/);
    if (line !== undefined) await server.line(line);
    server.kill("SIGINT");
    assertEquals(await server.exit(), 0);
    const warnings = server.stderr.filter((text) => text.includes(" warn "));
    assertEquals(warnings.length, line === undefined ? 0 : 1);
    assert(!server.stderr.some((text) => text.includes("secret")));
  }
});

Deno.test("client and rebalance work with token and TLS, and say what is wrong without", async () => {
  await using dir = new TempDir();
  const authority = await Authority.create();
  const stranger = await Authority.create();
  const file = async (name: string, text: string) => {
    await Deno.writeTextFile(dir.join(name), text);
    return dir.join(name);
  };
  const { cert, key } = await authority.sign();
  const token = await file("token", "newest\nolder\n");
  const tls = ["--tls-cert", await file("tls.crt", cert), "--tls-key", await file("tls.key", key)];
  const args = [...tls, "--token-file", token];
  await using one = await Server.start(dir.join("1"), args);
  await using two = await Server.start(dir.join("2"), args);
  const list = `${one.address},localhost:${two.port}`;
  const ca = ["--ca", await file("ca.crt", authority.cert)];
  const wrongCa = ["--ca", await file("wrong.crt", stranger.cert)];
  const row = async (args: string[], env: Record<string, string> = {}) => {
    const { code, stdout, stderr } = await kvs(["client", "--rows", "1", ...args], { env });
    assertEquals([code, stderr], [0, ""]);
    return stdout.trimEnd().split("\n").at(-1)?.split(" ")[2];
  };
  const all = (letter: string) => letter.repeat(26);
  assertEquals(await row([list, ...ca, "--token-file", token]), all("w"));
  assertEquals(await row([list, ...ca], { KVS_TOKEN: "older" }), all("h"));
  const https = list.replaceAll(/[^,]+/g, "https://$&");
  assertEquals(await row([https, ...ca], { KVS_TOKEN_FILE: token }), all("h"));
  assertEquals(await row([list, ...ca]), all("4"));
  assertEquals(await row([list, ...wrongCa, "--token-file", token]), all("."));
  assertEquals(await row([https, "--token-file", token]), all("."));

  // A key that goes by a batch, see core/client/dot_keys.ts.
  const access = new Access({ token: "older", caCerts: [authority.cert] });
  const fetched = async (server: Server, path: string, init: RequestInit = {}) => {
    const { client } = access;
    if (client === undefined) throw new Error("no client");
    const headers = new Headers(access.authorize(init.headers));
    return await fetch(`https://${server.address}${path}`, { ...init, headers, client });
  };
  try {
    const operation = JSON.stringify({ op: "put", key: "..", value: "dots" });
    for (const server of [one, two]) {
      const answer = await fetched(server, "/v1/batch", { method: "POST", body: operation + "\n" });
      assertEquals(answer.status, 200);
      await answer.body?.cancel();
    }
    const moving = ["rebalance", list, one.address, "--output", "json"];
    for (
      const [more, message] of [
        [[...ca], `${one.address} answered 401: Unauthorized: this server wants a token`],
        [[...wrongCa, "--token-file", token], "its certificate is signed by nobody who is trusted"],
      ] as const
    ) {
      const { code, stderr } = await kvs([...moving, ...more]);
      assertEquals(code, 1);
      assertStringIncludes(stderr, message);
      assertMatch(stderr, /; nothing was changed\n$/);
    }
    const lines = [...moving.slice(0, 3), "--output", "lines"];
    const moved = await kvs([...lines, ...ca, "--token-file", token]);
    assertEquals(moved.code, 0, moved.stderr);
    assertStringIncludes(moved.stdout, `\nhttps://${one.address}/save/a/`);
    const keys = await (await fetched(one, "/allKeys")).text();
    assertEquals(keys, [".%2E", ..."abcdefghijklmnopqrstuvwxyz"].join(",").replace(".%2E", ".."));
  } finally {
    access.close();
  }
});

Deno.test("a cluster guards its servers with the token that it was given", async () => {
  await using dir = new TempDir();
  await using cluster = new Running(
    ["cluster", "--port", "0", "--replicas", "2", "--data", dir.path, "--client", "--drain", "0"],
    { env: { KVS_TOKEN: "secret" } },
  );
  await cluster.line(/ hhhhhhhhhhhhhhhhhhhhhhhhhh /);
  const [, list = ""] = await cluster.line(/^servers: (.*)$/);
  const { stdout } = await kvs(["client", list, "readonly", "--rows", "1"]);
  assertStringIncludes(stdout, " 44444444444444444444444444 ");
  await cluster.type("list");
  await cluster.line(/^server-1 .* Ready .* 13$/);
  cluster.kill("SIGINT");
  assertEquals(await cluster.exit(), 0);
});

Deno.test("a certificate is read again when it changes, and open connections go on", async () => {
  await using dir = new TempDir();
  const first = await Authority.create();
  const second = await Authority.create();
  const secret = new Secret(dir.join("secret"), "tls.crt", "tls.key");
  const publish = ({ cert, key }: KeyPair) => secret.publish(cert, key);
  await publish(await first.sign());
  const tls = ["--tls-cert", secret.join("tls.crt"), "--tls-key", secret.join("tls.key")];
  await using server = await Server.start(dir.join("data"), tls);
  const connect = (authority: Authority) => {
    return TlsClient.connect(server.port, authority.cert);
  };
  using early = await connect(first);
  assertMatch(await early.ask("/save/a/1"), /^HTTP\/1\.1 200 .*\r\n\r\n1$/s);

  const { cert } = await second.sign();
  const { key } = await second.sign();
  await publish({ cert, key });
  await server.line(/error certificate and key changed, but the old ones go on to count/);
  using still = await connect(first);
  assertMatch(await still.ask("/load/a"), /\r\n\r\n1$/);

  await publish(await second.sign());
  await server.line(/info certificate and key changed: the new ones count/);
  using late = await connect(second);
  assertMatch(await late.ask("/load/a"), /\r\n\r\n1$/);
  assertMatch(await early.ask("/load/a"), /\r\n\r\n1$/);
  assertMatch(await still.ask("/load/a"), /\r\n\r\n1$/);
  let refused = "";
  await connect(first).then(
    (client) => client[Symbol.dispose](),
    (error) => refused = error.message,
  );
  assertMatch(refused, /invalid peer certificate/);

  // The port is one server's all the same.
  const twin = await kvs([
    "server",
    String(server.port),
    dir.join("2"),
    "--host",
    "127.0.0.1",
    ...tls,
  ]);
  assertEquals(twin.code, 1);
  assertMatch(twin.stderr, /the port is taken\n$/);
});

Deno.test("a TLS client that is silent, or speaks no TLS, holds up nobody and is closed", async () => {
  await using dir = new TempDir();
  const authority = await Authority.create();
  const { cert, key } = await authority.sign();
  await Deno.writeTextFile(dir.join("tls.crt"), cert);
  await Deno.writeTextFile(dir.join("tls.key"), key);
  await using server = await Server.start(dir.join("data"), [
    ...["--tls-cert", dir.join("tls.crt"), "--tls-key", dir.join("tls.key")],
    ...["--header-timeout", "0.5", "--max-connections", "8"],
  ]);
  const silent = await Promise.all(
    Array.from({ length: 20 }, () => Deno.connect({ hostname: "127.0.0.1", port: server.port })),
  );
  try {
    await silent[0]?.write(new TextEncoder().encode("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"));
    using client = await TlsClient.connect(server.port, authority.cert);
    assertMatch(await client.ask("/healthz"), /^HTTP\/1\.1 200 /);
    for (const conn of silent) {
      // To its end, be that a reset.
      await new Response(conn.readable).text().catch(() => {});
    }
  } finally {
    for (const conn of silent) {
      try {
        conn.close();
      } catch {
        // Its stream closed it.
      }
    }
  }
  assertEquals(server.stderr.filter((line) => line.includes(" error ")), []);
});

Deno.test("prestop waits for the 503 of a TLS server whose certificate it cannot know", async () => {
  await using dir = new TempDir();
  const { cert, key } = await (await Authority.create()).sign(["server-0.server"]);
  await Deno.writeTextFile(dir.join("tls.crt"), cert);
  await Deno.writeTextFile(dir.join("tls.key"), key);
  const data = dir.join("data");
  await using server = await Server.start(data, [
    ...["--tls-cert", dir.join("tls.crt"), "--tls-key", dir.join("tls.key")],
  ]);
  const { code, stdout } = await kvs(["lifecycle", "prestop", data]);
  assertEquals(code, 0);
  assertStringIncludes(stdout, `${server.address} answers 503`);
  const holder: unknown = JSON.parse(await Deno.readTextFile(`${data}/.kvs/lock`));
  assert(typeof holder === "object" && holder !== null && "health" in holder);
  assertMatch(String(holder.health), /^127\.0\.0\.1:\d+$/);
  // There is nothing else to be had without TLS.
  for (
    const [path, status] of [["/healthz", 200], ["/readyz", 503], ["/load/a", 404], ["/", 404]]
  ) {
    const response = await fetch(`http://${holder.health}${path}`);
    await response.body?.cancel();
    assertEquals([path, response.status], [path, status]);
  }
});

/** Files as Kubernetes mounts a Secret: links into a folder that is itself a link, which is swapped. */
class Secret {
  readonly #path: string;
  readonly #names: readonly string[];
  #version = 0;

  constructor(path: string, ...names: string[]) {
    this.#path = path;
    this.#names = names;
  }

  join(name: string): string {
    return `${this.#path}/${name}`;
  }

  async publish(...texts: string[]): Promise<void> {
    const version = `..version-${++this.#version}`;
    await Deno.mkdir(this.join(version), { recursive: true });
    for (const [at, name] of this.#names.entries()) {
      await Deno.writeTextFile(this.join(`${version}/${name}`), texts[at] ?? "");
    }
    await Deno.symlink(version, this.join("..new"));
    await Deno.rename(this.join("..new"), this.join("..data"));
    if (this.#version > 1) return;
    for (const name of this.#names) await Deno.symlink(`..data/${name}`, this.join(name));
  }
}

/** A connection that stays: one request after the other. */
class TlsClient implements Disposable {
  readonly #conn: Deno.TlsConn;

  private constructor(conn: Deno.TlsConn) {
    this.#conn = conn;
  }

  static async connect(port: number, ca: string): Promise<TlsClient> {
    const conn = await Deno.connectTls({ hostname: "127.0.0.1", port, caCerts: [ca] });
    try {
      await conn.handshake();
      return new TlsClient(conn);
    } catch (error) {
      conn.close();
      throw error;
    }
  }

  /** The whole answer to a GET, which has to come in one piece. */
  async ask(path: string): Promise<string> {
    await this.#conn.write(
      new TextEncoder().encode(`GET ${path} HTTP/1.1\r\nHost: localhost\r\n\r\n`),
    );
    const buffer = new Uint8Array(65_536);
    const size = await this.#conn.read(buffer);
    return new TextDecoder().decode(buffer.subarray(0, size ?? 0));
  }

  [Symbol.dispose](): void {
    this.#conn.close();
  }
}
