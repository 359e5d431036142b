/**
 * `deno task bench [--seconds N] [--rounds N] [--only NAME,...] [--against FILE,...] [--json FILE]
 * [--folder DIR]`: measures kvs beside what limits it and what a user would pick instead, all in one run and in turn.
 * Starts every server itself, on loopback and in folders of its own, and ends them all.
 *
 * @module
 */
import { parseArgs } from "@std/cli/parse-args";
import { fromFileUrl } from "@std/path";
import { C, otherBuild } from "./bench/contenders.ts";
import { judge } from "./bench/goals.ts";
import { machineFacts } from "./bench/machine.ts";
import {
  type Effort,
  failureOf,
  LEAD_IN_SECONDS,
  measure,
  messageOf,
  type Table,
  WARM_UP_SECONDS,
} from "./bench/measure.ts";
import { measureMillion } from "./bench/million.ts";
import { measureRebalance } from "./bench/rebalance.ts";
import { formatOutcomes, formatWorkload } from "./bench/report.ts";
import { measureScale } from "./bench/scale.ts";
import { closeStage } from "./bench/stage.ts";
import type { Outcome } from "./bench/types.ts";
import { WORKLOADS } from "./bench/workloads.ts";
import { measureWriteLoad } from "./bench/write_load.ts";

/** What is measured in another way than the workloads. */
const SPECIAL: Readonly<Record<string, (effort: Effort) => Promise<[string, Outcome[]]>>> = {
  "write-load": measureWriteLoad,
  "million": measureMillion,
  "rebalance": measureRebalance,
  "scale": measureScale,
};

const NAMES = [...WORKLOADS.map(({ name }) => name), ...Object.keys(SPECIAL)];

const HELP = `Measures kvs beside what limits it and what a user would pick instead.

Usage: deno task bench [options]

  --seconds N      Length of a round (default: 1)
  --rounds N       Rounds of each contender, taken in turn; medians are shown (default: 3)
  --only NAME,...  Only what begins with one of these names
  --against FILE,...  Beside other builds of kvs instead of other stores: what is a change worth?
  --json FILE      Write every round to a file
  --folder DIR     Where to put data: on the disk to be measured (default: dist)

Names: ${NAMES.join(", ")}`;

interface Options {
  readonly seconds: number;
  readonly rounds: number;
  readonly only: readonly string[];
  /** Other builds of kvs, which take the place of the contenders. */
  readonly against: readonly string[];
  readonly json: string | undefined;
  readonly folder: string;
}

function wholeNumber(text: string, name: string): number {
  if (!/^[1-9]\d{0,2}$/.test(text)) throw new Error(`--${name} must be from 1 to 999: "${text}"`);
  return Number(text);
}

function readOptions(argv: readonly string[]): Options | undefined {
  const parsed = parseArgs([...argv], {
    boolean: ["help"],
    string: ["seconds", "rounds", "only", "against", "json", "folder"],
    alias: { h: "help" },
    unknown: (arg) => {
      throw new Error(`unknown argument: ${arg}`);
    },
  });
  if (parsed.help) return undefined;
  const text = (name: string) => {
    const value = parsed[name];
    return typeof value === "string" ? value : undefined;
  };
  const only = text("only")?.split(",") ?? [""];
  for (const name of only) {
    if (!NAMES.some((known) => known.startsWith(name))) {
      throw new Error(`nothing is named "${name}": ${NAMES.join(", ")}`);
    }
  }
  return {
    seconds: wholeNumber(text("seconds") ?? "1", "seconds"),
    rounds: wholeNumber(text("rounds") ?? "3", "rounds"),
    only,
    against: text("against")?.split(",") ?? [],
    json: text("json"),
    folder: text("folder") ?? fromFileUrl(new URL("../dist", import.meta.url)),
  };
}

async function bench(options: Options): Promise<void> {
  const start = performance.now();
  const seconds = () => Math.round((performance.now() - start) / 1000);
  const effort = { ...options, say: (line: string) => console.error(`${seconds()} s: ${line}`) };
  const chosen = (name: string) => options.only.some((prefix) => name.startsWith(prefix));

  const facts = await machineFacts(options.folder);
  console.log(`## kvs bench\n\n${facts.map((fact) => `- ${fact}`).join("\n")}`);
  console.log(
    `- medians of ${options.rounds} rounds of ${options.seconds} s, contenders in turn, each after ` +
      `${WARM_UP_SECONDS} s under load and, before each round, ${LEAD_IN_SECONDS} s; CPU is the server's, of one core; "kvs / it": kvs v1 compiled, ` +
      `"source / it": kvs v1 from source\n`,
  );

  const tables: Table[] = [];
  const workloads = WORKLOADS.filter(({ name }) => chosen(name));
  const isPaired = options.against.length > 0;
  const pair = [C.kvs, ...options.against.map(otherBuild)];
  const compared = isPaired
    ? workloads.map((workload) => ({ ...workload, contenders: pair }))
    : workloads;
  for await (const table of measure(compared, effort)) {
    tables.push(table);
    console.log(formatWorkload(table));
  }
  const outcomes = isPaired ? [] : judge(tables);
  for (const [name, measureSpecial] of Object.entries(SPECIAL)) {
    if (isPaired || !chosen(name)) continue;
    effort.say(`measuring ${name}`);
    try {
      const [text, more] = await measureSpecial(effort);
      console.log(text);
      outcomes.push(...more);
    } catch (error) {
      console.log(`### ${name}\n\nNot measured: ${failureOf(error)}\n`);
    }
  }
  if (!isPaired) console.log(formatOutcomes(outcomes));
  console.log(`Took ${seconds()} s`);
  if (options.json !== undefined) {
    await Deno.writeTextFile(options.json, toJson(facts, tables, outcomes));
  }
}

function toJson(facts: string[], tables: readonly Table[], outcomes: readonly Outcome[]): string {
  const workloads = tables.map(({ workload, rows }) => ({
    name: workload.name,
    title: workload.title,
    contenders: rows.map(({ contender, rounds, failure }) => ({
      id: contender.id,
      label: contender.label,
      rounds,
      failure,
    })),
  }));
  return JSON.stringify({ facts, workloads, outcomes }, null, 2) + "\n";
}

async function main(): Promise<number> {
  for (const signal of ["SIGINT", "SIGTERM"] as const) {
    Deno.addSignalListener(signal, () => closeStage().finally(() => Deno.exit(130)));
  }
  try {
    const options = readOptions(Deno.args);
    if (options === undefined) console.log(HELP);
    else await bench(options);
    if (options !== undefined) console.error("Removing every file again");
    return 0;
  } catch (error) {
    console.error(`Cannot measure: ${messageOf(error)}`);
    return 1;
  } finally {
    await closeStage();
  }
}

Deno.exit(await main());
