import { assertEquals, assertMatch, assertNotEquals } from "@std/assert";
import { join } from "@std/path";
import { KVS, kvs, PATIENCE_MS, Running, TempDir, until } from "./program.ts";

/** `kvs cluster` on free ports, without a drain period, its temporary folder in `temp`. */
function startCluster(temp: TempDir, args: readonly string[] = []): Running {
  return new Running(["cluster", "--port", "0", "--drain", "0", ...args], {
    env: { TMPDIR: temp.path },
  });
}

/** Waits for the `count`th line of stdout that matches. */
async function nthLine(cluster: Running, pattern: RegExp, count = 1): Promise<RegExpExecArray> {
  return await until(`${pattern} for the ${count}. time in:\n${cluster.stdout.join("\n")}`, () => {
    const matches = cluster.stdout.map((line) => pattern.exec(line)).filter((match) => match);
    return matches[count - 1] ?? undefined;
  });
}

/** The server list as it was printed the `count`th time. */
async function serverList(cluster: Running, count = 1): Promise<string[]> {
  const [, list = ""] = await nthLine(cluster, /^servers: (\S+)$/, count);
  return list.split(",");
}

/** Types `list` and resolves to the cells of a server's line, when `ready` says they are the ones. */
async function listed(cluster: Running, name: string): Promise<string[]> {
  const lines = () => cluster.stdout.filter((line) => line.startsWith(`${name}  `));
  const before = lines().length;
  await cluster.type("list");
  return await until(`${name} is listed`, () => lines()[before]?.split(/ +/));
}

async function ask(address: string, path: string): Promise<string> {
  return await (await fetch(`http://${address}${path}`)).text();
}

async function isListening(address: string): Promise<boolean> {
  const [hostname = "", port] = address.split(":");
  try {
    (await Deno.connect({ hostname, port: Number(port) })).close();
    return true;
  } catch {
    return false;
  }
}

/** Waits until nobody listens on any of `addresses`. */
async function untilSilent(addresses: readonly string[]): Promise<void> {
  for (const address of addresses) {
    await until(`${address} is silent`, async () => await isListening(address) ? undefined : true);
  }
}

/** The events of stdout, without their details, in order. */
function events(cluster: Running): string[] {
  return cluster.stdout.flatMap((line) =>
    /^server-\d+ (is ready|is terminating|has gone)/.exec(line)?.[0] ?? []
  );
}

Deno.test("kvs cluster starts in order, scales, deletes, lists, and quits", async () => {
  await using temp = new TempDir();
  await using cluster = startCluster(temp);
  const three = await serverList(cluster);
  await nthLine(cluster, /^all 3 servers are ready$/);
  assertEquals(three.length, 3);
  assertEquals(events(cluster), ["server-0 is ready", "server-1 is ready", "server-2 is ready"]);
  assertEquals(await ask(three[1] ?? "", "/save/a/kept"), "kept");

  const before = await listed(cluster, "server-1");
  assertEquals([before[1], before[2], before[4], before[5]], [three[1], "Ready", "0", "1"]);

  await cluster.type("scale 4");
  const four = await serverList(cluster, 2);
  assertEquals(four.slice(0, 3), three);
  assertEquals(four.length, 4);
  await nthLine(cluster, new RegExp(`kvs rebalance ${three.join(",")} ${four.join(",")}$`));

  await cluster.type("delete server-1");
  await nthLine(cluster, /^server-1 is terminating$/);
  await nthLine(cluster, /^server-1 has gone$/);
  await nthLine(cluster, /^server-1 is ready/, 2);
  assertEquals(await ask(three[1] ?? "", "/load/a"), "kept");
  const after = await listed(cluster, "server-1");
  assertEquals([after[1], after[2], after[4], after[5]], [three[1], "Ready", "0", "1"]);
  assertNotEquals(after[3], before[3], "the same process");

  const soFar = events(cluster).length;
  await cluster.type("scale 2");
  assertEquals(await serverList(cluster, 3), three.slice(0, 2));
  assertEquals(events(cluster).slice(soFar), [
    "server-3 is terminating",
    "server-3 has gone",
    "server-2 is terminating",
    "server-2 has gone",
  ]);

  await cluster.type("scale up");
  await nthLine(cluster, /^Cannot scale: expected a whole number from 0 to 62, received "up"$/);
  await cluster.type("delete server-9");
  await nthLine(cluster, /^No such server: server-9$/);
  await cluster.type("restart all");
  await nthLine(cluster, /^Unknown command: expected scale N, .* or quit: "restart all"$/);

  await cluster.type("quit");
  assertEquals(await cluster.exit(), 0);
  assertEquals(cluster.stderr, []);
  await untilSilent(four);
  assertEquals([...Deno.readDirSync(temp.path)], [], "the temporary folder is left behind");
});

