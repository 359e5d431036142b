/** Tables in Markdown that are readable as they are. */
import type { Row, Table } from "./measure.ts";
import { medianOf, medianRatio } from "./statistics.ts";
import type { Outcome } from "./types.ts";

/** Formats a table; the first column is text, the others are numbers. */
export function formatTable(
  header: readonly string[],
  rows: readonly (readonly string[])[],
): string {
  const widths = header.map((title, column) =>
    Math.max(title.length, ...rows.map((row) => row[column]?.length ?? 0), 3)
  );
  const pad = (cell: string, column: number) =>
    column === 0 ? cell.padEnd(widths[column] ?? 0) : cell.padStart(widths[column] ?? 0);
  const line = (cells: readonly string[]) => `| ${cells.map(pad).join(" | ")} |`;
  const rule = widths.map((width, column) =>
    column === 0 ? "-".repeat(width) : "-".repeat(width - 1) + ":"
  );
  return [line(header), line(rule), ...rows.map(line)].join("\n");
}

/** A rate or another count, to the unit. */
export function count(value: number): string {
  return Number.isFinite(value) ? Math.round(value).toLocaleString("en") : "-";
}

/** A number to three digits or so. */
export function decimal(value: number): string {
  if (!Number.isFinite(value)) return "-";
  return value.toFixed(value >= 100 ? 0 : value >= 10 ? 1 : 2);
}

/** Milliseconds, fine enough for a memory access over loopback. */
export function milliseconds(value: number): string {
  if (!Number.isFinite(value)) return "-";
  return value.toFixed(value >= 100 ? 0 : value >= 10 ? 1 : value >= 1 ? 2 : 3);
}

/** A share of one core; `-` where no server took any. */
function percent(share: number): string {
  return share > 0 ? `${Math.round(share * 100)}%` : "-";
}

const HEADER = [
  "contender",
  "req/s",
  "p50 ms",
  "p99 ms",
  "CPU",
  "kvs / it",
  "source / it",
  "errors",
];

function rates(row: Row | undefined): number[] {
  return row?.rounds.map((round) => round.perSecond) ?? [];
}

/** The table of a workload: medians of its rounds. */
export function formatWorkload({ workload, rows }: Table): string {
  const byId = (id: string) => rates(rows.find(({ contender }) => contender.id === id));
  const [kvs, source] = [byId("kvs/v1"), byId("source/v1")];
  const cells = rows.map(({ contender, rounds, failure }) => {
    if (failure !== undefined) return [contender.label, "-", "", "", "", "", "", ""];
    const own = rounds.map((round) => round.perSecond);
    return [
      contender.label,
      count(medianOf(rounds, (round) => round.perSecond)),
      milliseconds(medianOf(rounds, (round) => round.p50Ms)),
      milliseconds(medianOf(rounds, (round) => round.p99Ms)),
      percent(medianOf(rounds, (round) => round.serverCpu)),
      decimal(medianRatio(kvs, own)),
      decimal(medianRatio(source, own)),
      count(rounds.reduce((sum, round) => sum + round.errors, 0)),
    ];
  });
  const failures = rows.filter(({ failure }) => failure !== undefined)
    .map(({ contender, failure }) => `- ${contender.label}: ${failure?.replaceAll(/\s+/g, " ")}\n`);
  return `### ${workload.name}: ${workload.title}\n\n${formatTable(HEADER, cells)}\n` +
    (failures.length > 0 ? `\n${failures.join("")}` : "");
}

/** Goals and what came of them. */
export function formatOutcomes(outcomes: readonly Outcome[]): string {
  const cells = outcomes.map(({ goal, measured, passed }) => [
    goal,
    measured,
    passed ? "pass" : "FALLS SHORT",
  ]);
  return `### Goals\n\n${formatTable(["goal", "measured", "result"], cells)}\n`;
}
