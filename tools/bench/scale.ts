/** `kvs scale`, idle and beside clients: how fast, in what memory, and how long clients wait. */
import { fromFileUrl, join } from "@std/path";
import { delay } from "@std/async/delay";
import { type PlacementName, PLACEMENTS } from "../../core/placement.ts";
import { valueOf } from "./dialects.ts";
import { type Effort } from "./measure.ts";
import { count, decimal, formatTable } from "./report.ts";
import { keyOf } from "./scale_keys.ts";
import { KVS_COMPILED, type RunningKvs, startKvs } from "./servers_deno.ts";
import { Child, cpuSeconds, makeFolder, peakBytes, run } from "./stage.ts";
import type { Outcome } from "./types.ts";

const KEYS = 300_000;
const VALUE_BYTES = 100;
const CLIENTS = 64;
const CLIENTS_PROGRAM = fromFileUrl(new URL("scale_clients.ts", import.meta.url));
const CONFIG = fromFileUrl(new URL("../../deno.json", import.meta.url));

/** How long the clients are measured before the move (ms). */
const BEFORE_MS = 5000;

/** How long the clients may take to warm up (ms). */
const WARM_MS = 2000;

/** How long making a layout, or flushing a disk, may take (ms). */
const STEP_MS = 300_000;

const POLL_MS = 50;

const LEAST_KEYS_PER_SECOND = 20_000;
const MOST_P999_MS = 250;
const MOST_WAIT_MS = 1000;
const MOST_RESIDENT = 150 * 2 ** 20;

/** A move to be measured. */
interface Case {
  readonly from: number;
  readonly to: number;
  readonly placement: PlacementName;
  readonly clients: number;
}

const CASES: readonly Case[] = [
  { from: 3, to: 4, placement: "jump", clients: 0 },
  { from: 3, to: 2, placement: "modulo", clients: 0 },
  { from: 3, to: 4, placement: "jump", clients: CLIENTS },
  { from: 3, to: 2, placement: "modulo", clients: CLIENTS },
];

/** What clients saw in a part of the time. */
interface Seen {
  readonly perSecond: number;
  readonly p50Ms: number;
  readonly p999Ms: number;
  readonly longestMs: number;
}

interface Result {
  readonly keys: number;
  readonly seconds: number;
  readonly residentBytes: number;
  readonly cpu: number;
  readonly serverCpu: number;
  readonly clients: { readonly parts: readonly Seen[]; readonly errors: number } | undefined;
}

/** Folders with all keys as files, each where placement puts it. */
async function writeFolders(folder: string, { from, to, placement }: Case): Promise<string[]> {
  const size = Math.max(from, to);
  const folders = Array.from({ length: size }, (_, index) => join(folder, `server-${index}`));
  for (const path of folders) await Deno.mkdir(path, { recursive: true });
  const filler = valueOf(VALUE_BYTES);
  const encoder = new TextEncoder();
  for (let index = 0; index < KEYS; index++) {
    const key = keyOf(index);
    const owner = folders[PLACEMENTS[placement](key, from)];
    Deno.writeFileSync(`${owner}/${key}`, encoder.encode((key + filler).slice(0, VALUE_BYTES)));
    // Lets a Ctrl-C through.
    if (index % 10_000 === 0) await delay(0);
  }
  await run("sync", [], STEP_MS);
  return folders;
}

async function measureCase(one: Case, effort: Effort): Promise<Result> {
  effort.say(`scale: writing ${count(KEYS)} key files`);
  const folders = await writeFolders(await makeFolder(effort.folder), one);
  const servers = await Promise.all(folders.map((folder) => startKvs(KVS_COMPILED, folder)));
  try {
    const names = servers.map(({ port }) => `127.0.0.1:${port}`);
    const list = names.slice(0, one.from).join(",");
    const [kvs, ...args] = KVS_COMPILED.command;
    const found = ["scale", list, "--servers", list, "--placement", one.placement];
    await run(kvs, [...args, ...found], STEP_MS);
    effort.say(`scale: moving from ${one.from} to ${one.to} by ${one.placement}`);
    return await measureMove(one, names, servers);
  } finally {
    await Promise.all(servers.map((server) => server.stop()));
  }
}

async function measureMove(
  one: Case,
  names: readonly string[],
  servers: readonly RunningKvs[],
): Promise<Result> {
  const clients = one.clients === 0 ? undefined : new Child(Deno.execPath(), [
    ...["run", "--allow-net", "--quiet", "--no-lock", "--config", CONFIG, CLIENTS_PROGRAM],
    ...[names.slice(0, one.from).join(","), String(KEYS), String(one.clients)],
  ]);
  try {
    if (clients !== undefined) {
      await clients.line(/^ready$/);
      await delay(WARM_MS);
      Deno.kill(clients.pid, "SIGUSR1");
      await delay(BEFORE_MS);
      Deno.kill(clients.pid, "SIGUSR1");
    }
    const move = await runMove(one, names, servers);
    if (clients === undefined) return { ...move, clients: undefined };
    Deno.kill(clients.pid, "SIGTERM");
    const [line] = await clients.line(/^\{"parts".*\}$/, STEP_MS);
    return { ...move, clients: JSON.parse(line) };
  } finally {
    await clients?.stop();
  }
}

