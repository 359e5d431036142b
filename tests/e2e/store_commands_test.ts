import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { modulo } from "../../core/placement.ts";
import { KVS, kvs, Server, TempDir } from "./program.ts";

/** Servers, and how commands are run on them. */
class Cluster implements AsyncDisposable {
  readonly #dir: TempDir;
  readonly servers: readonly Server[];

  private constructor(dir: TempDir, servers: readonly Server[]) {
    this.#dir = dir;
    this.servers = servers;
  }

  /** Starts `count` servers at the same time, with options of their own. */
  static async start(count: number, ...args: string[]): Promise<Cluster> {
    const dir = new TempDir();
    const names = Array.from({ length: count }, (_, index) => String(index));
    const starts = names.map((name) => Server.start(dir.join(name), args));
    const started = await Promise.allSettled(starts);
    const servers = started.flatMap((start) => start.status === "fulfilled" ? [start.value] : []);
    const cluster = new Cluster(dir, servers);
    if (servers.length < count) await cluster[Symbol.asyncDispose]();
    await Promise.all(starts);
    return cluster;
  }

  get list(): string {
    return this.servers.map(({ address }) => address).join(",");
  }

  path(name: string): string {
    return this.#dir.join(name);
  }

  /** Runs a command; resolves to its exit code, what it printed as bytes, and its stderr. */
  async run(args: readonly string[], stdin?: Uint8Array<ArrayBuffer>, env = {}) {
    const child = new Deno.Command(KVS, {
      args: [...args],
      env: { KVS_SERVERS: this.list, ...env },
      stdin: stdin === undefined ? "null" : "piped",
      stdout: "piped",
      stderr: "piped",
    }).spawn();
    const feeding = stdin === undefined
      ? Promise.resolve()
      : new Blob([stdin]).stream().pipeTo(child.stdin).catch(() => {});
    const { code, stdout, stderr } = await child.output();
    await feeding;
    return { code, bytes: stdout, stdout: decode(stdout), stderr: decode(stderr) };
  }

  /** Runs a command that has to succeed in silence; resolves to its stdout. */
  async ok(...args: string[]): Promise<string> {
    const { code, stdout, stderr } = await this.run(args);
    assertEquals([args, code, stderr], [args, 0, ""]);
    return stdout;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const server of this.servers) await server[Symbol.asyncDispose]();
    await this.#dir[Symbol.asyncDispose]();
  }
}

const decode = (bytes: Uint8Array) => new TextDecoder().decode(bytes);

Deno.test("put, get, delete: values as they were given, exit codes for scripts", async () => {
  await using cluster = await Cluster.start(3, "--max-value", "1MiB");
  for (const [key, value] of [["a", "hello"], ["b", ""], ["c/ü%", "007"], ["..", "1e3"]] as const) {
    assertEquals(await cluster.ok("put", key, value), "");
    assertEquals(await cluster.ok("get", key), value);
  }
  assertEquals(await cluster.ok("put", "minus", "--", "-5"), "");
  assertEquals(await cluster.ok("get", "minus"), "-5");
  // Where the placement says, and nowhere else.
  const owner = modulo("a", 3);
  for (const [index, server] of cluster.servers.entries()) {
    assertEquals((await server.ask("/load/a")).body, index === owner ? "hello" : "_key_not_found_");
  }
  assertEquals(await cluster.ok("delete", "a"), "");
  for (const command of ["get", "delete"]) {
    const { code, stdout, stderr } = await cluster.run([command, "a"]);
    assertEquals([code, stdout, stderr], [1, "", "No such key: a\n"]);
  }

  await cluster.ok("put", "lock", "mine", "--if-absent");
  const refused = await cluster.run(["put", "lock", "yours", "--if-absent"]);
  assertEquals([refused.code, refused.stdout], [3, ""]);
  assertMatch(refused.stderr, /^Condition does not hold: lock .*\n$/);
  const { etag } = JSON.parse(await cluster.ok("get", "lock", "--json"));
  await cluster.ok("put", "lock", "again", "--if-match", etag);
  assertEquals((await cluster.run(["delete", "lock", "--if-match", etag])).code, 3);
  const large = await cluster.run(["put", "l"], new Uint8Array(1024 ** 2 + 1));
  assertEquals([large.code, large.stdout], [3, ""]);
  assertStringIncludes(large.stderr, "answered 413: Value too large: ");
});