Deno.test("kvs cluster scales to none and back", async () => {
  await using temp = new TempDir();
  await using cluster = startCluster(temp, ["--replicas", "2"]);
  const two = await serverList(cluster);
  await nthLine(cluster, /^all 2 servers are ready$/);
  await cluster.type("scale 0");
  await nthLine(cluster, /^servers: none$/);
  await untilSilent(two);
  await cluster.type("scale 2");
  assertEquals(await serverList(cluster, 3), two);
});

Deno.test("kvs cluster brings back a server that was killed, with its data and address", async () => {
  await using temp = new TempDir();
  await using cluster = startCluster(temp, ["--replicas", "2"]);
  const [, address = ""] = await serverList(cluster);
  await nthLine(cluster, /^all 2 servers are ready$/);
  assertEquals(await ask(address, "/save/k/kept"), "kept");
  const before = await listed(cluster, "server-1");
  Deno.kill(Number(before[3]), "SIGKILL");
  await nthLine(cluster, /^server-1 died \(SIGKILL\): it is started again now$/);
  await nthLine(cluster, /^server-1 is ready/, 2);
  assertEquals(await ask(address, "/load/k"), "kept");
  const after = await listed(cluster, "server-1");
  assertNotEquals(after[3], before[3]);
  assertEquals([after[1], after[2], after[4]], [address, "Ready", "1"]);
  assertEquals((await listed(cluster, "server-0"))[4], "0");
});

Deno.test("kvs cluster keeps no pipe to a server that has ended", async () => {
  await using temp = new TempDir();
  await using cluster = startCluster(temp, ["--replicas", "1"]);
  await nthLine(cluster, /^all 1 servers? (is|are) ready$/);
  const pipes = () => {
    const folder = `/proc/${cluster.pid}/fd`;
    return [...Deno.readDirSync(folder)].filter(({ name }) => {
      try {
        return /^(pipe|socket):/.test(Deno.readLinkSync(`${folder}/${name}`));
      } catch {
        // It was closed meanwhile.
        return false;
      }
    }).length;
  };
  const restart = async (count: number) => {
    Deno.kill(Number((await listed(cluster, "server-0"))[3]), "SIGKILL");
    await nthLine(cluster, /^server-0 is ready/, count + 1);
  };
  // Not from the start: what the first server leaves is as much as each of those that follow.
  await restart(1);
  const before = pipes();
  for (const count of [2, 3]) await restart(count);
  await until(
    `there are ${before} pipes and sockets, not ${pipes()}`,
    () => pipes() <= before ? true : undefined,
    10_000,
  );
});

for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
  Deno.test(`kvs cluster stops in reverse order at ${signal}`, async () => {
    await using temp = new TempDir();
    await using cluster = startCluster(temp);
    const servers = await serverList(cluster);
    await nthLine(cluster, /^all 3 servers are ready$/);
    cluster.kill(signal);
    assertEquals(await cluster.exit(), 0);
    assertEquals(
      events(cluster).slice(3),
      [2, 1, 0].flatMap((ordinal) => [
        `server-${ordinal} is terminating`,
        `server-${ordinal} has gone`,
      ]),
    );
    await untilSilent(servers);
    assertEquals([...Deno.readDirSync(temp.path)], []);
  });
}

