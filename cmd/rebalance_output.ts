/** What `kvs rebalance` prints: lines, a progress bar, or JSON. */
import { bytesToSegment, toSegment } from "../core/key.ts";
import { type RebalanceEvent, type Summary } from "../core/rebalance_events.ts";
import { createProgress } from "./rebalance_bar.ts";
import { displayKey, displayValue, Printer, pythonRepr } from "./rebalance_text.ts";

/** What `--output` takes. */
export type OutputForm = "lines" | "progress" | "json";

/** What a run was asked to do, as far as its report says so. */
export interface ReportOptions {
  readonly dryRun: boolean;
  readonly prune: boolean;
}

/** Prints a run. */
export interface Report {
  event(event: RebalanceEvent): void;
  /** Tells the user something, on stderr. */
  note(line: string): void;
  summary(summary: Summary): void;
  /** Prints what is held back; to be called however the run ended. */
  close(): void;
}

/** Makes a report of the form that the user wants. */
export function createReport(form: OutputForm, options: ReportOptions): Report {
  switch (form) {
    case "lines":
      return new LinesReport(options);
    case "progress":
      return new ProgressReport(options);
    case "json":
      return new JsonReport();
  }
}

function printError(line: string): void {
  console.error(line);
}

/** The book's lines on stdout, everything else on stderr. */
class LinesReport implements Report {
  readonly #options: ReportOptions;
  readonly #out = new Printer(Deno.stdout);
  readonly note = printError;
  readonly #notes = new Notes(this.note);
  #listed = 0;

  constructor(options: ReportOptions) {
    this.#options = options;
  }

