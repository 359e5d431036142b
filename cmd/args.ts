/**
 * The command line: one table of options a command, read from arguments and `KVS_*` variables into
 * typed values, and the help text made from the same table.
 */
import { parseArgs } from "@std/cli/parse-args";
import { parseNameServer } from "../core/client/discovery.ts";
import { messageOf, UsageError } from "../core/errors.ts";
import { type PlacementName } from "../core/placement.ts";

/** One option: its value, its default and its help. */
export interface Option<T> {
  readonly name: string;
  /** The word for the value in help; `undefined` for a switch, which takes no value. */
  readonly placeholder: string | undefined;
  readonly help: string;
  /** The default as help shows it. */
  readonly shownDefault: string;
  readonly fallback: T;
  /** Why the option is refused on the command line and taken only as a variable, as the end of a sentence. */
  readonly variableOnly?: string;
  /** Reads a value. @throws {UsageError} If `text` is none; the message names the expected form. */
  parse(text: string): T;
}

/** A subcommand. */
export interface Command {
  readonly name: string;
  /** Its purpose, in a line. */
  readonly summary: string;
  /** The rest of the usage line, behind the name. */
  readonly usage: string;
  /** Complete command lines, shown in help. */
  readonly examples: readonly string[];
  /** More lines of help. */
  readonly notes?: readonly string[];
  readonly options: readonly Option<unknown>[];
  /** Does the work; resolves to the exit code. @throws {KvsError} With a line for the user. */
  run(args: Args): Promise<number>;
}

/** Reads an environment variable. */
export type Environment = (name: string) => string | undefined;

/** The arguments of a command, checked against its options. */
export class Args {
  readonly positionals: readonly string[];
  readonly #texts: ReadonlyMap<string, string>;

  constructor(positionals: readonly string[], texts: ReadonlyMap<string, string>) {
    this.positionals = positionals;
    this.#texts = texts;
  }

  /** The value of `option`: from the command line, else from its variable, else its default. */
  get<T>(option: Option<T>): T {
    const text = this.#texts.get(option.name);
    return text === undefined ? option.fallback : option.parse(text);
  }
}

/** The request of a command line. */
export type Parsed = { readonly kind: "help" } | { readonly kind: "version" } | {
  readonly kind: "run";
  readonly args: Args;
};

/** Returns the variable of an option, for example `KVS_MAX_VALUE` for `max-value`. */
function variableOf(option: { readonly name: string }): string {
  return "KVS_" + option.name.toUpperCase().replaceAll("-", "_");
}

/**
 * Reads the arguments behind the name of the command.
 *
 * @throws {UsageError} If an option is unknown, has no value, or has a value of the wrong form.
 */
export function parseCommandLine(
  command: Command,
  argv: readonly string[],
  env: Environment,
): Parsed {
  const onLine = command.options.filter((option) => option.variableOnly === undefined);
  const switches = onLine.filter((option) => option.placeholder === undefined);
  const valued = onLine.filter((option) => option.placeholder !== undefined);
  // The parser takes any text behind `--switch=` for true.
  for (const option of switches) {
    const prefix = `--${option.name}=`;
    const text = argv.find((arg) => arg.startsWith(prefix))?.slice(prefix.length);
    if (text !== undefined) checkedText(option, text, `--${option.name}`);
  }
  const parsed = parseArgs(joinDashes(argv, valued), {
    boolean: ["help", "version", ...switches.map((option) => option.name)],
    string: ["_", ...valued.map((option) => option.name)],
    alias: { h: "help" },
    // Not false: if a switch was not given, its variable decides.
    default: Object.fromEntries(switches.map((option) => [option.name, null])),
    unknown: (arg, key) => {
      if (key === undefined) return;
      const hidden = command.options.find(({ name }) => name === key);
      // The value is not repeated: a secret must not get into a log either.
      throw new UsageError(
        hidden === undefined
          ? `Unknown option: ${arg}`
          : `Not an option: --${key} (${hidden.variableOnly}); give it as ${variableOf(hidden)}`,
      );
    },
  });
  if (parsed.help === true) return { kind: "help" };
  if (parsed.version === true) return { kind: "version" };

  const texts = new Map<string, string>();
  for (const option of command.options) {
    const given = parsed[option.name];
    const variable = ownVariable(variableOf(option), env);
    if (typeof given === "string" || typeof given === "boolean") {
      texts.set(option.name, checkedText(option, String(given), `--${option.name}`));
    } else if (variable !== undefined && variable !== "") {
      texts.set(option.name, checkedText(option, variable, variableOf(option)));
    }
  }
  return { kind: "run", args: new Args(parsed._.map(String), texts) };
}

/** Returns the arguments with `--file=-` for `--file -`: the parser takes no value that begins with a dash. */
function joinDashes(argv: readonly string[], valued: readonly Option<unknown>[]): string[] {
  const joined: string[] = [];
  for (const [at, arg] of argv.entries()) {
    if (arg === "--") return joined.concat(argv.slice(at));
    const takesIt = arg === "-" && valued.some(({ name }) => joined.at(-1) === `--${name}`);
    joined.push(takesIt ? `${joined.pop()}=-` : arg);
  }
  return joined;
}

/**
 * Reads a variable, unless Kubernetes set it: a Service named `kvs` sets `KVS_PORT` to
 * `tcp://10.0.0.1:80` in every Pod of its namespace (Kubernetes, "Discovering services").
 */
function ownVariable(name: string, env: Environment): string | undefined {
  const value = env(name);
  const isLink = name.endsWith("_PORT") && /^(tcp|udp|sctp):\/\//.test(value ?? "");
  return isLink ? undefined : value;
}

function checkedText(option: Option<unknown>, text: string, source: string): string {
  try {
    option.parse(text);
  } catch (error) {
    throw new UsageError(`Invalid ${source}: ${messageOf(error)}`);
  }
  return text;
}