Deno.test("put takes a file or standard input, get gives it back byte for byte", async () => {
  await using cluster = await Cluster.start(3, "--max-value", "32MiB");
  // Small, as a stream that can be sent again, and over what is kept of standard input.
  for (const size of [1000, 3 * 1024 ** 2, 17 * 1024 ** 2]) {
    const bytes = new Uint8Array(size).map((_, at) => (at * 7919) >> 5);
    await Deno.writeFile(cluster.path("value"), bytes);
    await cluster.ok("put", "file", "--file", cluster.path("value"), "--content-type", "x/y");
    assertEquals((await cluster.run(["put", "stdin"], bytes)).code, 0);
    for (const key of ["file", "stdin"]) {
      const { bytes: got } = await cluster.run(["get", key]);
      assert(got.length === size && got.every((byte, at) => byte === bytes[at]), `${key} ${size}`);
    }
  }
  // A pipe is read once, though it has a name.
  const bytes = new TextEncoder().encode("through a pipe");
  for (const path of ["/dev/stdin", cluster.path("pipe")]) {
    const named = path.endsWith("pipe");
    if (named) await new Deno.Command("mkfifo", { args: [path] }).output();
    const putting = cluster.run(["put", path, "--file", path], named ? undefined : bytes);
    if (named) await Deno.writeFile(path, bytes, { create: false });
    assertEquals((await putting).code, 0);
    assertEquals(await cluster.ok("get", path), "through a pipe");
  }
  const folder = await cluster.run(["put", "folder", "--file", cluster.path("0")]);
  assertEquals([folder.code, folder.stderr], [
    1,
    `Cannot read ${cluster.path("0")}: it is a folder\n`,
  ]);
  const owner = cluster.servers[modulo("file", 3)];
  const head = await owner?.ask("/v1/keys/file", { method: "HEAD" });
  assertEquals(head?.headers.get("content-type"), "x/y");
});

Deno.test("put takes - for standard input, and nothing for nothing only if told to", async () => {
  await using cluster = await Cluster.start(1);
  const bytes = new TextEncoder().encode("from stdin");
  for (const args of [["-"], ["--file", "-"], []]) {
    await cluster.ok("put", "k", "before");
    assertEquals((await cluster.run(["put", "k", ...args], bytes)).code, 0);
    assertEquals([args, await cluster.ok("get", "k")], [args, "from stdin"]);
  }
  const none = await cluster.run(["put", "k"], new Uint8Array());
  assertEquals([none.code, none.stdout], [1, ""]);
  assertMatch(none.stderr, /^Missing value: standard input is empty; [^\n]+\nUsage: [^\n]+\n$/);
  assertEquals(await cluster.ok("get", "k"), "from stdin");
  for (const args of [["-"], ["--file", "-"], ["--file", "/dev/stdin"], [""]]) {
    await cluster.ok("put", "k", "before");
    assertEquals((await cluster.run(["put", "k", ...args], new Uint8Array())).code, 0);
    assertEquals([args, await cluster.ok("get", "k")], [args, ""]);
  }
});