Deno.test("kvs cluster can be ended while it starts", async () => {
  await using temp = new TempDir();
  for (const moment of [/^servers: /, /^server-0 is ready/, /^server-1 is ready/]) {
    await using cluster = startCluster(temp);
    const servers = await serverList(cluster);
    await nthLine(cluster, moment);
    cluster.kill("SIGTERM");
    assertEquals(await cluster.exit(), 0);
    assertEquals(cluster.stdout.includes("all 3 servers are ready"), false);
    await untilSilent(servers);
  }
  assertEquals([...Deno.readDirSync(temp.path)], []);
});

Deno.test("kvs cluster ends all at once at the second signal", async () => {
  await using temp = new TempDir();
  await using cluster = startCluster(temp, ["--drain", "600", "--grace", "1000"]);
  const servers = await serverList(cluster);
  await nthLine(cluster, /^all 3 servers are ready$/);
  cluster.kill("SIGINT");
  await nthLine(cluster, /^server-2 is terminating$/);
  cluster.kill("SIGINT");
  assertEquals(await cluster.exit(), 0);
  await untilSilent(servers);
  assertEquals([...Deno.readDirSync(temp.path)], []);
});

Deno.test("kvs cluster kills a server that does not end within the grace period", async () => {
  await using temp = new TempDir();
  await using cluster = startCluster(temp, ["--replicas", "1", "--grace", "0.5"]);
  await nthLine(cluster, /^all 1 servers are ready$/);
  const pid = Number((await listed(cluster, "server-0"))[3]);
  Deno.kill(pid, "SIGSTOP");
  await cluster.type("delete server-0");
  await nthLine(cluster, /^server-0 has gone, killed$/);
  await nthLine(cluster, /^server-0 is ready/, 2);
});

Deno.test("kvs cluster says which port is taken, and leaves nothing behind", async () => {
  await using temp = new TempDir();
  using listener = listenBelowEphemeral();
  const taken = listener.addr.port;
  const { code, stdout, stderr } = await kvs(["cluster", "--port", String(taken - 1)], {
    env: { TMPDIR: temp.path },
  });
  assertEquals(code, 1);
  assertEquals(stderr, `Cannot start server-1: 127.0.0.1:${taken} is taken by another program\n`);
  assertEquals(stdout.includes("is ready"), false);
  assertEquals(await isListening(`127.0.0.1:${taken - 1}`), false);
  assertEquals([...Deno.readDirSync(temp.path)], []);
});

/** Listens on a port whose neighbour nobody takes for an outgoing connection. */
function listenBelowEphemeral(): Deno.TcpListener {
  for (let port = 20_001;; port += 7) {
    try {
      return Deno.listen({ hostname: "127.0.0.1", port });
    } catch (error) {
      if (!(error instanceof Deno.errors.AddrInUse)) throw error;
    }
  }
}

Deno.test("kvs cluster says why a server cannot start, and leaves nothing behind", async () => {
  await using temp = new TempDir();
  await Deno.writeTextFile(temp.join("server-1"), "not a folder");
  const { code, stderr } = await kvs([
    "cluster",
    "--port",
    "0",
    "--drain",
    "0",
    "--data",
    temp.path,
  ]);
  assertEquals(code, 1);
  assertMatch(stderr, /^Cannot start server-1: .*\n$/);
});

Deno.test("kvs cluster --data keeps the data of each server over two runs", async () => {
  await using temp = new TempDir();
  const data = temp.join("made", "for", "it");
  for (const expected of ["_key_not_found_", "kept"]) {
    await using cluster = startCluster(temp, ["--replicas", "2", "--data", data]);
    const [, address = ""] = await serverList(cluster);
    await nthLine(cluster, /^all 2 servers are ready$/);
    assertEquals(await ask(address, "/load/k"), expected);
    assertEquals(await ask(address, "/save/k/kept"), "kept");
    cluster.kill("SIGTERM");
    assertEquals(await cluster.exit(), 0);
  }
  assertEquals(await Deno.readTextFile(join(data, "server-1", "k")), "kept");
});

