import { assertEquals, assertMatch } from "@std/assert";
import { kvs, Running, Server, TempDir, until } from "./program.ts";

/** What a pipe holds (bytes), on Linux. */
const PIPE_BYTES = 65_536;

/** A named pipe that is full, which a process can have as an output: it would wait there for ever. */
class FullPipe implements Disposable {
  readonly path: string;
  readonly #file: Deno.FsFile;

  private constructor(path: string) {
    this.path = path;
    this.#file = Deno.openSync(path, { read: true, write: true });
    this.#file.writeSync(new Uint8Array(PIPE_BYTES).fill(0x0a));
  }

  static async make(path: string): Promise<FullPipe> {
    await new Deno.Command("mkfifo", { args: [path] }).output();
    return new FullPipe(path);
  }

  /** Reads until there is a line that matches; resolves to all the lines. */
  async readTo(pattern: RegExp): Promise<string[]> {
    const decoder = new TextDecoder();
    const buffer = new Uint8Array(PIPE_BYTES);
    let text = "";
    while (!pattern.test(text)) {
      text += decoder.decode(buffer.subarray(0, await this.#file.read(buffer) ?? 0));
    }
    return text.split("\n").filter((line) => line !== "");
  }

  [Symbol.dispose](): void {
    this.#file.close();
  }
}

Deno.test("a server whose log nobody reads serves, and ends at SIGTERM", async () => {
  await using dir = new TempDir();
  using pipe = await FullPipe.make(dir.join("pipe"));
  for (const format of ["text", "json"]) {
    const args = ["server", "0", dir.join("data"), "--host", "127.0.0.1", "--drain", "0"];
    await using server = new Running([...args, "--log-format", format], {
      shell: `exec 2>"${pipe.path}"`,
    });
    const [address] = await server.line(/^127.*/);
    const load = async (path: string) => await (await fetch(`http://${address}${path}`)).text();
    await until("it serves", async () => await load("/save/a/b") === "b" ? true : undefined);
    assertEquals(await load("/healthz"), "ok\n");
    server.kill("SIGTERM");
    assertEquals(await server.exit(), 0);
  }
});

Deno.test("log lines that were dropped are counted, and told when somebody reads", async () => {
  await using dir = new TempDir();
  await Deno.mkdir(dir.join("data"));
  // Each is a line at the start: escaped, its name would be too long for a key.
  for (let i = 0; i < 2500; i++) {
    Deno.writeTextFileSync(dir.join("data", `${"%".repeat(120)}${i}`), "");
  }
  using pipe = await FullPipe.make(dir.join("pipe"));
  await using server = new Running(["server", "0", dir.join("data"), "--host", "127.0.0.1"], {
    shell: `exec 2>"${pipe.path}"`,
  });
  const [address] = await server.line(/^127.*/);
  await until("it is ready", async () => {
    const { ok, body } = await fetch(`http://${address}/readyz`);
    await body?.cancel();
    return ok ? true : undefined;
  });
  const lines = await pipe.readTo(/log lines were dropped.*\n/);
  const [told] = lines.flatMap((line) => / were dropped: .* lines=(\d+)$/.exec(line) ?? []).slice(
    1,
  );
  // One more is written when it listens.
  assertEquals(lines.length - 1 + Number(told), 2500 + 1);
  assertMatch(lines[0] ?? "", /ignored a file/);
});

Deno.test("a server that cannot start ends, though nobody reads why", async () => {
  await using dir = new TempDir();
  await using _other = await Server.start(dir.join("data"));
  using pipe = await FullPipe.make(dir.join("pipe"));
  const shell = `exec 2>"${pipe.path}"`;
  assertEquals((await kvs(["server", "0", dir.join("data")], { shell })).code, 1);
});

Deno.test("a cluster that nobody watches starts, and stops at SIGTERM", async () => {
  await using dir = new TempDir();
  using pipe = await FullPipe.make(dir.join("pipe"));
  const data = dir.join("data");
  await using cluster = new Running(["cluster", "--port", "0", "--drain", "0", "--data", data], {
    shell: `exec >"${pipe.path}" 2>&1`,
  });
  await until("a server has begun", async () => {
    const found = await Deno.stat(`${data}/server-2/.kvs/lock`).catch(() => undefined);
    return found === undefined ? undefined : true;
  });
  cluster.kill("SIGTERM");
  assertEquals(await cluster.exit(), 0);
});

Deno.test("a client whose rows nobody reads ends at SIGTERM", async () => {
  await using dir = new TempDir();
  using pipe = await FullPipe.make(dir.join("pipe"));
  await using client = new Running(["client", "127.0.0.1:1"], {
    shell: `echo started >&2; exec >"${pipe.path}"`,
  });
  await client.line(/started/);
  await until("it listens to signals", async () => {
    const status = await Deno.readTextFile(`/proc/${client.pid}/status`);
    const caught = BigInt("0x" + (/^SigCgt:\s+(\S+)/m.exec(status)?.[1] ?? "0"));
    // Bit 14 is SIGTERM.
    return (caught >> 14n & 1n) === 1n ? true : undefined;
  });
  client.kill("SIGTERM");
  assertEquals(await client.exit(), 143);
});