Deno.test("a key cannot send a terminal escapes, whatever names it", async () => {
  await using cluster = await Cluster.start(1);
  const key = "a\x1b]0;title\x07\x9b2J\n";
  const shown = "a%1B]0;title%07%C2%9B2J%0A";
  const absent = `No such key: ${shown}\n`;
  for (const args of [["get", key], ["get", key, "--json"], ["delete", key]]) {
    const { code, stdout, stderr } = await cluster.run(args);
    assertEquals([args, code, stdout, stderr], [args, 1, "", absent]);
  }
  await cluster.ok("put", key, "v");
  const refused = await cluster.run(["put", key, "v", "--if-absent"]);
  assertStringIncludes(refused.stderr, `Condition does not hold: ${shown} is not`);
  const extra = await cluster.run(["get", "k", key]);
  assertStringIncludes(extra.stderr, `Unexpected argument: ${shown}\n`);
  for (const args of [["get", key], ["put", key, "v"], ["keys"], ["where", key], ["delete", key]]) {
    const line = await cluster.ok(...args, "--json");
    assertMatch(line, /^[^\p{Cc}]+\n$/u);
    assertEquals(JSON.parse(line).key, key);
  }
});

/** Runs a shell's command line on the binary, which is `$KVS` there. */
async function shell(script: string, env: Record<string, string> = {}) {
  const { code, stdout, stderr } = await new Deno.Command("sh", {
    args: ["-c", script],
    env: { KVS, ...env },
    stdin: "null",
  }).output();
  return { code, stdout: decode(stdout), stderr: decode(stderr) };
}

Deno.test("an output that cannot be written is its own line and exit code 2; a reader that goes is quiet", async () => {
  await using cluster = await Cluster.start(1);
  await cluster.run(["put", "k"], new Uint8Array(300_000));
  const line = "Cannot write the output: No space left on device (os error 28)\n";
  const env = { KVS_SERVERS: cluster.list, DIR: cluster.path(".") };
  const commands = [
    "get k",
    "get k --json",
    "keys",
    "where k",
    "put k v --json",
    "delete k --json",
    "client $KVS_SERVERS --rows 1",
    "lifecycle poststart $DIR",
    "get --help",
    "--help",
    "--version",
  ];
  for (const command of commands) {
    const full = await shell(`"$KVS" ${command} > /dev/full`, env);
    assertEquals([command, full], [command, { code: 2, stdout: "", stderr: line }]);
  }
  await cluster.run(["put", "k"], new Uint8Array(300_000));
  for (const command of commands) {
    // `true` may read nothing at all, so the command may meet no reader at its first byte.
    const gone = await shell(`{ sleep 0.1; "$KVS" ${command}; echo $? >&2; } | true`, env);
    assertEquals([command, gone.stderr], [command, "0\n"]);
  }
  const untold = await shell(`"$KVS" get absent 2> /dev/full`, env);
  assertEquals(untold.code, 1);
});

Deno.test("put and --token-file take files below /dev and /proc, also by a link, or say why not", async () => {
  await using cluster = await Cluster.start(1);
  const env = { KVS_SERVERS: cluster.list, DIR: cluster.path(".") };
  await Deno.writeTextFile(cluster.path("value"), "value");
  await Deno.symlink("/dev/fd/3", cluster.path("link"));
  const cases = [
    ['printf value | "$KVS" put k --file /dev/fd/0', "value"],
    ['"$KVS" put k --file /dev/fd/3 3< "$DIR/value"', "value"],
    ['"$KVS" put k --file "$DIR/link" 3< "$DIR/value"', "value"],
    ['"$KVS" put k --file /proc/version', await Deno.readTextFile("/proc/version")],
    ['"$KVS" put k --file /dev/null', ""],
    ['printf token | "$KVS" put k value --token-file /dev/fd/0', "value"],
    ['"$KVS" put k value --token-file "$DIR/link" 3< "$DIR/value"', "value"],
  ] as const;
  for (const [script, expected] of cases) {
    const done = await shell(script, env);
    assertEquals([script, done], [script, { code: 0, stdout: "", stderr: "" }]);
    assertEquals([script, await cluster.ok("get", "k")], [script, expected]);
  }
  for (
    const [args, message] of [
      ["put k --file /dev/nothing", "Cannot read /dev/nothing: it cannot be opened\n"],
      ["put k --file /dev", "Cannot read /dev: reading it failed\n"],
      ["get k --token-file /dev/nothing", "Cannot read the file of --token-file: "],
      ["get k --ca /dev", "Cannot read the file of --ca: "],
    ] as const
  ) {
    const { code, stdout, stderr } = await shell(`"$KVS" ${args}`, env);
    assertEquals([args, code, stdout], [args, 1, ""]);
    assertStringIncludes(stderr, message);
    assertEquals(/allow|Requires|permission/.test(stderr), false, stderr);
  }
});

