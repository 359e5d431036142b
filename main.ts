/** kvs: argv to a subcommand, errors to one line on stderr, results to the exit code. */
import { type Command, helpText, parseCommandLine, usageLine } from "./cmd/args.ts";
import { client } from "./cmd/client.ts";
import { cluster } from "./cmd/cluster.ts";
import { deleteKey } from "./cmd/delete.ts";
import { get } from "./cmd/get.ts";
import { keys } from "./cmd/keys.ts";
import { lifecycle } from "./cmd/lifecycle.ts";
import { put } from "./cmd/put.ts";
import { rebalance } from "./cmd/rebalance.ts";
import { scale } from "./cmd/scale.ts";
import { printLast, writeLine } from "./cmd/screen.ts";
import { server } from "./cmd/server.ts";
import { endedAsInit } from "./cmd/signals.ts";
import { where } from "./cmd/where.ts";
import { VERSION } from "./core/version.ts";
import { KvsError, messageOf, OutputError, UsageError } from "./core/errors.ts";

const COMMANDS: readonly Command[] = [
  server,
  client,
  rebalance,
  scale,
  lifecycle,
  cluster,
  get,
  put,
  deleteKey,
  keys,
  where,
];
const NAMES = COMMANDS.map((command) => command.name).join("|");
const USAGE = `Usage: kvs ${NAMES} [...]`;

function overview(): string {
  const width = Math.max(...COMMANDS.map((command) => command.name.length)) + 2;
  return [
    "A sharded key/value store for Kubernetes StatefulSets.",
    "",
    USAGE,
    "",
    ...COMMANDS.map((command) => `  ${command.name.padEnd(width)}${command.summary}`),
    "",
    "kvs COMMAND --help tells more, kvs --version the version.",
  ].join("\n");
}

async function main([name, ...rest]: readonly string[]): Promise<number> {
  const command = COMMANDS.find((candidate) => candidate.name === name);
  try {
    if (command !== undefined) return await run(command, rest);
    if (name === "--help" || name === "-h") {
      writeLine(Deno.stdout, overview());
      return 0;
    }
    if (name === "--version") {
      writeLine(Deno.stdout, `kvs ${VERSION}`);
      return 0;
    }
  } catch (error) {
    return await tellFailure(error, command);
  }
  const wrong = name === undefined ? "Missing command" : `Unknown command: ${JSON.stringify(name)}`;
  await printLast(wrong, USAGE);
  return 1;
}

async function run(command: Command, argv: readonly string[]): Promise<number> {
  const parsed = parseCommandLine(command, argv, (variable) => Deno.env.get(variable));
  if (parsed.kind === "run") return await command.run(parsed.args);
  writeLine(Deno.stdout, parsed.kind === "help" ? helpText(command) : `kvs ${VERSION}`);
  return 0;
}

/** Tells why it failed; returns the exit code. */
async function tellFailure(error: unknown, command: Command | undefined): Promise<number> {
  // Whoever read our output has gone, as with `kvs client | head`: nobody is left to tell.
  if (error instanceof Deno.errors.BrokenPipe) return 0;
  const known = error instanceof KvsError;
  const usage = error instanceof UsageError && command !== undefined ? [usageLine(command)] : [];
  const text = known ? error.message : `Internal error: ${messageOf(error)}`;
  // What a user typed stays on one line, whatever is in it.
  const lines = error instanceof UsageError ? [text] : text.split("\n");
  await printLast(...lines, ...usage);
  // Not the 1 of a key that is not there.
  return error instanceof OutputError ? 2 : 1;
}

/** The runtime's own list of variables that would send requests through a proxy. */
const PROXY_VARIABLES = ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"];

/** Servers are asked by their own names and never through a proxy, which would hide who answers. */
function ignoreProxies(): void {
  for (const name of PROXY_VARIABLES) {
    Deno.env.delete(name);
    Deno.env.delete(name.toLowerCase());
  }
}

if (import.meta.main) ignoreProxies();
if (import.meta.main) Deno.exit(await Promise.race([main(Deno.args), endedAsInit()]));
