/** Rebalance from three servers to two: how fast, in what memory, and beside the plain way. */
import { join } from "@std/path";
import { modulo } from "../../core/placement.ts";
import { valueOf } from "./dialects.ts";
import { type Effort } from "./measure.ts";
import { count, decimal, formatTable } from "./report.ts";
import { KVS_COMPILED, type RunningKvs, startKvs } from "./servers_deno.ts";
import { Child, cpuSeconds, makeFolder, peakBytes, run } from "./stage.ts";
import type { Outcome } from "./types.ts";

const SIZES = [10_000, 100_000, 1_000_000];
const SERVERS = 3;
const VALUE_BYTES = 100;
const POLL_MS = 50;

/** How long a disk may take for all key files. */
const SYNC_MS = 300_000;

/** How long the plain way is measured. */
const PLAIN_SECONDS = 3;

const LEAST_KEYS_PER_SECOND = 20_000;
const MOST_RESIDENT = 150 * 2 ** 20;
const MOST_GROWTH = 1.2;
/** How much longer a key may take among a million than among 100,000. */
const MOST_SLOWDOWN = 1.5;

interface Run {
  readonly keys: number;
  readonly moved: number;
  readonly seconds: number;
  readonly phases: Readonly<Record<string, number>>;
  /** Most resident memory of the rebalance process at any time. */
  readonly residentBytes: number;
  /** CPU seconds of the rebalance process, and of all servers while it ran. */
  readonly cpu: number;
  readonly serverCpu: number;
}

interface Summary {
  readonly keys: number;
  readonly moved: number;
  readonly seconds: number;
  readonly phases: Readonly<Record<string, number>>;
}

function keyOf(index: number): string {
  return `key-${String(index).padStart(8, "0")}`;
}

/** Folders with `keys` key files, each where modulo puts it, each with a value of its own. */
async function writeFolders(folder: string, keys: number): Promise<string[]> {
  const folders = Array.from({ length: SERVERS }, (_, index) => join(folder, `server-${index}`));
  for (const path of folders) await Deno.mkdir(path, { recursive: true });
  const filler = valueOf(VALUE_BYTES);
  const encoder = new TextEncoder();
  for (let index = 0; index < keys; index++) {
    const key = keyOf(index);
    const value = (key + filler).slice(0, VALUE_BYTES);
    Deno.writeFileSync(`${folders[modulo(key, SERVERS)]}/${key}`, encoder.encode(value));
    // Lets a Ctrl-C through.
    if (index % 10_000 === 0) await new Promise((resolve) => setTimeout(resolve, 0));
  }
  // Else the disk is still at gigabytes of this while keys are moved.
  await run("sync", [], SYNC_MS);
  return folders;
}

function isSummary(event: unknown): event is Summary {
  return typeof event === "object" && event !== null && "event" in event &&
    event.event === "summary";
}

async function runOnce(servers: readonly RunningKvs[], extra: readonly string[]): Promise<Run> {
  const names = servers.map(({ port }) => `127.0.0.1:${port}`);
  const pids = servers.map(({ pid }) => pid);
  const before = await cpuSeconds(pids);
  const [command, ...args] = KVS_COMPILED.command;
  const lists = [names.join(","), names.slice(0, -1).join(",")];
  const child = new Child(command, [...args, "rebalance", ...lists, "--output", "json", ...extra]);
  let residentBytes = 0;
  let cpu = 0;
  const poll = setInterval(async () => {
    // A process that has just ended tells nothing.
    residentBytes = Math.max(residentBytes, await peakBytes(child.pid).catch(() => 0) || 0);
    cpu = Math.max(cpu, await cpuSeconds([child.pid]));
  }, POLL_MS);
  try {
    const [line] = await child.line(/^\{"event":"summary".*\}$/, Infinity);
    const summary: unknown = JSON.parse(line);
    if (!isSummary(summary)) throw new Error(`no summary: ${line}`);
    await child.ended();
    return { ...summary, residentBytes, cpu, serverCpu: await cpuSeconds(pids) - before };
  } finally {
    clearInterval(poll);
    await child.stop();
  }
}

