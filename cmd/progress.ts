/** The progress of a command that takes long: a bar on a terminal, lines in a log. */
import { format } from "@std/fmt/bytes";
import { type BarState, SingleBar } from "cli-progress";
import { type Sink } from "./rebalance_text.ts";
import { tell, writeLine } from "./screen.ts";

/** Where a report is printed, and its clock. */
export interface Outlet {
  readonly stdout: Sink & { isTerminal(): boolean };
  /** Prints a line on stderr. */
  readonly printError: (line: string) => void;
  /** Milliseconds. */
  readonly now: () => number;
}

/** The streams of this process. */
export const PROCESS: Outlet = {
  stdout: Deno.stdout,
  printError: tell,
  now: () => performance.now(),
};

/** Time from one line of progress to the next in a log (milliseconds). */
const LOG_INTERVAL_MS = 10_000;

const BAR_WIDTH = 24;

/** How far a phase is. */
export interface Step {
  /** Keys. */
  readonly done: number;
  /** `undefined` if it is not known. */
  readonly total: number | undefined;
  /** The bytes of the keys that are done, if that is told. */
  readonly bytes?: number;
}

/** Tells the progress of one phase after another. */
export interface Progress {
  /** May be called for each key. `phase` is its word, of at most 7 letters. */
  update(phase: string, step: Step): void;
  /** Makes room for other output. */
  clear(): void;
}

interface Payload {
  readonly phase: string;
  readonly startMs: number;
}

const encoder = new TextEncoder();

/** A bar if stdout is a terminal, else lines there. */
export function createProgress({ stdout, now }: Outlet): Progress {
  return stdout.isTerminal() ? new Bar() : new LogLines((line) => writeLine(stdout, line), now);
}

/** A bar on stdout, which is a terminal. */
class Bar implements Progress {
  readonly #bar = new SingleBar<Payload>({
    format: (_options, state, payload) => this.#format(state, payload),
    stream: {
      isTTY: true,
      get columns() {
        return consoleColumns();
      },
      write: (text) => this.#write(text),
    },
    clearOnComplete: true,
  });
  #phase: string | undefined;
  #startMs = 0;
  #step: Step = { done: 0, total: undefined };
  #drawn = false;

  update(phase: string, step: Step): void {
    const { done, total } = step;
    if (phase !== this.#phase) {
      this.clear();
      this.#phase = phase;
      this.#startMs = performance.now();
    }
    this.#step = step;
    if (this.#drawn) {
      this.#bar.setTotal(total ?? 0);
      this.#bar.update(done);
    } else {
      this.#drawn = true;
      this.#bar.start(total ?? 0, done, { phase, startMs: this.#startMs });
    }
  }

  clear(): void {
    if (this.#drawn) this.#bar.stop();
    this.#drawn = false;
  }

  #format({ value, maxWidth }: BarState, { phase, startMs }: Payload): string {
    const seconds = (performance.now() - startMs) / 1000;
    const line = progressLine(phase, { ...this.#step, done: value, seconds });
    return line.slice(0, maxWidth - 1);
  }

  #write(text: string): void {
    try {
      const bytes = encoder.encode(text);
      for (let at = 0; at < bytes.length;) at += Deno.stdout.writeSync(bytes.subarray(at));
    } catch {
      // A terminal that has gone does not stop the run.
    }
  }
}

/** Lines for a log, at most one in {@link LOG_INTERVAL_MS}. */
export class LogLines implements Progress {
  readonly #print: (line: string) => void;
  readonly #now: () => number;
  #phase: string | undefined;
  #phaseStart = 0;
  #told: number;

  constructor(print: (line: string) => void, now: () => number) {
    this.#print = print;
    this.#now = now;
    this.#told = now();
  }

  update(phase: string, step: Step): void {
    const now = this.#now();
    if (phase !== this.#phase) {
      this.#phase = phase;
      this.#phaseStart = now;
    }
    if (now - this.#told < LOG_INTERVAL_MS) return;
    this.#told = now;
    try {
      const seconds = (now - this.#phaseStart) / 1000;
      this.#print(progressLine(phase, { ...step, seconds }));
    } catch {
      // A reader that has gone does not stop the run.
    }
  }

  clear(): void {}
}

function consoleColumns(): number {
  try {
    return Deno.consoleSize().columns;
  } catch {
    return 80;
  }
}

/** A phase in a line: a bar if the total is known, keys, rate, and time left. */
function progressLine(
  phase: string,
  { done, total, bytes, seconds }: Step & { readonly seconds: number },
): string {
  const rate = seconds > 0 ? done / seconds : 0;
  const speed = `${Math.round(rate)} keys/s`;
  const word = phase.padEnd(8);
  const size = bytes === undefined ? "" : `, ${format(bytes)}`;
  if (total === undefined || total === 0) return `${word}${done} keys${size}, ${speed}`;
  const share = Math.min(done / total, 1);
  const filled = Math.round(share * BAR_WIDTH);
  const bar = "#".repeat(filled) + "-".repeat(BAR_WIDTH - filled);
  const percent = `${Math.floor(share * 100)}%`.padStart(4);
  const left = rate > 0 && total >= done ? `, ${clock((total - done) / rate)} left` : "";
  return `${word}[${bar}]${percent}  ${done}/${total} keys${size}, ${speed}${left}`;
}

/** Seconds as `0:07`, `12:05` or `1:02:03`. */
function clock(seconds: number): string {
  const whole = Math.ceil(seconds);
  const two = (value: number) => String(value).padStart(2, "0");
  const minutes = Math.floor(whole / 60);
  if (minutes < 60) return `${minutes}:${two(whole % 60)}`;
  return `${Math.floor(minutes / 60)}:${two(minutes % 60)}:${two(whole % 60)}`;
}
