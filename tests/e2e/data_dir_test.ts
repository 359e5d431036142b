import { assertEquals, assertMatch } from "@std/assert";
import { exists } from "@std/fs/exists";
import { walk } from "@std/fs/walk";
import { join } from "@std/path";
import { kvs, Running, Server, TempDir, until } from "./program.ts";

/** A file system in memory that the runtime opens no files of. */
const SHARED_MEMORY = "/dev/shm";
const MANY_KEYS = 200;
const hasSharedMemory = await exists(SHARED_MEMORY);

Deno.test({
  name: "a folder below /dev is refused in one honest line, and nothing is made in it",
  ignore: !hasSharedMemory,
  async fn() {
    await using temp = new TempDir();
    const name = `kvs-test-${crypto.randomUUID()}`;
    await using stack = new AsyncDisposableStack();
    stack.defer(() => Deno.remove(join(SHARED_MEMORY, name), { recursive: true }).catch(() => {}));
    const link = temp.join("link");
    await Deno.symlink(SHARED_MEMORY, link);
    const refusal = /^[^\n]*"\/dev\/shm[^"]*" is below \/dev, \/proc or \/sys[^\n]*\n$/;
    for (const folder of [join(SHARED_MEMORY, name), join(link, name)]) {
      const { code, stderr } = await kvs(["server", "0", folder, "--host", "127.0.0.1"]);
      assertEquals([code, await exists(folder)], [1, false]);
      assertMatch(stderr, refusal);
    }
    const marked = await kvs(["lifecycle", "prestop", SHARED_MEMORY]);
    assertEquals(marked.code, 1);
    assertMatch(marked.stderr, refusal);
  },
});

/** The modes of all in a folder, by what it is. */
async function modesIn(folder: string): Promise<{ folders: Set<string>; files: Set<string> }> {
  const folders = new Set<string>();
  const files = new Set<string>();
  for await (const { path, isDirectory } of walk(folder)) {
    const { mode } = await Deno.stat(path);
    (isDirectory ? folders : files).add((mode ?? 0).toString(8).slice(-4));
  }
  return { folders, files };
}

/** Has a server make every kind of file there is, and ends it so that they stay. */
async function makeFiles(folder: string): Promise<void> {
  await using server = await Server.start(folder);
  // So many are made by a thread of their own.
  const lines = Array.from({ length: MANY_KEYS }, (_, i) => {
    return JSON.stringify({ op: "put", key: `k${i}`, value: "v" });
  });
  await server.ask("/v1/batch", { method: "POST", body: lines.join("\n") });
  await until("the files are made", () => exists(join(folder, "k0")).then((is) => is || undefined));
  await server.ask("/v1/keys/large", { method: "PUT", body: new Uint8Array(100_000) });
  const headers = { "content-type": "text/plain" };
  await server.ask("/v1/keys/typed", { method: "PUT", body: "v", headers });
  await until("it is a file", () => exists(join(folder, "typed")).then((is) => is || undefined));
  await server.ask("/save/last/one");
  assertEquals((await kvs(["lifecycle", "prestop", folder])).code, 0);
  server.kill("SIGKILL");
  await server.exit();
}

Deno.test({
  name:
    "what a server and a hook make is for their user alone, and for the group of a shared volume",
  ignore: Deno.build.os !== "linux",
  async fn() {
    await using temp = new TempDir();
    const missing = temp.join("a", "missing");
    await makeFiles(missing);
    assertEquals(await modesIn(temp.join("a")), {
      folders: new Set(["0700"]),
      files: new Set(["0600"]),
    });
    const table = [
      [0o755, ["0755", "0700"], ["0600"]],
      // A volume with fsGroup.
      [0o2775, ["2775", "2770"], ["0660"]],
      [0o777, ["0777", "0770"], ["0660"]],
    ] as const;
    await Promise.all(table.map(async ([before, folders, files]) => {
      const folder = temp.join(`there-${before}`);
      await Deno.mkdir(folder);
      await Deno.chmod(folder, before);
      await makeFiles(folder);
      const modes = await modesIn(folder);
      assertEquals(modes, { folders: new Set(folders), files: new Set(files) });
    }));
  },
});

Deno.test("a second server is refused also where the lock file was removed by hand, or all of .kvs", async () => {
  for (const removed of [".kvs/lock", ".kvs"]) {
    await using temp = new TempDir();
    await using server = await Server.start(temp.path);
    await server.ask("/save/key/value");
    await until("the checkpoint is done, and needs the hidden folder no more", async () => {
      const { body } = await server.ask("/metrics");
      return body.includes("\nkvs_checkpoints_total 1\n") || undefined;
    });
    await Deno.remove(temp.join(removed), { recursive: true });
    for (let attempt = 0; attempt < 2; attempt++) {
      await using second = new Running(["server", "0", temp.path, "--host", "127.0.0.1"]);
      await second.line(/^Cannot use data directory .* held by another server, .*$/);
      assertEquals(await second.exit(), 1);
    }
    const marked = await kvs(["lifecycle", "prestop", temp.path]);
    assertEquals([marked.code, await exists(temp.join("_shutting_down_"))], [1, true]);
    assertMatch(marked.stderr, /^Cannot tell who holds [^\n]+: its lock file was removed\n$/);
    assertEquals((await server.ask("/healthz")).status, 200);
  }
});
