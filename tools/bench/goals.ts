/** What was asked for, compared with what came of it. */
import type { Table } from "./measure.ts";
import { decimal } from "./report.ts";
import { medianRatio } from "./statistics.ts";
import type { Outcome } from "./types.ts";

/** `over` is to serve at least `factor` times as many requests a second as `under`. */
interface Goal {
  readonly workloads: readonly string[];
  readonly text: string;
  /** Ids of contenders. `PROGRAM` stands for the compiled kvs and for kvs from source, in turn. */
  readonly over: string;
  readonly under: string;
  readonly factor: number;
}

const GOALS: readonly Goal[] = [
  {
    workloads: ["hot-1B", "hot-1KiB", "hot-64KiB"],
    text: "the bare limit, v1",
    over: "PROGRAM/v1",
    under: "PROGRAM/bare",
    factor: 0.85,
  },
  {
    workloads: ["hot-1B", "hot-1KiB"],
    text: "the bare limit, book",
    over: "PROGRAM/book",
    under: "PROGRAM/bare",
    factor: 0.85,
  },
  {
    workloads: ["hot-1B", "hot-1KiB", "hot-64KiB"],
    text: "Redis' single GETs, v1",
    over: "PROGRAM/v1",
    under: "redis",
    factor: 1,
  },
  {
    workloads: ["hot-1B", "hot-1KiB"],
    text: "Redis' single GETs by the built-in generator, v1",
    over: "PROGRAM/v1",
    under: "redis-raw",
    factor: 1,
  },
  {
    workloads: ["save-64-1B", "save-64", "sustained"],
    text: "Redis with appendfsync always, v1",
    over: "PROGRAM/v1",
    under: "redis",
    factor: 0.9,
  },
  {
    workloads: ["save-64-1B", "save-64"],
    text: "Redis with appendfsync always by the built-in generator, v1",
    over: "PROGRAM/v1",
    under: "redis-raw",
    factor: 0.9,
  },
  {
    workloads: ["save-64-1B", "save-64"],
    text: "etcd, v1",
    over: "PROGRAM/v1",
    under: "etcd",
    factor: 5,
  },
];

const PROGRAMS: readonly (readonly [id: string, label: string])[] = [
  ["kvs", "compiled"],
  ["source", "source"],
];

/** Judges every goal whose workload and contenders were measured. */
export function judge(tables: readonly Table[]): Outcome[] {
  const outcomes: Outcome[] = [];
  for (const goal of GOALS) {
    for (const name of goal.workloads) {
      const rows = tables.find(({ workload }) => workload.name === name)?.rows ?? [];
      for (const [id, label] of PROGRAMS) {
        const rates = (contender: string) =>
          rows.find((row) => row.contender.id === contender.replace("PROGRAM", id))?.rounds
            .map((round) => round.perSecond) ?? [];
        const ratio = medianRatio(rates(goal.over), rates(goal.under));
        if (Number.isNaN(ratio)) continue;
        outcomes.push({
          goal: `${name}: at least ${goal.factor} x ${goal.text} (${label})`,
          measured: decimal(ratio),
          passed: ratio >= goal.factor,
        });
      }
    }
  }
  return outcomes;
}
