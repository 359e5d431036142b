/** A million keys: how fast a server is ready, what memory they take, whether loads get slower. */
import { join } from "@std/path";
import { KVS_V1 } from "./dialects.ts";
import { httpLoad, rawLoad } from "./generators.ts";
import { writeKeyFiles } from "./key_files.ts";
import { type Effort, LEAD_IN_SECONDS, trafficOf } from "./measure.ts";
import { count, decimal, formatTable, milliseconds } from "./report.ts";
import { KVS_PROGRAMS, type KvsProgram, startKvs } from "./servers_deno.ts";
import { makeFolder, residentBytes } from "./stage.ts";
import { medianOf } from "./statistics.ts";
import type { Outcome, Sample } from "./types.ts";

const MANY = 1_000_000;
const FEW = 1_000;
const TRAFFIC = { loadShare: 1, inFlight: 64, prefix: "m", valueBytes: 100 };

const MAX_READY_MS = 5_000;
const MAX_BYTES_PER_KEY = 400;
const MIN_THROUGHPUT = 0.8;

interface Facts {
  /** Readiness on the folder as it was found, and once more after a clean end. */
  readonly readyMs: readonly [number, number];
  readonly bytes: Readonly<Record<"emptyReady" | "ready" | "fewLoaded" | "loaded", number>>;
  /** Loads over few of few keys, over few of many keys, over all of many keys. */
  readonly few: readonly Sample[];
  readonly fewOfMany: readonly Sample[];
  readonly all: readonly Sample[];
}

async function factsOf(
  program: KvsProgram,
  manyDir: string,
  folder: string,
  effort: Effort,
): Promise<Facts> {
  const fewDir = join(folder, `few-${program.id}`);
  const emptyDir = join(folder, `empty-${program.id}`);
  await writeKeyFiles(fewDir, TRAFFIC.prefix, { ...TRAFFIC, keys: FEW });

  const none = await startKvs(program, emptyDir);
  const emptyReady = await residentBytes(none.pid);
  await none.finish();

  const first = await startKvs(program, manyDir);
  await first.finish();
  const many = await startKvs(program, manyDir);
  const small = await startKvs(program, fewDir);
  const ready = await residentBytes(many.pid);

  const loads = (port: number, keys: number, seconds: number) =>
    trafficOf({ ...TRAFFIC, keys }, KVS_V1, port, seconds);
  const measured = async (port: number, keys: number) => {
    await httpLoad(loads(port, keys, LEAD_IN_SECONDS), folder);
    return await httpLoad(loads(port, keys, effort.seconds), folder);
  };
  // Answers are checked here.
  await rawLoad(loads(small.port, FEW, 1), folder);
  await rawLoad(loads(many.port, FEW, 1), folder);
  const facts = {
    few: new Array<Sample>(),
    fewOfMany: new Array<Sample>(),
    all: new Array<Sample>(),
  };
  for (let round = 0; round < effort.rounds; round++) {
    facts.few.push(await measured(small.port, FEW));
    facts.fewOfMany.push(await measured(many.port, FEW));
    facts.all.push(await measured(many.port, MANY));
  }
  const loaded = await residentBytes(many.pid);
  const fewLoaded = await residentBytes(small.pid);
  await Promise.all([many.stop(), small.stop()]);
  return {
    ...facts,
    readyMs: [first.readyMs, many.readyMs],
    bytes: { emptyReady, ready, fewLoaded, loaded },
  };
}

function rowsOf(facts: Facts): [string, string][] {
  const { readyMs, bytes, few, fewOfMany, all } = facts;
  const rate = (samples: readonly Sample[]) =>
    `${count(medianOf(samples, ({ perSecond }) => perSecond))} (p99 ` +
    `${milliseconds(medianOf(samples, ({ p99Ms }) => p99Ms))} ms)`;
  const mebibytes = (value: number) => count(value / 2 ** 20);
  return [
    ["ready after, ms: first start", count(readyMs[0])],
    ["ready after, ms: next start", count(readyMs[1])],
    ["resident MiB, no keys, ready", mebibytes(bytes.emptyReady)],
    ["resident MiB, 1,000,000 keys, ready", mebibytes(bytes.ready)],
    ["resident MiB, 1,000 keys, after loads", mebibytes(bytes.fewLoaded)],
    ["resident MiB, 1,000,000 keys, after loads (with the cache)", mebibytes(bytes.loaded)],
    ["loads/s over 1,000 keys of 1,000", rate(few)],
    ["loads/s over 1,000 keys of 1,000,000", rate(fewOfMany)],
    ["loads/s over 1,000,000 keys of 1,000,000", rate(all)],
  ];
}

function outcomesOf(facts: Facts, label: string): Outcome[] {
  const { readyMs, bytes, few, fewOfMany, all } = facts;
  const slowest = Math.max(...readyMs);
  const perKeyReady = (bytes.ready - bytes.emptyReady) / MANY;
  const perKeyLoaded = (bytes.loaded - bytes.fewLoaded) / MANY;
  const ratio = (samples: readonly Sample[]) =>
    medianOf(samples.map((sample, i) => sample.perSecond / (few[i]?.perSecond ?? NaN)), Number);
  return [
    {
      goal: `million: ready within ${MAX_READY_MS / 1000} s (${label})`,
      measured: `${decimal(slowest / 1000)} s`,
      passed: slowest <= MAX_READY_MS,
    },
    {
      goal: `million: at most ${MAX_BYTES_PER_KEY} resident bytes a key when ready (${label})`,
      measured: count(perKeyReady),
      passed: perKeyReady <= MAX_BYTES_PER_KEY,
    },
    {
      goal: `million: the same after loads, the cache counted in (${label})`,
      measured: count(perKeyLoaded),
      passed: perKeyLoaded <= MAX_BYTES_PER_KEY,
    },
    {
      goal: `million: loads of the same 1,000 keys at least ${MIN_THROUGHPUT} of those with ` +
        `1,000 keys stored (${label})`,
      measured: decimal(ratio(fewOfMany)),
      passed: ratio(fewOfMany) >= MIN_THROUGHPUT,
    },
    {
      goal: `million: loads over all keys, not cached, at least ${MIN_THROUGHPUT} of those over ` +
        `1,000 keys (${label})`,
      measured: decimal(ratio(all)),
      passed: ratio(all) >= MIN_THROUGHPUT,
    },
  ];
}

/** Runs all of it; returns the table as text and what came of the goals. */
export async function measureMillion(effort: Effort): Promise<[string, Outcome[]]> {
  const folder = await makeFolder(effort.folder);
  const manyDir = join(folder, "many");
  effort.say("writing 1,000,000 key files");
  await writeKeyFiles(manyDir, TRAFFIC.prefix, { ...TRAFFIC, keys: MANY });
  const outcomes: Outcome[] = [];
  const columns: [string, string][][] = [];
  for (const program of KVS_PROGRAMS) {
    effort.say(`measuring kvs with 1,000,000 keys, ${program.label}`);
    const facts = await factsOf(program, manyDir, folder, effort);
    columns.push(rowsOf(facts));
    outcomes.push(...outcomesOf(facts, program.id === "kvs" ? "compiled" : "source"));
  }
  const names = columns[0]?.map(([name]) => name) ?? [];
  const rows = names.map((name, i) => [name, ...columns.map((column) => column[i]?.[1] ?? "-")]);
  const header = ["fact", ...KVS_PROGRAMS.map(({ label }) => label)];
  const title = "### million: 1,000,000 keys of 100 B, v1 loads, 64 in flight\n\n";
  return [title + formatTable(header, rows) + "\n", outcomes];
}
