/** Lines on stdout, written at once; and the output of a role that goes on when nobody reads it. */
import { bold, cyan, dim, gray, green, red, yellow } from "@std/fmt/colors";

/** Prints lines at once, in colour on a terminal without NO_COLOR. */
export class Screen {
  readonly #colored = Deno.stdout.isTerminal() && !Deno.env.get("NO_COLOR");
  readonly #onBroken: () => void;
  #broken = false;

  /** @param onBroken Called once, when the reader has gone: a closed pipe or terminal. */
  constructor(onBroken: () => void) {
    this.#onBroken = onBroken;
  }

  /** Prints a line; never throws. */
  print(line: string): void {
    if (this.#broken) return;
    try {
      writeLine(Deno.stdout, line);
    } catch {
      this.#broken = true;
      this.#onBroken();
    }
  }

  /** Prints a line on stderr; never throws. */
  printError(line: string): void {
    try {
      writeLine(Deno.stderr, line);
    } catch {
      // Nobody is left to tell; if stdout is gone too, that ends the role.
    }
  }

  /** Prints a line that matters less. */
  printDim(line: string): void {
    this.print(this.#colored ? dim(line) : line);
  }

  /** Prints a line that stands out. */
  printBold(line: string): void {
    this.print(this.#colored ? bold(line) : line);
  }

  /** The status letters of a row, coloured where colours are on. */
  readonly paint = (statuses: string): string => this.#colored ? paintStatuses(statuses) : statuses;
}

const encoder = new TextEncoder();

/** Writes a line at once, also to a pipe. @throws {Deno.errors.BrokenPipe} If the reader has gone. */
export function writeLine(output: { writeSync(bytes: Uint8Array): number }, line: string): void {
  const bytes = encoder.encode(line + "\n");
  for (let at = 0; at < bytes.length;) at += output.writeSync(bytes.subarray(at));
}

const COLORS: Record<string, (text: string) => string> = {
  h: green,
  w: cyan,
  m: yellow,
  x: (text) => bold(red(text)),
  ".": gray,
};

/** Colours the status letters of a row, run by run. */
export function paintStatuses(statuses: string): string {
  return statuses.replaceAll(/(.)\1*/g, (run, letter: string) => (COLORS[letter] ?? red)(run));
}