/** Keys per second of one request after another, nothing read back. */
async function plainWay(servers: readonly RunningKvs[]): Promise<number> {
  const start = performance.now();
  let keys = 0;
  const ask = async (index: number, path: string, init?: RequestInit) => {
    const response = await fetch(`http://127.0.0.1:${servers[index]?.port}/v1/keys/${path}`, init);
    const body = await response.arrayBuffer();
    if (!response.ok) throw new Error(`the plain way was answered ${response.status}`);
    return body;
  };
  for (let index = 0; performance.now() - start < PLAIN_SECONDS * 1000; index++) {
    const key = keyOf(index);
    const [from, to] = [modulo(key, SERVERS), modulo(key, SERVERS - 1)];
    if (from === to) continue;
    await ask(to, key, { method: "PUT", body: await ask(from, key) });
    keys++;
  }
  return keys / ((performance.now() - start) / 1000);
}

async function measureSize(
  keys: number,
  effort: Effort,
): Promise<{ readonly run: Run; readonly plain: number }> {
  effort.say(`rebalance: writing ${count(keys)} key files`);
  const folders = await writeFolders(await makeFolder(effort.folder), keys);
  const servers = await Promise.all(folders.map((folder) => startKvs(KVS_COMPILED, folder)));
  try {
    // What the runtime compiles and the allocator keeps comes with the first keys: not measured.
    effort.say(`rebalance: moving ${count(keys)} keys from three servers to two`);
    const run = await runOnce(servers, []);
    effort.say(`rebalance: ${count(run.keys / run.seconds)} keys/s; now the plain way`);
    return { run, plain: await plainWay(servers) };
  } finally {
    await Promise.all(servers.map((server) => server.stop()));
  }
}

function rowOf({ run, plain }: { readonly run: Run; readonly plain: number }): string[] {
  const phases = Object.entries(run.phases ?? {}).map(([name, seconds]) =>
    `${name} ${decimal(seconds)}`
  );
  return [
    count(run.keys),
    count(run.keys / run.seconds),
    count(run.moved / run.seconds),
    decimal(run.seconds),
    phases.join(", "),
    decimal(run.residentBytes / 2 ** 20),
    decimal(run.cpu),
    decimal(run.serverCpu),
    count(plain),
    decimal(run.moved / run.seconds / plain),
  ];
}

const HEADER = [
  "keys",
  "seen/s",
  "moved/s",
  "seconds",
  "seconds by phase",
  "peak MiB",
  "CPU s",
  "servers' CPU s",
  "plain way moved/s",
  "times faster",
];

/** Runs all of it; returns the table as text and what came of the goals. */
export async function measureRebalance(effort: Effort): Promise<[string, Outcome[]]> {
  const results: { readonly run: Run; readonly plain: number }[] = [];
  for (const keys of SIZES) results.push(await measureSize(keys, effort));
  const runOf = (keys: number) => results.find(({ run }) => run.keys === keys)?.run;
  const [hundred, million] = [runOf(100_000), runOf(1_000_000)];
  const rate = million === undefined ? NaN : million.keys / million.seconds;
  const peak = million?.residentBytes ?? NaN;
  const growth = peak / (hundred?.residentBytes ?? NaN);
  const slowdown = (hundred === undefined ? NaN : hundred.keys / hundred.seconds) / rate;
  const title = "### rebalance: three servers to two, values of 100 B, each key read back and " +
    "compared\n\n";
  return [title + formatTable(HEADER, results.map(rowOf)) + "\n", [
    {
      goal: `rebalance: at least ${count(LEAST_KEYS_PER_SECOND)} keys/s seen, of 1,000,000`,
      measured: count(rate),
      passed: rate >= LEAST_KEYS_PER_SECOND,
    },
    {
      goal: "rebalance: below 150 MiB resident at any time",
      measured: `${decimal(peak / 2 ** 20)} MiB`,
      passed: peak < MOST_RESIDENT,
    },
    {
      goal: `rebalance: at most ${MOST_GROWTH} times the memory of 100,000 keys`,
      measured: decimal(growth),
      passed: growth <= MOST_GROWTH,
    },
    {
      goal: `rebalance: a key among 1,000,000 takes at most ${MOST_SLOWDOWN} times one of 100,000`,
      measured: decimal(slowdown),
      passed: slowdown <= MOST_SLOWDOWN,
    },
  ]];
}
