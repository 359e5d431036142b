/** The output of commands: written at once, or without waiting for a reader if the role has to go on. */
import { LineWriter } from "./line_writer.ts";
import { bold, cyan, dim, gray, green, red, yellow } from "@std/fmt/colors";
import { messageOf, OutputError } from "../core/errors.ts";
import { displayKey } from "../core/key.ts";

/** How long the end of the process waits for a reader (milliseconds). */
const LAST_MS = 1000;

/** Prints lines in order and never waits for a reader. Uses colours on a terminal without NO_COLOR. */
export class Screen {
  readonly #colored = Deno.stdout.isTerminal() && !Deno.env.get("NO_COLOR");
  readonly #out: LineWriter;
  readonly #errors = stderrLines(notShown);
  #broken = false;

  /** @param onBroken Called once, if the reader has gone because a pipe or terminal was closed. */
  constructor(onBroken: () => void) {
    this.#out = new LineWriter({
      write: (bytes) => Deno.stdout.write(bytes),
      lostLine: notShown,
      onFailed: () => {
        if (!this.#broken) onBroken();
        this.#broken = true;
      },
    });
  }

  /** Prints a line; never throws. */
  print(line: string): void {
    if (!this.#broken) this.#out.print(line);
  }

  /** Prints a line on stderr; never throws. */
  printError(line: string): void {
    this.#errors.print(displayKey(line));
  }

  /** Resolves when all was printed, or after a while if nobody reads it. */
  async flush(): Promise<void> {
    await Promise.all([this.#out.flush(LAST_MS), this.#errors.flush(LAST_MS)]);
  }

  /** Prints a line that matters less. */
  printDim(line: string): void {
    this.print(this.#colored ? dim(line) : line);
  }

  /** Prints a line that stands out. */
  printBold(line: string): void {
    this.print(this.#colored ? bold(line) : line);
  }

  /** The status letters of a row, in colours if they are on. */
  readonly paint = (statuses: string): string => this.#colored ? paintStatuses(statuses) : statuses;
}

function notShown(lines: number): string {
  return `${lines} lines are not shown: nobody read them`;
}

/** Prints lines on stderr, without waiting for a reader. */
export function stderrLines(lostLine: (lines: number) => string): LineWriter {
  return new LineWriter({ write: (bytes) => Deno.stderr.write(bytes), lostLine });
}

/** Prints lines on stderr before the process ends, and waits a while for a reader. */
export async function printLast(...lines: string[]): Promise<void> {
  const output = stderrLines(notShown);
  for (const line of lines) output.print(displayKey(line));
  await output.flush(LAST_MS);
}

const encoder = new TextEncoder();

/**
 * Writes a line at once, even to a pipe.
 *
 * @throws {Deno.errors.BrokenPipe} If the reader has gone.
 * @throws {OutputError} If the line cannot be written for another reason.
 */
export function writeLine(output: { writeSync(bytes: Uint8Array): number }, line: string): void {
  const bytes = encoder.encode(line + "\n");
  try {
    for (let at = 0; at < bytes.length;) at += output.writeSync(bytes.subarray(at));
  } catch (error) {
    throw outputFailure(error);
  }
}

/** Writes all of `bytes` to stdout. @throws As {@link writeLine}. */
export async function writeOut(bytes: Uint8Array): Promise<void> {
  try {
    for (let at = 0; at < bytes.length;) at += await Deno.stdout.write(bytes.subarray(at));
  } catch (error) {
    throw outputFailure(error);
  }
}

function outputFailure(error: unknown): unknown {
  if (error instanceof Deno.errors.BrokenPipe) return error;
  return new OutputError(`Cannot write the output: ${messageOf(error)}`, { cause: error });
}

/** Tells the user something on stderr, in one line. Never throws, even if nobody reads it. */
export function tell(line: string): void {
  try {
    writeLine(Deno.stderr, displayKey(line));
  } catch {
    // Nobody is left to tell.
  }
}

const COLORS: Record<string, (text: string) => string> = {
  h: green,
  w: cyan,
  m: yellow,
  x: (text) => bold(red(text)),
  ".": gray,
};

/** Colours the status letters of a row. */
export function paintStatuses(statuses: string): string {
  return statuses.replaceAll(/(.)\1*/g, (run, letter: string) => (COLORS[letter] ?? red)(run));
}
