/** Loads beside a full write load: what a writer does to a reader's latency. */
import { join } from "@std/path";
import { FILES, KVS_V1, RESP } from "./dialects.ts";
import { rawLoad } from "./generators.ts";
import { type Effort, failureOf, LEAD_IN_SECONDS, trafficOf } from "./measure.ts";
import { count, decimal, formatTable, milliseconds } from "./report.ts";
import { bareServer, KVS_PROGRAMS, kvsServer } from "./servers_deno.ts";
import { REDIS } from "./servers_debian.ts";
import { makeFolder, settle } from "./stage.ts";
import { medianOf } from "./statistics.ts";
import type { Dialect, Outcome, Running, Sample, Server } from "./types.ts";

const KEYS = 10_000;
const LOADS = { loadShare: 1, keys: KEYS, prefix: "l", valueBytes: 1024 };
// Other keys than those that are loaded: a load waits for no save of its own key.
const SAVES = { loadShare: 0, keys: KEYS, prefix: "s", valueBytes: 1024, inFlight: 64 };
const LOADERS = [64, 8];
const MAX_FACTOR = 5;

/** A round here takes twice as long as elsewhere. */
const MAX_ROUNDS = 2;

/** How long the write load goes on when the loads should be over. */
const MARGIN_SECONDS = 0.5;

interface Member {
  readonly label: string;
  readonly server: Server;
  readonly dialect: Dialect;
  readonly port: string;
  /** What it is called in the goal; who has none is there to be looked at. */
  readonly goal?: string;
}

const CONTENDERS: readonly Member[] = [
  ...KVS_PROGRAMS.map((program) => ({
    label: `kvs v1 (${program.label})`,
    server: kvsServer(program),
    dialect: KVS_V1,
    port: "main",
    goal: program.id === "kvs" ? "compiled" : "source",
  })),
  // They only drop what is saved: how long loads take beside that is the doing of the machine and the runtime.
  ...KVS_PROGRAMS.map(({ runtime }) => ({
    label: `limit: bare Deno.serve (Deno ${runtime.version})`,
    server: bareServer(runtime),
    dialect: FILES,
    port: `any-${LOADS.valueBytes}`,
  })),
  { label: "Redis, appendfsync always", server: REDIS, dialect: RESP, port: "main" },
];

interface Pair {
  readonly alone: Sample;
  readonly beside: Sample;
  readonly saves: Sample;
}

/** Measures loads alone and beside saves, in turn. */
async function measurePairs(
  { dialect, port: name }: Member,
  running: Running,
  loaders: number,
  folder: string,
  effort: Effort,
): Promise<Pair[]> {
  const port = running.ports[name] ?? 0;
  const loads = trafficOf({ ...LOADS, inFlight: loaders }, dialect, port, effort.seconds);
  const saves = trafficOf(SAVES, dialect, port, LEAD_IN_SECONDS + effort.seconds + MARGIN_SECONDS);
  const pairs: Pair[] = [];
  for (let round = 0; round < Math.min(effort.rounds, MAX_ROUNDS); round++) {
    await settle(running.pids);
    await rawLoad({ ...loads, seconds: LEAD_IN_SECONDS }, folder);
    const alone = await rawLoad(loads, folder);
    const saving = rawLoad(saves, folder);
    await new Promise((resolve) => setTimeout(resolve, LEAD_IN_SECONDS * 1000));
    const [beside, written] = await Promise.all([rawLoad(loads, folder), saving]);
    pairs.push({ alone, beside, saves: written });
  }
  return pairs;
}

/** Runs all of it; returns the table as text and what came of the goal. */
export async function measureWriteLoad(effort: Effort): Promise<[string, Outcome[]]> {
  const rows: string[][] = [];
  const outcomes: Outcome[] = [];
  for (const member of CONTENDERS) {
    const missing = await member.server.missing();
    if (missing !== undefined) {
      rows.push([`${member.label}: ${missing}`]);
      continue;
    }
    const folder = await makeFolder(effort.folder);
    await Deno.mkdir(join(folder, "data"));
    const running = await member.server.start({ folder, durable: true });
    try {
      const port = running.ports[member.port] ?? 0;
      for (const { prefix } of [LOADS, SAVES]) {
        await rawLoad(trafficOf({ ...SAVES, prefix }, member.dialect, port, undefined), folder);
      }
      await rawLoad(trafficOf({ ...LOADS, inFlight: 64 }, member.dialect, port, 1), folder);
      for (const loaders of LOADERS) {
        const pairs = await measurePairs(member, running, loaders, folder, effort);
        const alone = medianOf(pairs, (pair) => pair.alone.p99Ms);
        const beside = medianOf(pairs, (pair) => pair.beside.p99Ms);
        const factor = medianOf(pairs, (pair) => pair.beside.p99Ms / pair.alone.p99Ms);
        rows.push([
          `${member.label}, ${loaders} loads in flight`,
          count(medianOf(pairs, (pair) => pair.alone.perSecond)),
          milliseconds(alone),
          count(medianOf(pairs, (pair) => pair.beside.perSecond)),
          milliseconds(beside),
          count(medianOf(pairs, (pair) => pair.saves.perSecond)),
          decimal(factor),
        ]);
        if (member.goal === undefined) continue;
        outcomes.push({
          goal: `write-load: p99 of ${loaders} loads beside 64 saves in flight at most ` +
            `${MAX_FACTOR} x that without (${member.goal})`,
          measured: `${decimal(factor)} (${milliseconds(alone)} -> ${milliseconds(beside)} ms)`,
          passed: factor <= MAX_FACTOR,
        });
      }
    } catch (error) {
      rows.push([`${member.label}: ${failureOf(error).slice(0, 100)}`]);
    } finally {
      await running.stop();
    }
  }
  const header = [
    "contender",
    "loads/s alone",
    "p99 ms",
    "loads/s beside saves",
    "p99 ms",
    "saves/s",
    "p99 times",
  ];
  const title = "### write-load: loads alone and beside 64 durable saves in flight, 1 KiB\n\n";
  const note =
    "\nTwo generators and the server share the cores here: built-in generator for both.\n";
  return [title + formatTable(header, rows) + "\n" + note, outcomes];
}
