/** The progress of `kvs rebalance`: a bar on a terminal, lines in a log. */
import { type BarState, SingleBar } from "cli-progress";
import { type RunPhase } from "../core/rebalance/events.ts";

/** Time from one line of progress to the next in a log (milliseconds). */
const LOG_INTERVAL_MS = 10_000;

const BAR_WIDTH = 24;

const PHASE_WORDS: Record<RunPhase, string> = {
  survey: "Listing",
  read: "Reading",
  room: "Sizing",
  move: "Moving",
  check: "Checking",
  prune: "Pruning",
};

/** Tells the progress of one phase after another. */
interface Progress {
  /** May be called for each key; `total` is `undefined` if it is not known. */
  update(phase: RunPhase, done: number, total: number | undefined): void;
  /** Makes room for other output. */
  clear(): void;
}

interface Payload {
  readonly phase: RunPhase;
  readonly startMs: number;
}

const encoder = new TextEncoder();

/** A bar on stdout, which is a terminal. */
export class Bar implements Progress {
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
  #phase: RunPhase | undefined;
  #startMs = 0;
  #total: number | undefined;
  #drawn = false;

  update(phase: RunPhase, done: number, total: number | undefined): void {
    if (phase !== this.#phase) {
      this.clear();
      this.#phase = phase;
      this.#startMs = performance.now();
    }
    this.#total = total;
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
    const line = progressLine(phase, { done: value, total: this.#total, seconds });
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
  #phase: RunPhase | undefined;
  #phaseStart = 0;
  #told: number;

  constructor(print: (line: string) => void, now: () => number) {
    this.#print = print;
    this.#now = now;
    this.#told = now();
  }

  update(phase: RunPhase, done: number, total: number | undefined): void {
    const now = this.#now();
    if (phase !== this.#phase) {
      this.#phase = phase;
      this.#phaseStart = now;
    }
    if (now - this.#told < LOG_INTERVAL_MS) return;
    this.#told = now;
    try {
      const seconds = (now - this.#phaseStart) / 1000;
      this.#print(progressLine(phase, { done, total, seconds }));
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
  phase: RunPhase,
  { done, total, seconds }: { done: number; total: number | undefined; seconds: number },
): string {
  const rate = seconds > 0 ? done / seconds : 0;
  const speed = `${Math.round(rate)} keys/s`;
  const word = PHASE_WORDS[phase].padEnd(8);
  if (total === undefined || total === 0) return `${word}${done} keys, ${speed}`;
  const share = Math.min(done / total, 1);
  const filled = Math.round(share * BAR_WIDTH);
  const bar = "#".repeat(filled) + "-".repeat(BAR_WIDTH - filled);
  const percent = `${Math.floor(share * 100)}%`.padStart(4);
  const left = rate > 0 ? `, ${clock((total - done) / rate)} left` : "";
  return `${word}[${bar}]${percent}  ${done}/${total} keys, ${speed}${left}`;
}

/** Seconds as `0:07`, `12:05` or `1:02:03`. */
function clock(seconds: number): string {
  const whole = Math.ceil(seconds);
  const two = (value: number) => String(value).padStart(2, "0");
  const minutes = Math.floor(whole / 60);
  if (minutes < 60) return `${minutes}:${two(whole % 60)}`;
  return `${Math.floor(minutes / 60)}:${two(minutes % 60)}:${two(whole % 60)}`;
}
