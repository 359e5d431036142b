/** What runs on Deno: kvs itself, and the bare servers that are its limit. */
import { fromFileUrl, join } from "@std/path";
import { ensureDir } from "@std/fs/ensure-dir";
import { COMPILED, KVS_BINARY, KVS_SOURCE, NO_VERSION, type Runtime, SOURCE } from "./runtimes.ts";
import { V8_FLAGS } from "../v8_flags.ts";
import { Child } from "./stage.ts";
import type { Running, Server } from "./types.ts";

const BARE_SERVER = fromFileUrl(new URL("bare_server.ts", import.meta.url));
const BARE_NODE_SERVER = fromFileUrl(new URL("bare_node_server.ts", import.meta.url));

/** The sizes of constants that bare servers answer; workloads have no others. */
export const VALUE_SIZES: readonly number[] = [1, 100, 1024, 65536];

/** A `kvs server` that is running. */
export interface RunningKvs extends Running {
  readonly pid: number;
  readonly port: number;
  /** Milliseconds from the start of the process to readiness. */
  readonly readyMs: number;
  /** Ends it as Ctrl-C does and waits. */
  finish(): Promise<void>;
}

/** Starts `kvs server` on a folder and waits until it is ready. */
export async function startKvs(program: KvsProgram, dataDir: string): Promise<RunningKvs> {
  const start = performance.now();
  const [command, ...args] = program.command;
  const child = new Child(command, [...args, "server", "0", dataDir, "--host", "127.0.0.1"]);
  const [, text] = await child.line(/127\.0\.0\.1:(\d+)/);
  const port = Number(text);
  await child.until("being ready", async () => {
    // One that ends meanwhile refuses; what it said is then in the error of until().
    const response = await fetch(`http://127.0.0.1:${port}/readyz`).catch(() => undefined);
    await response?.body?.cancel();
    return response?.ok ? true : undefined;
  });
  return {
    pid: child.pid,
    pids: [child.pid],
    port,
    ports: { main: port },
    readyMs: performance.now() - start,
    stop: () => child.stop(),
    finish: () => child.stop("SIGINT"),
  };
}

/** A way to run kvs. */
export interface KvsProgram {
  readonly id: string;
  readonly label: string;
  readonly runtime: Runtime;
  readonly command: readonly [string, ...string[]];
}

export const KVS_COMPILED: KvsProgram = {
  id: "kvs",
  label: `compiled, Deno ${COMPILED.version}`,
  runtime: COMPILED,
  command: [KVS_BINARY],
};

export const KVS_FROM_SOURCE: KvsProgram = {
  id: "source",
  label: `source, Deno ${SOURCE.version}`,
  runtime: SOURCE,
  command: [Deno.execPath(), "run", "--allow-all", "--quiet", V8_FLAGS, KVS_SOURCE],
};

/** Both ways to run kvs. */
export const KVS_PROGRAMS: readonly KvsProgram[] = [KVS_COMPILED, KVS_FROM_SOURCE];

function missingKvs({ runtime, id }: KvsProgram): Promise<string | undefined> {
  const missing = id === "kvs" && runtime.version === NO_VERSION;
  return Promise.resolve(missing ? "dist/kvs is missing: run deno task compile" : undefined);
}

/** kvs as a server under test. */
export function kvsServer(program: KvsProgram): Server {
  return {
    name: `kvs (${program.label})`,
    keys: "files",
    caches: true,
    missing: () => missingKvs(program),
    start: ({ folder }) => startKvs(program, join(folder, "data")),
  };
}

/** Why programs cannot be run on `runtime`. */
export function missingRuntime({ deno, version }: Runtime): Promise<string | undefined> {
  return Promise.resolve(deno === undefined ? `no Deno ${version} to run it` : undefined);
}

/** A `Deno.serve` that answers constants. */
export function bareServer(runtime: Runtime): Server {
  return constantServer("Deno.serve", BARE_SERVER, runtime);
}

/** A server of `node:http` that answers constants, with the limits of `kvs server`. */
export function bareNodeServer(runtime: Runtime): Server {
  return constantServer("node:http", BARE_NODE_SERVER, runtime);
}

function constantServer(kind: string, program: string, runtime: Runtime): Server {
  return {
    name: `bare ${kind} (Deno ${runtime.version})`,
    keys: "none",
    missing: () => missingRuntime(runtime),
    async start() {
      const args = ["run", "--allow-net", "--quiet", "--no-config", "--no-lock", program];
      const child = new Child(runtime.deno ?? "", [...args, ...VALUE_SIZES.map(String)]);
      const [line] = await child.line(/^\{.*\}$/);
      const ports: Record<string, number> = JSON.parse(line);
      return { pids: [child.pid], ports, stop: () => child.stop() };
    },
  };
}

/** No server: for what is measured within one process. */
export const NO_SERVER: Server = {
  name: "none",
  keys: "none",
  missing: () => Promise.resolve(undefined),
  async start({ folder }) {
    await ensureDir(folder);
    return { pids: [], ports: { main: 0 }, stop: () => Promise.resolve() };
  },
};