async function runMove(
  { to }: Case,
  names: readonly string[],
  servers: readonly RunningKvs[],
): Promise<Omit<Result, "clients">> {
  const pids = servers.map(({ pid }) => pid);
  const before = await cpuSeconds(pids);
  const [command, ...args] = KVS_COMPILED.command;
  const child = new Child(command, [
    ...[...args, "scale", names.slice(0, to).join(","), "--servers", names[0] ?? ""],
    ...["--output", "json"],
  ]);
  let residentBytes = 0;
  let cpu = 0;
  const poll = setInterval(async () => {
    // A process that has just ended tells nothing.
    residentBytes = Math.max(residentBytes, await peakBytes(child.pid).catch(() => 0) || 0);
    cpu = Math.max(cpu, await cpuSeconds([child.pid]));
  }, POLL_MS);
  try {
    const [line] = await child.line(/^\{"event":"summary".*\}$/, STEP_MS);
    const { keys, seconds } = JSON.parse(line);
    await child.ended();
    return { keys, seconds, residentBytes, cpu, serverCpu: await cpuSeconds(pids) - before };
  } finally {
    clearInterval(poll);
    await child.stop();
  }
}

function titleOf({ from, to, placement, clients }: Case): string {
  return `${from} to ${to}, ${placement}, ${clients === 0 ? "idle" : `${clients} clients`}`;
}

function rowOf(
  one: Case,
  { keys, seconds, residentBytes, cpu, serverCpu, clients }: Result,
): string[] {
  const [, before, during] = clients?.parts ?? [];
  const told = before === undefined || during === undefined ? [] : [
    count(before.perSecond),
    count(during.perSecond),
    decimal(before.p999Ms),
    decimal(during.p999Ms),
    decimal(during.longestMs),
    String(clients?.errors),
  ];
  return [
    titleOf(one),
    count(keys),
    decimal(seconds),
    count(keys / seconds),
    decimal(residentBytes / 2 ** 20),
    decimal(cpu),
    decimal(serverCpu),
    ...told,
  ];
}

const HEADER = [
  "move",
  "keys moved",
  "seconds",
  "moved/s",
  "peak MiB",
  "CPU s",
  "servers' CPU s",
  "clients/s before",
  "during",
  "p99.9 ms before",
  "during",
  "longest ms",
  "errors",
];

function outcomesOf(one: Case, { keys, seconds, residentBytes, clients }: Result): Outcome[] {
  const title = `scale: ${titleOf(one)}`;
  const outcomes: Outcome[] = [{
    goal: `${title}: below 150 MiB resident at any time`,
    measured: `${decimal(residentBytes / 2 ** 20)} MiB`,
    passed: residentBytes < MOST_RESIDENT,
  }];
  const during = clients?.parts[2];
  if (during === undefined) {
    outcomes.push({
      goal: `${title}: at least ${count(LEAST_KEYS_PER_SECOND)} keys/s moved`,
      measured: count(keys / seconds),
      passed: keys / seconds >= LEAST_KEYS_PER_SECOND,
    });
    return outcomes;
  }
  outcomes.push({
    goal: `${title}: p99.9 of clients at most ${MOST_P999_MS} ms`,
    measured: `${decimal(during.p999Ms)} ms`,
    passed: during.p999Ms <= MOST_P999_MS,
  }, {
    goal: `${title}: no client waits over ${MOST_WAIT_MS} ms`,
    measured: `${decimal(during.longestMs)} ms, ${clients?.errors} errors`,
    passed: during.longestMs <= MOST_WAIT_MS && clients?.errors === 0,
  });
  return outcomes;
}

/** Runs all of it; returns the table as text and what came of the goals. */
export async function measureScale(effort: Effort): Promise<[string, Outcome[]]> {
  const rows: string[][] = [];
  const outcomes: Outcome[] = [];
  for (const one of CASES) {
    const result = await measureCase(one, effort);
    rows.push(rowOf(one, result));
    outcomes.push(...outcomesOf(one, result));
  }
  const title = `### scale: ${
    count(KEYS)
  } keys of ${VALUE_BYTES} B; clients load 9 times and save once\n\n`;
  return [title + formatTable(HEADER, rows) + "\n", outcomes];
}