Deno.test("--json tells what there is to know", async () => {
  await using cluster = await Cluster.start(3);
  const server = cluster.servers[modulo("k", 3)]?.address;
  const put = JSON.parse(await cluster.ok("put", "k", "text", "--json"));
  assertEquals([put.key, put.server, put.created], ["k", server, true]);
  const { etag } = put;
  const got = { key: "k", server, size: 4, contentType: "application/octet-stream", etag };
  assertEquals(JSON.parse(await cluster.ok("get", "k", "--json")), { ...got, value: "text" });
  await cluster.run(["put", "k"], Uint8Array.of(0, 255));
  assertEquals(JSON.parse(await cluster.ok("get", "k", "--json")).base64, "AP8=");
  const where = { key: "k", server, index: modulo("k", 3), servers: 3, placement: "modulo" };
  const url = `http://${server}/v1/keys/k`;
  assertEquals(JSON.parse(await cluster.ok("where", "k", "--json")), { ...where, url });
  assertEquals(await cluster.ok("keys", "--json"), JSON.stringify({ key: "k", server }) + "\n");
  assertEquals(JSON.parse(await cluster.ok("delete", "k", "--json")), {
    key: "k",
    server,
    deleted: true,
  });
});

Deno.test("keys lists what owners hold, in order, not the copies that moves left behind", async () => {
  await using cluster = await Cluster.start(3);
  const [first, second] = cluster.servers;
  const expected: string[] = [];
  for (let n = 0; n < 1500; n++) expected.push(`key-${String(n).padStart(4, "0")}`);
  // Every key on every server: on two of the three it is a stale copy.
  const batch = expected.map((key) => JSON.stringify({ op: "put", key, value: "v" })).join("\n");
  for (const server of cluster.servers) {
    assertEquals((await server.ask("/v1/batch", { method: "POST", body: batch })).status, 200);
  }
  await cluster.ok("put", "line\nfeed", "x");
  assertEquals(await cluster.ok("keys"), [...expected, "line%0Afeed"].join("\n") + "\n");
  assertEquals(
    await cluster.ok("keys", "--prefix", "key-149"),
    expected.slice(-10).join("\n") + "\n",
  );
  assertEquals(await cluster.ok("keys", "--prefix", "nothing"), "");
  // A key that only a server holds that does not own it is no key of the cluster.
  const [other, owner] = modulo("stray", 3) === 0 ? [second, first] : [first, second];
  assert(other !== undefined && owner !== undefined);
  await other.ask("/save/stray/x");
  assertEquals(await cluster.ok("keys", "--prefix", "stray"), "");
  assertEquals((await cluster.run(["get", "stray"])).code, 1);
  // By the other placement others own the keys, and each is still listed once.
  const jump = await cluster.ok("keys", "--prefix", "key-", "--placement", "jump");
  assertEquals(jump, expected.join("\n") + "\n");
});

