/** The options that `kvs rebalance` and `kvs scale` have in common. */
import { type Args, choiceOption, countOption, secondsOption } from "./args.ts";
import { type OutputForm } from "./rebalance_output.ts";

export const OUTPUT = choiceOption<OutputForm, undefined>(
  "output",
  ["lines", "progress", "json"],
  undefined,
  "What to print: a line for each step, a progress bar with a summary, or a JSON object for each event",
  "progress on a terminal, else lines",
);

/** The form of the output that is asked for, or that fits stdout. */
export function outputOf(args: Args): OutputForm {
  return args.get(OUTPUT) ?? (Deno.stdout.isTerminal() ? "progress" : "lines");
}

export const PATIENCE = secondsOption(
  "patience",
  60,
  "How long to try again when a server goes away during the run; at the start nothing is tried again",
);

export const RATE = countOption<number | undefined>(
  "rate",
  undefined,
  [1, 1_000_000_000],
  "The most keys to copy in a second; all else is not held back",
);

export const TIMEOUT = secondsOption(
  "timeout",
  10,
  "How long a server may be silent within one request",
);
