import { assertEquals, assertMatch } from "@std/assert";
import { KVS, kvs, Running, Server, TempDir } from "./program.ts";

const DASHES = "                    --------------------------";
const ROW = /^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d ([a-z.0-9]{26}) \| hits = (\d+) \((\d+)%\)$/;

/** Runs a client for some rows and returns the letters of each. */
async function rows(list: string, count: number, ...args: string[]): Promise<string[]> {
  const options = ["--rows", String(count), "--interval", "0.05", ...args];
  const { code, stdout, stderr } = await kvs(["client", list, ...options]);
  assertEquals([code, stderr], [0, ""]);
  return stdout.trimEnd().split("\n").slice(4).map((line) => ROW.exec(line)?.[1] ?? line);
}

/** A server of another make: only what `answer` says, as `text/html`, like the book's. */
function foreign(answer: (path: string) => Response | Promise<Response>) {
  const server = Deno.serve(
    { port: 0, hostname: "127.0.0.1", onListen() {} },
    (request) => answer(new URL(request.url).pathname),
  );
  return {
    address: `127.0.0.1:${server.addr.port}`,
    [Symbol.asyncDispose]: () => server.shutdown(),
  };
}

Deno.test("the client writes what is missing, then hits, and shows a dead server as dots", async () => {
  await using one = new TempDir();
  await using two = new TempDir();
  await using first = await Server.start(one.path);
  await using second = await Server.start(two.path);
  // Port 1 on loopback: nobody listens there.
  const list = `${first.address},${second.address},127.0.0.1:1`;
  const { code, stdout } = await kvs(["client", list, "--rows", "2", "--interval", "0"]);
  assertEquals(code, 0);
  const lines = stdout.trimEnd().split("\n");
  assertEquals(lines.slice(0, 4), [
    "                    abcdefghijklmnopqrstuvwxyz",
    DASHES,
    "                    12012012012012012012012012",
    DASHES,
  ]);
  assertMatch(lines[4] ?? "", / (w\.w){8}w\. \| hits = 0 \(0%\)$/);
  assertMatch(lines[5] ?? "", / (h\.h){8}h\. \| hits = 17 \(65%\)$/);
});

Deno.test("a readonly client misses and never writes", async () => {
  await using dir = new TempDir();
  await using server = await Server.start(dir.path);
  assertEquals(await rows(server.address, 2, "readonly"), ["m".repeat(26), "m".repeat(26)]);
  assertEquals((await server.ask("/allKeys")).body, "");
});

Deno.test("x shows another value, 5 a server that is shutting down", async () => {
  await using dir = new TempDir();
  await using server = await Server.start(dir.path);
  await server.ask("/save/b/not-b");
  assertEquals(await rows(server.address, 1), ["wx" + "w".repeat(24)]);
  await Deno.writeTextFile(dir.join("_shutting_down_"), "");
  assertEquals(await rows(server.address, 1), ["5".repeat(26)]);
});

Deno.test("the client works against a server that knows only the book routes", async () => {
  const kept = new Map<string, string>();
  await using server = foreign((path) => {
    const [, verb, key = "", word = ""] = path.split("/");
    if (verb === "save" && key === "c") return new Response("no", { status: 507 });
    if (verb === "load" && key === "d") return new Response("no", { status: 404 });
    if (verb === "load" && key === "e") return new Response(null, { status: 302 });
    if (verb === "save") kept.set(key, word);
    return new Response(kept.get(key) ?? "_key_not_found_", {
      headers: { "content-type": "text/html" },
    });
  });
  assertEquals(await rows(server.address, 2), ["ww543".padEnd(26, "w"), "hh543".padEnd(26, "h")]);
});

Deno.test("a server that never answers costs one timeout and shows as dots", async () => {
  const stuck = Promise.withResolvers<Response>();
  await using server = foreign(() => stuck.promise);
  try {
    assertEquals(await rows(server.address, 1, "--timeout", "0.2"), [".".repeat(26)]);
  } finally {
    stuck.resolve(new Response());
  }
});

Deno.test("--json prints one object a row", async () => {
  await using dir = new TempDir();
  await using server = await Server.start(dir.path);
  const { stdout } = await kvs(["client", server.address, "--rows", "1", "--json"]);
  const row = JSON.parse(stdout);
  assertEquals([row.statuses, row.hits, row.letters], ["w".repeat(26), 0, 26]);
  assertEquals(new Date(row.time).toISOString(), row.time);
});

Deno.test("jump placement is shared by header and probes", async () => {
  await using one = new TempDir();
  await using two = new TempDir();
  await using first = await Server.start(one.path);
  await using second = await Server.start(two.path);
  const list = `${first.address},${second.address}`;
  const { stdout } = await kvs(["client", list, "--rows", "1", "--placement", "jump"]);
  const owners = stdout.split("\n")[2]?.trim() ?? "";
  const kept = (await second.ask("/allKeys")).body.split(",").join("");
  const expected = [..."abcdefghijklmnopqrstuvwxyz"].filter((_, i) => owners[i] === "1").join("");
  assertEquals(kept, expected);
});

Deno.test("the client ends quietly when the reader of its rows has gone", async () => {
  await using client = new Running(["client", "127.0.0.1:1", "--interval", "0.01"]);
  await client.line(/hits = 0/);
  // What `| head -1` does: the pipe's reader goes.
  const head = await new Deno.Command("sh", {
    args: ["-c", `"$0" client 127.0.0.1:1 --interval 0.01 | head -n 1`, KVS],
    stdin: "null",
  }).output();
  assertEquals(new TextDecoder().decode(head.stderr), "");
});

Deno.test("SIGTERM ends the client at once, as deleting its Pod expects", async () => {
  for (const [signal, code] of [["SIGTERM", 143], ["SIGINT", 130]] as const) {
    await using client = new Running(["client", "127.0.0.1:1", "--interval", "60"]);
    await client.line(/hits = 0/);
    client.kill(signal);
    assertEquals(await client.exit(), code);
    assertEquals(client.stderr, []);
  }
});