Deno.test("a command tries again while its server is away, and says when it gives up", async () => {
  await using cluster = await Cluster.start(3);
  await cluster.ok("put", "k", "v");
  const owner = cluster.servers[modulo("k", 3)];
  assert(owner !== undefined);
  await Deno.writeTextFile(`${owner.dir}/_shutting_down_`, "");
  const once = await cluster.run(["get", "k", "--patience", "0"]);
  assertEquals([once.code, once.stdout], [2, ""]);
  assertEquals(once.stderr, `${owner.address} answered 503: it is shutting down or starting\n`);
  const waiting = cluster.run(["get", "k", "--patience", "60"]);
  // It may ask before or after the marker goes; either way it gets its value.
  await Deno.remove(`${owner.dir}/_shutting_down_`);
  assertEquals((await waiting).stdout, "v");
  // Nobody listens on port 1 of loopback.
  const gone = await cluster.run(["put", "k", "v", "--patience", "1"], undefined, {
    KVS_SERVERS: "127.0.0.1:1",
  });
  assertEquals([gone.code, gone.stdout], [2, ""]);
  assertMatch(
    gone.stderr,
    /^127\.0\.0\.1:1 cannot be reached: no connection \(tried \d+ times in [\d.]+ s\)\n$/,
  );
});

Deno.test("wrong command lines are one line and the usage, exit 1", async () => {
  const cases: [string[], string][] = [
    [["get", "k"], "Missing servers: give --servers SRV_1[:PORT],... or set KVS_SERVERS"],
    [["get", "--servers", "a"], "Missing argument: KEY"],
    [["get", "k", "l", "--servers", "a"], "Unexpected argument: l"],
    [["put", "k", "v", "--file", "f", "--servers", "a"], "Give either VALUE or --file"],
    [
      ["put", "k", "v", "--if-match", "e", "--if-absent", "--servers", "a"],
      "Give either --if-match",
    ],
    [["put", "k", "-5", "--servers", "a"], "Unknown option: -5"],
    [["keys", "k", "--servers", "a"], "Unexpected argument: k"],
    [["where", "k", "--servers", "a,a"], "Duplicate server in --servers: a"],
    [["where", "k", "--servers", "s{0..99999}"], "Too many servers in --servers"],
    [["where", "k", "--servers", "a", "--dns", "b"], "Invalid --dns: expected an IP address"],
    [["rebalance", "srv:a", "b,c"], "Unsafe server in AS_IS: say how many"],
  ];
  const runs = cases.map(([args]) => kvs(args));
  for (const [at, run] of runs.entries()) {
    const { code, stdout, stderr } = await run;
    const [args, message] = cases[at] ?? [];
    assertEquals([args, code, stdout], [args, 1, ""]);
    assertStringIncludes(stderr, message ?? "");
    assertMatch(stderr, /^[^\n]+\nUsage: kvs [^\n]+\n$/);
  }
  const { code, stderr } = await kvs(["get", "", "--servers", "a"]);
  assertEquals([code, stderr], [1, "Invalid key: it is empty\n"]);
  const file = await kvs(["put", "k", "--file", "/nothing/here", "--servers", "a"]);
  assertEquals([file.code, file.stderr], [1, "Cannot read /nothing/here: there is no such file\n"]);
});

Deno.test("braces stand for servers in every list, and the list is told on stderr", async () => {
  const where = await kvs(["where", "d", "--servers", "server-{0..2}.server,x:81"]);
  assertEquals(where.stdout, "server-0.server (index 0 of 4, placement modulo)\n");
  const list = "server-0.server,server-1.server,server-2.server,x:81";
  assertEquals(where.stderr, `server-{0..2}.server,x:81 = ${list}\n`);
  const client = await kvs(["client", "127.0.0.{1..2}:1", "--rows", "1"]);
  assertEquals([client.code, client.stderr], [0, "127.0.0.{1..2}:1 = 127.0.0.1:1,127.0.0.2:1\n"]);
  assertEquals(client.stdout.split("\n")[2]?.trim(), "10".repeat(13));
  const move = await kvs(["rebalance", "127.0.0.{1..2}:1", "127.0.0.1:1"]);
  assertEquals([move.code, move.stdout], [1, ""]);
  assertMatch(
    move.stderr,
    /^127.* = 127.0.0.1:1,127.0.0.2:1\n127.0.0.1:1 cannot be reached[^\n]+\n$/,
  );
});
