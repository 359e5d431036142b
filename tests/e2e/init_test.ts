/** Process 1 of a container: the system drops each signal there that it does not listen to. */
import { assert, assertEquals } from "@std/assert";
import { KVS, Running, TempDir, until } from "./program.ts";

/** What makes a process the first of a name space, and its end that of the other. */
const AS_INIT = ["--pid", "--fork", "--kill-child", "--mount-proc"];

async function canUnshare(): Promise<boolean> {
  try {
    const { success } = await new Deno.Command("unshare", {
      args: [...AS_INIT, "true"],
      stdout: "null",
      stderr: "null",
    }).output();
    return success;
  } catch {
    return false;
  }
}

const possible = await canUnshare();
if (!possible) console.log("Skipped: the tests of process 1 need root and unshare of util-linux");

/** Accepts no connection for good, so that whoever asks it waits. */
function silentServer(): Deno.TcpListener {
  return Deno.listen({ hostname: "127.0.0.1", port: 0 });
}

/** The process that `unshare` started, once it is there. */
async function childOf(pid: number): Promise<number> {
  return await until("unshare has a child", async () => {
    const children = await Deno.readTextFile(`/proc/${pid}/task/${pid}/children`);
    return children.trim() === "" ? undefined : Number(children);
  });
}

/** Runs `kvs ARGS` as process 1, sends it `signal` until it ends, and resolves to its exit code. */
async function endAsInit(args: readonly string[], signal: Deno.Signal): Promise<number> {
  const child = new Deno.Command("unshare", {
    args: [...AS_INIT, KVS, ...args],
    // Open for as long as it runs.
    stdin: "piped",
    stdout: "null",
    stderr: "null",
  }).spawn();
  let ended = false;
  const status = child.status.finally(() => ended = true);
  try {
    const init = await childOf(child.pid);
    await until(`${args.join(" ")} ends at ${signal}`, () => {
      if (ended) return true;
      // Its end may not have been told yet.
      try {
        Deno.kill(init, signal);
      } catch (error) {
        if (!(error instanceof Deno.errors.NotFound)) throw error;
      }
      return undefined;
    });
    return (await status).code;
  } finally {
    if (!ended) child.kill("SIGKILL");
    await status;
    await child.stdin.close().catch(() => {});
  }
}

Deno.test({
  name: "as process 1 every command ends at SIGINT, SIGTERM and SIGHUP, whatever it waits for",
  ignore: !possible,
  async fn() {
    await using dir = new TempDir();
    using server = silentServer();
    const { port } = server.addr;
    const servers = ["--servers", `127.0.0.1:${port}`];
    const waiting = ["--patience", "1000", "--timeout", "1000"];
    const commands = [
      ["put", "k", ...servers],
      ["get", "k", ...servers, ...waiting],
      ["keys", ...servers, ...waiting],
      ["delete", "k", ...servers, ...waiting],
      ["rebalance", `127.0.0.1:${port}`, `127.0.0.1:${port},127.0.0.1:1`, "--timeout", "1000"],
      ["client", `127.0.0.1:${port}`],
    ];
    const codes = { SIGINT: 130, SIGTERM: 143, SIGHUP: 129 } as const;
    for (const args of commands) {
      for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
        assertEquals([args[0], signal, await endAsInit(args, signal)], [
          args[0],
          signal,
          codes[signal],
        ]);
      }
    }
    // A role with an end of its own keeps it.
    const code = await endAsInit(["server", "0", dir.path, "--drain", "0"], "SIGTERM");
    assert(code === 0 || code === 143, `exit code ${code}`);
  },
});

/** State and parent of all processes, by id. */
async function processes(): Promise<Map<number, { state: string; parent: number }>> {
  const found = new Map<number, { state: string; parent: number }>();
  for await (const { name } of Deno.readDir("/proc")) {
    if (!/^\d+$/.test(name)) continue;
    const stat = await Deno.readTextFile(`/proc/${name}/stat`).catch(() => "");
    const [state = "", parent] = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    found.set(Number(name), { state, parent: Number(parent) });
  }
  return found;
}

Deno.test({
  name: "as process 1 kvs cluster waits for what it inherited, and still sees its servers end",
  ignore: !possible,
  async fn() {
    await using temp = new TempDir();
    await using cluster = new Running(
      ["cluster", "--port", "0", "--drain", "0", "--replicas", "1"],
      {
        shell: `exec unshare ${AS_INIT.join(" ")} "$0" "$@"`,
        env: { TMPDIR: temp.path },
      },
    );
    await cluster.line(/^server-0 is ready/);
    const init = await childOf(cluster.pid);
    // A shell that ends before the one it started: twice, so that one may be there when it is looked.
    for (let n = 0; n < 2; n++) {
      const { success } = await new Deno.Command("nsenter", {
        args: ["--target", String(init), "--pid", "sh", "-c", "sleep 0.5 & true"],
        stdout: "null",
      }).output();
      assert(success);
    }
    const inherited = [...await processes()].filter(([, { parent }]) => parent === init);
    // The server is one of its children.
    assert(inherited.length >= 2, `process 1 inherited nothing: ${JSON.stringify(inherited)}`);
    await until("process 1 has waited for what it inherited", async () => {
      const left = await processes();
      return inherited.filter(([pid]) => left.has(pid)).length === 1 ? true : undefined;
    });
    const server = [...await processes()].find(([, { parent }]) => parent === init)?.[0];
    assert(server !== undefined);
    Deno.kill(server, "SIGKILL");
    await cluster.line(/^server-0 died \(SIGKILL\): it is started again now$/);
  },
});