Deno.test("kvs cluster takes its servers along when it is killed", async () => {
  await using temp = new TempDir();
  await using cluster = startCluster(temp);
  const servers = await serverList(cluster);
  await nthLine(cluster, /^all 3 servers are ready$/);
  cluster.kill("SIGKILL");
  await cluster.exit();
  await untilSilent(servers);
});

Deno.test("kvs cluster goes on without standard input", async () => {
  await using temp = new TempDir();
  const port = 20_500 + Math.floor(Math.random() * 5000);
  const child = new Deno.Command(KVS, {
    args: ["cluster", "--replicas", "1", "--port", String(port), "--drain", "0"],
    env: { TMPDIR: temp.path },
    stdin: "null",
    stdout: "null",
  }).spawn();
  try {
    const address = `127.0.0.1:${port}`;
    await until("it serves", async () => await isListening(address) ? true : undefined);
    assertEquals(await ask(address, "/healthz").then(() => true), true);
  } finally {
    child.kill("SIGTERM");
  }
  assertEquals((await child.status).code, 0);
});

Deno.test("kvs cluster keeps its own variables from its servers", async () => {
  await using temp = new TempDir();
  await using cluster = new Running(["cluster"], {
    env: {
      TMPDIR: temp.path,
      KVS_PORT: "0",
      KVS_REPLICAS: "1",
      KVS_DRAIN: "0",
      KVS_LOGS: "1",
      KVS_LOG_FORMAT: "json",
    },
  });
  await cluster.line(/^all 1 servers are ready$/);
  await until(
    "a log line in text",
    () => cluster.stderr.some((line) => /^server-0 \| \d{4}-.* info /.test(line)) || undefined,
  );
});

Deno.test("kvs cluster --client shows the client's rows", async () => {
  await using temp = new TempDir();
  await using cluster = startCluster(temp, ["--client"]);
  await nthLine(cluster, /^ {20}12012012012012012012012012$/);
  await nthLine(cluster, /^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d [.5wh]{26} \| hits = \d+ \(\d+%\)$/, 2);
  await nthLine(cluster, /^\S+ \S+ h{26} \| hits = 26 \(100%\)$/);
});

Deno.test("kvs cluster refuses what makes no sense in one line and the usage", async () => {
  for (
    const [args, line] of [
      [["now"], "Unexpected argument: now"],
      [
        ["--replicas", "0"],
        'Invalid --replicas: expected a whole number from 1 to 62, received "0"',
      ],
      [["--tour", "--replicas", "2"], "Not possible: the tour is played with 3 servers"],
      [
        ["--tour", "--data", "x"],
        "Not possible: the tour begins with no data, in a temporary folder",
      ],
    ] as const
  ) {
    const { code, stdout, stderr } = await kvs(["cluster", ...args]);
    assertEquals([code, stdout], [1, ""]);
    assertEquals(stderr, `${line}\nUsage: kvs cluster [options]\n`);
  }
});

Deno.test("kvs cluster ends when nobody reads its output", async () => {
  await using temp = new TempDir();
  const { stdout, stderr } = await new Deno.Command("sh", {
    // A shell waits for all of a pipe, so this ends when the cluster does.
    args: ["-c", '"$0" cluster --replicas 1 --port 0 --drain 0 --client | head -n 1', KVS],
    env: { TMPDIR: temp.path },
    stdin: "null",
    signal: AbortSignal.timeout(PATIENCE_MS),
  }).output();
  const decoder = new TextDecoder();
  assertMatch(decoder.decode(stdout), /^1 servers, data in .*\n$/);
  assertEquals(decoder.decode(stderr), "");
  assertEquals([...Deno.readDirSync(temp.path)], []);
});
