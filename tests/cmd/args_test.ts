import { assert, assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import {
  bytesOption,
  choiceOption,
  type Command,
  countOption,
  helpText,
  type Option,
  parseCommandLine,
  secondsOption,
  switchOption,
  textOption,
  usageLine,
} from "../../cmd/args.ts";
import { UsageError } from "../../core/errors.ts";

const DRAIN = secondsOption("drain", 5, "Drain period");
const MAX_VALUE = bytesOption("max-value", "16MiB", "Largest value");
const ROWS = countOption("rows", undefined, [1, 10], "Rows");
const FORMAT = choiceOption("format", ["text", "json"], "text", "Form");
const DRY_RUN = switchOption("dry-run", "Only plan");
const SECRET: Option<string | undefined> = {
  ...textOption("secret", "WORD", "A word"),
  variableOnly: "everyone sees it",
};
const CA = textOption("ca", "FILE", "Certificates");
const PORT = countOption("port", 8000, [0, 65535], "Port");

const command: Command = {
  name: "demo",
  summary: "A command.",
  usage: "PORT [options]",
  examples: ["kvs demo 80"],
  options: [DRAIN, MAX_VALUE, ROWS, FORMAT, DRY_RUN, CA, PORT, SECRET],
  run: () => Promise.resolve(0),
};

function parse(argv: string[], env: Record<string, string> = {}) {
  const parsed = parseCommandLine(command, argv, (name) => env[name]);
  assert(parsed.kind === "run");
  return parsed.args;
}

Deno.test("parseCommandLine() gives defaults, and positionals as they were written", () => {
  const args = parse(["007", "1e3", "--", "-x"]);
  assertEquals(args.positionals, ["007", "1e3", "-x"]);
  assertEquals(args.get(DRAIN), 5000);
  assertEquals(args.get(MAX_VALUE), 16 * 1024 * 1024);
  assertEquals(args.get(ROWS), undefined);
  assertEquals(args.get(FORMAT), "text");
  assertEquals(args.get(DRY_RUN), false);
  assertEquals(args.get(CA), undefined);
});

Deno.test("parseCommandLine() reads options in both spellings, before and behind positionals", () => {
  const args = parse(["--drain=0.5", "80", "--max-value", "64KiB", "--rows", "3", "--dry-run"]);
  assertEquals(args.positionals, ["80"]);
  assertEquals(args.get(DRAIN), 500);
  assertEquals(args.get(MAX_VALUE), 65536);
  assertEquals(args.get(ROWS), 3);
  assertEquals(args.get(DRY_RUN), true);
});

Deno.test("a variable gives an option, and the command line wins", () => {
  const env = { KVS_DRAIN: "7", KVS_DRY_RUN: "1", KVS_FORMAT: "json", KVS_ROWS: "" };
  assertEquals(parse([], env).get(DRAIN), 7000);
  assertEquals(parse([], env).get(DRY_RUN), true);
  assertEquals(parse([], env).get(FORMAT), "json");
  assertEquals(parse([], env).get(ROWS), undefined);
  assertEquals(parse(["--drain", "1", "--format=text"], env).get(DRAIN), 1000);
  assertEquals(parse(["--dry-run=false"], env).get(DRY_RUN), false);
});

Deno.test("what is wrong on the command line is a UsageError that names it", () => {
  const table: [string[], Record<string, string>, string][] = [
    [["--nope"], {}, "--nope"],
    [["-x"], {}, "-x"],
    [["--drain"], {}, "--drain"],
    [["--drain", "soon"], {}, 'received "soon"'],
    [["--drain=-1"], {}, "--drain"],
    [["--drain=1e9"], {}, "2000000"],
    [["--max-value=16MB"], {}, "16MB"],
    [["--max-value="], {}, "--max-value"],
    [["--rows=0"], {}, "from 1 to 10"],
    [["--rows=1.5"], {}, "from 1 to 10"],
    [["--format=xml"], {}, "text or json"],
    [["--ca="], {}, "--ca"],
    [["--dry-run=maybe"], {}, "maybe"],
    [[], { KVS_DRAIN: "x" }, "KVS_DRAIN"],
    [[], { KVS_DRY_RUN: "yes" }, "KVS_DRY_RUN"],
  ];
  for (const [argv, env, words] of table) {
    assertThrows(() => parse(argv, env), UsageError, words);
  }
});

Deno.test("parseCommandLine() sees that help or the version is asked for, whatever else is there", () => {
  for (const argv of [["--help"], ["-h"], ["80", "--help"]]) {
    assertEquals(parseCommandLine(command, argv, () => undefined).kind, "help");
  }
  assertEquals(parseCommandLine(command, ["--version"], () => undefined).kind, "version");
});

Deno.test("helpText() lists every option with default and variable", () => {
  const text = helpText(command);
  assertStringIncludes(text, usageLine(command));
  assertStringIncludes(text, "kvs demo 80");
  for (const [name, rest] of [["max-value", "default: 16MiB; KVS_MAX_VALUE"], ["dry-run", "off"]]) {
    const line = text.split("\n").find((candidate) => candidate.includes(`--${name}`)) ?? "";
    assertStringIncludes(line, rest ?? "");
  }
});

Deno.test("parseCommandLine() takes an option that is a variable only from its variable", () => {
  assertEquals(parse([], { KVS_SECRET: "word" }).get(SECRET), "word");
  for (const argv of [["--secret", "word"], ["--secret=word"]]) {
    const error = assertThrows(() => parse(argv), UsageError, "everyone sees it");
    assertStringIncludes(error.message, "KVS_SECRET");
    assert(!error.message.includes("word"));
  }
  assertStringIncludes(helpText(command), "\n  KVS_SECRET ");
  assert(!helpText(command).includes("--secret"));
});

Deno.test("parseCommandLine() passes over what a Service of the same name puts into a variable", () => {
  for (const link of ["tcp://10.0.0.1:80", "udp://10.0.0.1:53", "tcp://[fd00::1]:80"]) {
    assertEquals(parse([], { KVS_PORT: link }).get(PORT), 8000);
    assertEquals(parse(["--port", "1"], { KVS_PORT: link }).get(PORT), 1);
  }
  assertEquals(parse([], { KVS_PORT: "81" }).get(PORT), 81);
  for (const text of ["http://10.0.0.1:80", "10.0.0.1:80", "x"]) {
    assertThrows(() => parse([], { KVS_PORT: text }), UsageError, "Invalid KVS_PORT: ");
  }
  // On the command line nobody but the user can have put it.
  assertThrows(() => parse(["--port", "tcp://10.0.0.1:80"]), UsageError, "Invalid --port: ");
  assertEquals(parse([], { KVS_CA: "tcp://10.0.0.1:80" }).get(CA), "tcp://10.0.0.1:80");
});

Deno.test("parseCommandLine() takes a lone dash for a value and for a positional", () => {
  for (const argv of [["--ca", "-", "a"], ["a", "--ca=-"]]) {
    const args = parse(argv);
    assertEquals([args.get(CA), args.positionals], ["-", ["a"]]);
  }
  assertEquals(parse(["a", "-"]).positionals, ["a", "-"]);
  assertEquals(parse(["--dry-run", "-"]).positionals, ["-"]);
  assertEquals(parse(["--", "--ca", "-"]).positionals, ["--ca", "-"]);
});