  event(event: RebalanceEvent): void {
    const out = this.#out;
    switch (event.kind) {
      case "listing":
        for (const key of event.keys) {
          out.print(this.#listed++ === 0 ? `${event.server}: [` : ", ");
          out.print(pythonRepr(key));
        }
        break;
      case "listed":
        out.print(this.#listed === 0 ? `${event.server}: []\n` : "]\n");
        this.#listed = 0;
        break;
      case "found": {
        const value = displayValue(event.value);
        out.print(`${displayKey(event.key)}=${value} ${event.from}->${event.to}\n`);
        break;
      }
      case "moved": {
        const { bytes } = event.copy;
        const url = `http://${event.to}/save/${toSegment(event.key)}/${bytesToSegment(bytes)}`;
        const answer = event.answer === undefined ? displayValue(bytes) : displayKey(event.answer);
        out.print(`${url} ${answer}\n`);
        break;
      }
      case "plan":
        out.print(planLine(event));
        break;
      default:
        this.#notes.event(event);
    }
  }

  summary(summary: Summary): void {
    this.#notes.end(summary, this.#options);
    const lines = summaryLines(summary, this.#options);
    // What a dry run is for is its plan, so all of it goes to stdout.
    if (this.#options.dryRun) this.#out.print(lines.map((line) => `${line}\n`).join(""));
    else for (const line of lines) printError(line);
  }

  close(): void {
    this.#out.flush();
  }
}

/** A bar on a terminal, a line now and then elsewhere, and the summary. */
class ProgressReport implements Report {
  readonly #options: ReportOptions;
  readonly #out = new Printer(Deno.stdout);
  readonly #progress = createProgress();
  readonly #notes = new Notes((line) => this.note(line));

  constructor(options: ReportOptions) {
    this.#options = options;
  }

  note(line: string): void {
    this.#progress.clear();
    printError(line);
  }

  event(event: RebalanceEvent): void {
    if (event.kind === "progress") {
      this.#progress.update(event.phase, event.done, event.total);
    } else if (event.kind === "plan") {
      this.#progress.clear();
      this.#out.print(planLine(event));
    } else {
      this.#notes.event(event);
    }
  }

  summary(summary: Summary): void {
    this.#progress.clear();
    this.#notes.end(summary, this.#options);
    for (const line of summaryLines(summary, this.#options)) this.#out.print(`${line}\n`);
  }

  close(): void {
    this.#progress.clear();
    this.#out.flush();
  }
}

/** How often JSON tells of the progress within a phase, in milliseconds. */
const JSON_INTERVAL_MS = 1000;

/** One JSON object a line on stdout for each event; values are not in it, only their size. */
class JsonReport implements Report {
  readonly note = printError;
  readonly #out = new Printer(Deno.stdout);
  #told = 0;

  event(event: RebalanceEvent): void {
    const { kind, ...facts } = event;
    if (kind === "progress") {
      const now = performance.now();
      if (now - this.#told < JSON_INTERVAL_MS) return;
      this.#told = now;
    }
    if (event.kind === "moved") {
      const { key, from, to, bytes } = event;
      this.#print({ event: kind, key, from, to, bytes });
    } else {
      this.#print({ event: kind, ...facts });
    }
  }

  summary(summary: Summary): void {
    const { seconds, phases, ...counts } = summary;
    const rate = { seconds: rounded(seconds), keysPerSecond: keysPerSecond(summary) };
    const parts = Object.entries(phases).map(([name, length]) => [name, rounded(length)]);
    this.#print({ event: "summary", ...counts, phases: Object.fromEntries(parts), ...rate });
  }

  close(): void {
    this.#out.flush();
  }

  #print(object: Readonly<Record<string, unknown>>): void {
    this.#out.print(JSON.stringify(object) + "\n");
  }
}

/** How many copies of a kind are told one by one. */
const MAX_NOTES = 10;

/** What a user has to know besides the moves: a line each, up to a bound, and then how many more. */
class Notes {
  readonly #print: (line: string) => void;
  readonly #counts = { stale: 0, unclear: 0, orphan: 0 };

  constructor(print: (line: string) => void) {
    this.#print = print;
  }

  event(event: RebalanceEvent): void {
    switch (event.kind) {
      case "book":
        this.#print(`${event.server} speaks only the book routes: text values only, no pruning`);
        break;
      case "unchecked":
        this.#print(`${event.server} does not tell what room it has: not checked`);
        break;
      case "changing":
        this.#print(
          `Changing: ${displayKey(event.key)} was written on ${event.owner} again and again; ` +
            `${event.target} may not have its newest value`,
        );
        break;
      case "deleted":
        this.#print(
          `Deleted: ${displayKey(event.key)} went from ${event.owner} during the run; ` +
            `${event.target} still has a copy`,
        );
        break;
      case "stale":
      case "unclear":
      case "orphan": {
        if (++this.#counts[event.kind] > MAX_NOTES) return;
        const key = displayKey(event.key);
        const { server, owner } = event;
        const tells = {
          stale: `Stale: ${key} on ${server}, left by an earlier move; ${owner} owns it`,
          unclear:
            `Unclear: ${key} on ${server}, but not on its owner ${owner}: moved and pruned ` +
            "earlier, or deleted since; left as it is",
          orphan: `Orphan: ${key} on ${server}, but not on its owner ${owner}; left as it is`,
        };
        this.#print(tells[event.kind]);
      }
    }
  }

  end(summary: Summary, { prune, dryRun }: ReportOptions): void {
    for (const [kind, count] of Object.entries(this.#counts)) {
      if (count > MAX_NOTES) this.#print(`... and ${count - MAX_NOTES} more ${kind} copies`);
    }
    if (summary.stale > 0 && !prune && !dryRun) {
      this.#print(
        `${summary.stale} copies are on servers that will not own them: --prune deletes them`,
      );
    }
  }
}

function planLine(plan: { from: string; to: string; keys: number; bytes: number }): string {
  const { from, to, keys, bytes } = plan;
  return `${from} -> ${to}: ${counted(keys, "key")}, ${counted(bytes, "byte")}\n`;
}

function counted(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? "" : "s"}`;
}

/** The summary, as a person reads it. */
function summaryLines(summary: Summary, options: ReportOptions): readonly string[] {
  const { keys, moved, inPlace, left, stale, pruned, unclear, orphans, bytes } = summary;
  const { recopied, changing, deleted, gone } = summary;
  const counts = [
    `${keys} keys seen`,
    `${moved} ${options.dryRun ? "to move" : "moved"}`,
    `${inPlace} already in place`,
    `${stale} stale`,
    `${pruned} pruned`,
  ];
  if (unclear > 0) counts.push(`${unclear} unclear`);
  if (orphans > 0) counts.push(`${orphans} orphans`);
  if (recopied > 0) counts.push(`${recopied} copied again`);
  const seconds = summary.seconds.toFixed(2);
  const perSecond = summary.seconds > 0 ? Math.round(moved / summary.seconds) : 0;
  const rate = `${bytes} bytes, ${seconds} seconds, ${keysPerSecond(summary)} keys per second ` +
    `(${perSecond} moved)`;
  const lines = [`${counts.join(", ")}; ${rate}`];
  if (changing + deleted + gone > 0) {
    lines.push(
      `${changing} keys went on changing, ${deleted} were deleted behind their copy, ${gone} went ` +
        "before they were moved: stop the clients that write, and run it again",
    );
  }
  if (summary.busy) {
    lines.push(
      "Clients still write to the servers as they were: what they wrote last may not have been " +
        "moved; stop them, and run it again",
    );
  }
  if (!summary.interrupted) return lines;
  if (options.dryRun || (moved === 0 && pruned === 0)) {
    lines.push("Interrupted: nothing was changed");
  } else {
    const rest = left > 0 ? `${left} keys have yet to be moved` : "all keys are moved";
    lines.push(`Interrupted: ${rest}; run it again to complete it`);
  }
  return lines;
}

function keysPerSecond({ keys, seconds }: Summary): number {
  return seconds > 0 ? Math.round(keys / seconds) : 0;
}

function rounded(seconds: number): number {
  return Math.round(seconds * 1000) / 1000;
}