/** The usage line, which follows every usage error. */
export function usageLine(command: Command): string {
  return `Usage: kvs ${command.name} ${command.usage}`;
}

/** The text that `--help` prints. */
export function helpText(command: Command): string {
  const rows = command.options.map((option) => {
    const { name, placeholder, help, shownDefault, variableOnly } = option;
    if (variableOnly !== undefined) {
      return [`  ${variableOf(option)}`, `${help} (a variable only: ${variableOnly})`];
    }
    return [
      `  --${name}${placeholder === undefined ? "" : ` ${placeholder}`}`,
      `${help} (default: ${shownDefault}; ${variableOf(option)})`,
    ];
  });
  rows.push(["  -h, --help", "Show this text"], ["  --version", "Show the version"]);
  const width = Math.max(...rows.map(([left = ""]) => left.length)) + 2;
  return [
    command.summary,
    "",
    usageLine(command),
    "",
    "Examples:",
    ...command.examples.map((example) => `  ${example}`),
    "",
    ...(command.notes === undefined ? [] : [...command.notes, ""]),
    "Options (each can also be given as the environment variable named; the command line wins):",
    ...rows.map(([left = "", right = ""]) => left.padEnd(width) + right),
  ].join("\n");
}

/** An option that takes any non-empty text. */
export function textOption(name: string, placeholder: string, help: string): Option<
  string | undefined
> {
  return { name, placeholder, help, shownDefault: "none", fallback: undefined, parse: nonEmpty };
}

/** An option that takes one of `choices`. */
export function choiceOption<T extends string, D extends T | undefined>(
  name: string,
  choices: readonly T[],
  fallback: D,
  help: string,
  shownDefault: string = String(fallback),
): Option<T | D> {
  return {
    name,
    placeholder: choices.join("|"),
    help,
    shownDefault,
    fallback,
    parse(text) {
      const choice = choices.find((word) => word === text);
      if (choice === undefined) {
        throw new UsageError(`expected ${choices.join(" or ")}, received "${text}"`);
      }
      return choice;
    },
  };
}

/** A switch: off unless given. Its variable takes 1, true, 0 or false. */
export function switchOption(name: string, help: string): Option<boolean> {
  return {
    name,
    placeholder: undefined,
    help,
    shownDefault: "off",
    fallback: false,
    parse(text) {
      if (text === "true" || text === "1") return true;
      if (text === "false" || text === "0") return false;
      throw new UsageError(`expected 1, true, 0 or false, received "${text}"`);
    },
  };
}

/** An option that takes seconds, as `5` or `0.5`; its value is in milliseconds. */
export function secondsOption(name: string, seconds: number, help: string): Option<number> {
  return {
    name,
    placeholder: "SECONDS",
    help,
    shownDefault: String(seconds),
    fallback: seconds * 1000,
    parse(text) {
      // Up to 24 days: a longer timer would overflow to none at all.
      const value = /^\d+(\.\d+)?$/.test(text) ? Number(text) : NaN;
      if (!(value <= 2_000_000)) {
        throw new UsageError(`expected seconds from 0 to 2000000, received "${text}"`);
      }
      return value * 1000;
    },
  };
}

/** An option that takes a whole number from `min` to `max`. */
export function countOption<D extends number | undefined>(
  name: string,
  fallback: D,
  [min, max]: readonly [number, number],
  help: string,
): Option<number | D> {
  return {
    name,
    placeholder: "N",
    help,
    shownDefault: fallback === undefined ? "none" : String(fallback),
    fallback,
    parse: (text) => parseCount(text, min, max),
  };
}

const SIZE_UNITS: Record<string, number> = { "": 1, KiB: 1024, MiB: 1024 ** 2, GiB: 1024 ** 3 };

/** An option that takes bytes, as `1000`, `64KiB`, `16MiB` or `1GiB`. */
export function bytesOption(name: string, shownDefault: string, help: string): Option<number> {
  return {
    name,
    placeholder: "BYTES",
    help,
    shownDefault,
    fallback: parseBytes(shownDefault),
    parse: parseBytes,
  };
}

function parseBytes(text: string): number {
  const match = /^(\d+) ?([KMG]iB)?$/.exec(text);
  const bytes = Number(match?.[1]) * (SIZE_UNITS[match?.[2] ?? ""] ?? NaN);
  if (!Number.isSafeInteger(bytes)) {
    throw new UsageError(
      `expected bytes such as 1000, 64KiB, 16MiB or 1GiB, up to ${Number.MAX_SAFE_INTEGER}, received "${text}"`,
    );
  }
  return bytes;
}

/** Reads a whole number from `min` to `max`. @throws {UsageError} If `text` is none. */
export function parseCount(text: string, min: number, max: number): number {
  const value = /^\d+$/.test(text) ? Number(text) : NaN;
  if (!(value >= min && value <= max)) {
    throw new UsageError(`expected a whole number from ${min} to ${max}, received "${text}"`);
  }
  return value;
}

/** Returns `text` unless it is empty. @throws {UsageError} If it is. */
export function nonEmpty(text: string): string {
  if (text === "") throw new UsageError("expected a value, received none");
  return text;
}

/** `--placement` of every role that places keys. */
export const PLACEMENT: Option<PlacementName> = choiceOption(
  "placement",
  ["modulo", "jump"],
  "modulo",
  "How a key finds its server; all roles of a cluster must use the same",
);

/** `--dns` of every role with a server list. */
export const DNS: Option<string | undefined> = {
  ...textOption("dns", "ADDRESS[:PORT]", "The name server to ask for srv: items"),
  shownDefault: "that of the system",
  parse(text) {
    parseNameServer(text);
    return text;
  },
};
