/** Lines to an output that perhaps nobody reads: a pipe that is full must not hold up who prints. */
import { deadline } from "@std/async/deadline";

/** The most that waits while a write is under way (characters). */
const MAX_WAITING = 256 * 1024;

/** How a {@link LineWriter} writes. */
export interface LineWriterOptions {
  /** Writes some of the bytes and resolves to how many. May take for ever; one call at a time. */
  readonly write: (bytes: Uint8Array) => Promise<number>;
  /** Makes the line which tells that so many could not be written. */
  readonly lostLine: (lines: number) => string;
  /** Told of each write that failed. */
  readonly onFailed?: (error: unknown) => void;
}

/**
 * Prints lines in order without waiting for them. While nobody reads, some wait; those behind them are
 * dropped, as are those whose write failed, and counted. The count is written when writing works again.
 */
export class LineWriter {
  readonly #options: LineWriterOptions;
  #waiting: string[] = [];
  #waitingSize = 0;
  #lost = 0;
  #writing: Promise<void> | undefined;

  constructor(options: LineWriterOptions) {
    this.#options = options;
  }

  /** Prints a line. Never throws. */
  print(line: string): void {
    // Those behind a line that was dropped are dropped too, until the count of them can follow.
    const isHeldUp = this.#writing !== undefined && this.#lost > 0;
    if (isHeldUp || this.#waitingSize + line.length > MAX_WAITING) {
      this.#lost++;
      return;
    }
    this.#waiting.push(line);
    this.#waitingSize += line.length;
    this.#writing ??= this.#writeWaiting();
  }

  /** Resolves when all is written, or after `ms` milliseconds. */
  async flush(ms: number): Promise<void> {
    if (this.#writing !== undefined) await deadline(this.#writing, ms).catch(() => {});
  }

  async #writeWaiting(): Promise<void> {
    const { write, lostLine, onFailed } = this.#options;
    while (this.#waiting.length > 0 || this.#lost > 0) {
      const lines = this.#waiting;
      const lost = this.#lost;
      this.#waiting = [];
      this.#waitingSize = 0;
      const text = [...lines, ...(lost > 0 ? [lostLine(lost)] : []), ""].join("\n");
      try {
        const bytes = new TextEncoder().encode(text);
        for (let at = 0; at < bytes.length;) at += await write(bytes.subarray(at));
        this.#lost -= lost;
      } catch (error) {
        this.#lost += lines.length + this.#waiting.length;
        this.#waiting = [];
        this.#waitingSize = 0;
        onFailed?.(error);
        break;
      }
    }
    this.#writing = undefined;
  }
}
