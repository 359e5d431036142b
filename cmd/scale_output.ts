/** What `kvs scale` prints: lines, a progress bar, or JSON. */
import { displayJson, displayKey } from "../core/key.ts";
import { isMoving, type Layout, nextOf } from "../core/layout/layout.ts";
import { type ScaleEvent, type ScaleSummary } from "../core/scale/events.ts";
import { type ClusterStatus, type ServerStatus } from "../core/scale/status.ts";
import { createProgress, LogLines, type Outlet, PROCESS, type Progress } from "./progress.ts";
import { type OutputForm } from "./rebalance_output.ts";
import { Printer } from "./rebalance_text.ts";
import { counted, planLine } from "./rebalance_words.ts";

/** Time from one JSON object that tells the progress to the next (milliseconds). */
const JSON_INTERVAL_MS = 1000;

/** Prints a run. */
export class ScaleReport {
  readonly #form: OutputForm;
  readonly #outlet: Outlet;
  readonly #out: Printer;
  readonly #progress: Progress;
  #told = -Infinity;

  constructor(form: OutputForm, outlet: Outlet = PROCESS) {
    this.#form = form;
    this.#outlet = outlet;
    this.#out = new Printer(outlet.stdout);
    this.#progress = form === "progress"
      ? createProgress(outlet)
      : new LogLines(outlet.printError, outlet.now);
  }

  /** @throws {OutputError} If stdout cannot be written. */
  event(event: ScaleEvent): void {
    if (this.#form === "json") this.#json(event);
    else if (event.kind === "progress") this.#progress.update("Moving", event);
    else if (event.kind === "note") this.note(event.message);
    else if (event.kind === "plan") this.#print(planLine(event));
    else if (event.kind === "layout") this.#print(`${layoutLine(event.layout)}\n`);
    else if (this.#form === "lines") {
      const upto = event.upto === null ? "the end" : displayKey(event.upto);
      this.#print(
        `${event.source}: ${counted(event.keys, "key")}, ${
          counted(event.bytes, "byte")
        }, up to ${upto}\n`,
      );
    }
  }

  /** Tells the user something, on stderr. */
  note(line: string): void {
    this.#progress.clear();
    this.#outlet.printError(line);
  }

  /** Prints the summary and all text held back. @throws {OutputError} If stdout cannot be written. */
  summary(summary: ScaleSummary, dryRun: boolean): void {
    this.#progress.clear();
    if (this.#form === "json") {
      const seconds = Math.round(summary.seconds * 1000) / 1000;
      this.#print(displayJson({ event: "summary", ...summary, seconds }) + "\n");
    } else {
      for (const line of summaryLines(summary, dryRun)) this.#print(`${line}\n`);
    }
    this.#out.flush();
  }

  /** Prints how the cluster stands. @throws {OutputError} If stdout cannot be written. */
  status(status: ClusterStatus): void {
    if (this.#form === "json") this.#print(displayJson({ event: "status", ...status }) + "\n");
    else for (const line of statusLines(status)) this.#print(`${line}\n`);
    this.#out.flush();
  }

  /** Prints the text held back if it can; to be called however the run ended. */
  close(): void {
    this.#progress.clear();
    this.#out.close();
  }

  #json({ kind, ...facts }: ScaleEvent): void {
    if (kind === "progress") {
      const now = this.#outlet.now();
      if (now - this.#told < JSON_INTERVAL_MS) return;
      this.#told = now;
    }
    this.#print(displayJson({ event: kind, ...facts }) + "\n");
  }

  #print(text: string): void {
    this.#progress.clear();
    this.#out.print(text);
  }
}

/** A layout in a line. */
function layoutLine(layout: Layout): string {
  const { epoch, servers, placement } = layout;
  const now = `${counted(servers.length, "server")} (${placement})`;
  if (!isMoving(layout)) return `Epoch ${epoch}: ${now}: ${servers.join(",")}`;
  const next = nextOf(layout);
  return `Epoch ${epoch}: moving from ${now} to ${
    counted(next.servers.length, "server")
  } (${next.placement}): ` +
    next.servers.join(",");
}

function summaryLines(summary: ScaleSummary, dryRun: boolean): string[] {
  const { keys, bytes, seconds, layout, otherGoal, interrupted } = summary;
  const rate = seconds > 0 ? Math.round(keys / seconds) : 0;
  const lines = [
    dryRun
      ? `${keys} keys to move, ${bytes} bytes`
      : `${keys} keys moved, ${bytes} bytes, ${
        seconds.toFixed(2)
      } seconds, ${rate} keys per second`,
  ];
  if (interrupted) {
    lines.push(
      dryRun || layout === undefined || !isMoving(layout)
        ? "Interrupted: nothing was changed"
        : "Interrupted: clients go on, and the move waits; run it again to complete it",
    );
  } else if (otherGoal) {
    lines.push("Another move was under way, and was completed: run it again for this one");
  }
  return lines;
}

function statusLines({ layout, servers }: ClusterStatus): string[] {
  return [layoutLine(layout), ...servers.map(serverLine)];
}

const ROLES: Readonly<Record<ServerStatus["role"], string>> = {
  source: "hands over",
  target: "gets keys",
  both: "hands over and gets keys",
  steady: "",
};

function serverLine({ name, role, keys, mark, differs }: ServerStatus): string {
  const parts = [keys === undefined ? "" : counted(keys, "key"), ROLES[role]];
  if (mark?.end === true) parts.push("all handed over");
  else if (mark?.key !== undefined) parts.push(`handed over up to ${displayKey(mark.key)}`);
  else if (mark !== undefined) parts.push("nothing handed over yet");
  const told = [...parts, ...differs].filter((part) => part !== "");
  return `  ${name}: ${told.join(", ")}`;
}
