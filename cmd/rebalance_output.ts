/** What `kvs rebalance` prints: lines, a progress bar, or JSON. */
import { bytesToSegment, displayJson, displayKey, toSegment } from "../core/key.ts";
import { type RebalanceEvent, type RunPhase, type Summary } from "../core/rebalance/events.ts";
import { createProgress, LogLines, type Outlet, PROCESS, type Progress } from "./progress.ts";
import { displayValue, Printer, pythonRepr } from "./rebalance_text.ts";
import { type Asked, keysPerSecond, Notes, planLine, summaryLines } from "./rebalance_words.ts";

/** The values of `--output`. */
export type OutputForm = "lines" | "progress" | "json";

const PHASE_WORDS: Readonly<Record<RunPhase, string>> = {
  survey: "Listing",
  read: "Reading",
  room: "Sizing",
  move: "Moving",
  check: "Checking",
  prune: "Pruning",
};

/** What a report depends on. */
export interface ReportOptions extends Asked {
  /** The names of the servers that are asked over TLS. */
  readonly secure: ReadonlySet<string>;
}

/** Prints a run. */
export interface Report {
  /** @throws {OutputError} If stdout cannot be written. */
  event(event: RebalanceEvent): void;
  /** Tells the user something, on stderr. */
  note(line: string): void;
  /** Prints the summary and all text held back. @throws {OutputError} If stdout cannot be written. */
  summary(summary: Summary): void;
  /** Prints the text held back if it can; to be called however the run ended. */
  close(): void;
}

/** Makes a report of this form. */
export function createReport(
  form: OutputForm,
  options: ReportOptions,
  outlet: Outlet = PROCESS,
): Report {
  switch (form) {
    case "lines":
      return new LinesReport(options, outlet);
    case "progress":
      return new ProgressReport(options, outlet);
    case "json":
      return new JsonReport(outlet);
  }
}

/** The book's lines on stdout; notes, summary and progress on stderr. */
class LinesReport implements Report {
  readonly note: (line: string) => void;
  readonly #options: ReportOptions;
  readonly #out: Printer;
  readonly #notes: Notes;
  readonly #progress: LogLines;
  #listed = 0;

  constructor(options: ReportOptions, { stdout, printError, now }: Outlet) {
    this.note = printError;
    this.#options = options;
    this.#out = new Printer(stdout);
    this.#notes = new Notes(printError);
    this.#progress = new LogLines(printError, now);
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
        const scheme = this.#options.secure.has(event.to) ? "https" : "http";
        const url = `${scheme}://${event.to}/save/${toSegment(event.key)}/${bytesToSegment(bytes)}`;
        const answer = event.answer === undefined ? displayValue(bytes) : displayKey(event.answer);
        out.print(`${url} ${answer}\n`);
        break;
      }
      case "plan":
        out.print(planLine(event));
        break;
      case "progress":
        this.#progress.update(PHASE_WORDS[event.phase], { done: event.done, total: event.total });
        break;
      default:
        this.#notes.event(event);
    }
  }

  summary(summary: Summary): void {
    this.#notes.end(summary, this.#options);
    const lines = summaryLines(summary, this.#options);
    // A dry run is made for its plan, so all of that goes to stdout.
    if (this.#options.dryRun) this.#out.print(lines.map((line) => `${line}\n`).join(""));
    else for (const line of lines) this.note(line);
    this.#out.flush();
  }

  close(): void {
    this.#out.close();
  }
}

/** A bar on a terminal or lines in a log, and the summary. */
class ProgressReport implements Report {
  readonly #options: ReportOptions;
  readonly #outlet: Outlet;
  readonly #out: Printer;
  readonly #progress: Progress;
  readonly #notes = new Notes((line) => this.note(line));

  constructor(options: ReportOptions, outlet: Outlet) {
    this.#options = options;
    this.#outlet = outlet;
    this.#out = new Printer(outlet.stdout);
    this.#progress = createProgress(outlet);
  }

  note(line: string): void {
    this.#progress.clear();
    this.#outlet.printError(line);
  }

  event(event: RebalanceEvent): void {
    if (event.kind === "progress") {
      this.#progress.update(PHASE_WORDS[event.phase], { done: event.done, total: event.total });
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
    this.#out.flush();
  }

  close(): void {
    this.#progress.clear();
    this.#out.close();
  }
}

/** Time from one JSON object that tells the progress to the next (milliseconds). */
const JSON_INTERVAL_MS = 1000;

/** A JSON object in a line on stdout for each event, with the sizes of values instead of the values. */
class JsonReport implements Report {
  readonly note: (line: string) => void;
  readonly #out: Printer;
  #told = 0;

  constructor({ stdout, printError }: Outlet) {
    this.note = printError;
    this.#out = new Printer(stdout);
  }

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
    this.#out.flush();
  }

  close(): void {
    this.#out.close();
  }

  #print(object: Readonly<Record<string, unknown>>): void {
    this.#out.print(displayJson(object) + "\n");
  }
}

function rounded(seconds: number): number {
  return Math.round(seconds * 1000) / 1000;
}
