/** `kvs scale`: brings a cluster to more or fewer servers while its clients go on. */
import { hasUncounted } from "../core/client/discovery.ts";
import { parseServerList, type ServerAddress } from "../core/client/server_list.ts";
import { OutputError, ScaleError, UsageError } from "../core/errors.ts";
import { isMoving } from "../core/layout/layout.ts";
import { type PlacementName } from "../core/placement.ts";
import { type ScaleSummary } from "../core/scale/events.ts";
import { type Goal } from "../core/scale/goal.ts";
import { type ScaleOptions, ScaleRun } from "../core/scale/run.ts";
import { scale as runScale } from "../core/scale/scale.ts";
import { statusOf } from "../core/scale/status.ts";
import { ACCESS_OPTIONS, accessOf } from "./access.ts";
import {
  type Args,
  choiceOption,
  type Command,
  DNS,
  parseCount,
  PLACEMENT,
  switchOption,
  textOption,
} from "./args.ts";
import { OUTPUT, outputOf, PATIENCE, RATE, TIMEOUT } from "./move_options.ts";
import { giveUp } from "./permissions.ts";
import { ScaleReport } from "./scale_output.ts";
import { readServers } from "./servers.ts";
import { EXIT_CODES, onFirstSignal } from "./signals.ts";

const SERVERS = textOption(
  "servers",
  "SRV_1[:PORT],...",
  "Servers to ask for the layout; one is enough. Without a layout: all of them, in the order of placement",
);
const TO_PLACEMENT = choiceOption<PlacementName, undefined>(
  "to-placement",
  ["modulo", "jump"],
  undefined,
  "Move to this placement",
  "the placement of the layout",
);
const STATUS = switchOption(
  "status",
  "Print the layout, the keys of each server, and what differs from the layout; change nothing",
);
const DRY_RUN = switchOption(
  "dry-run",
  "Print how much would move between which servers, and whether there is room; change nothing",
);
const ACCEPT_LOSS = textOption(
  "accept-loss",
  "NAME",
  "Go on with a move in which this server lost its disk for good",
);
const REPLACE = textOption(
  "replace",
  "NAME",
  "Empty this server, which is no part of the cluster any more, and let it join",
);

/** The most servers of a layout. */
const MOST_SERVERS = 10_000;

/** The exit code if the cluster is moving, or if another move was completed than the one asked for. */
const NOT_THERE = 3;

export const scale: Command = {
  name: "scale",
  summary: "Brings a cluster to more or fewer servers while its clients go on.",
  usage: "N|SRV_1[:PORT],... --servers SRV_1[:PORT],... [options]",
  examples: [
    "kvs scale 5 --servers server-0.server",
    "kvs scale 'server-{0..4}.server' --servers server-0.server --dry-run",
    "kvs scale 3 --servers 'server-{0..1}.server' --placement modulo --to-placement jump",
    "kvs scale --status --servers server-0.server",
  ],
  notes: [
    "The first time, --servers is the whole list by which clients place keys, and --placement says how.",
    "Exit codes: 0 done; 1 the command line is wrong, or an error stopped the run and a line tells what is done;",
    `2 the output cannot be written; ${NOT_THERE} another move was under way and was completed, or with --status: moving;`,
    `${EXIT_CODES.SIGHUP}, ${EXIT_CODES.SIGINT} and ${EXIT_CODES.SIGTERM} SIGHUP, Ctrl-C or SIGTERM stopped the run between ranges of keys, and running it again completes it.`,
  ],
  options: [
    ...[SERVERS, PLACEMENT, TO_PLACEMENT, STATUS, DRY_RUN, OUTPUT, RATE, ACCEPT_LOSS, REPLACE],
    ...[TIMEOUT, PATIENCE, DNS],
    ...ACCESS_OPTIONS,
  ],
  async run(args) {
    const { servers, goal } = await readLists(args);
    const access = await accessOf(args);
    await giveUp("run", "read", "write", "env", "sys");
    const stop = new AbortController();
    const report = new ScaleReport(outputOf(args));
    const known = [...servers, ...(typeof goal === "object" ? goal : [])];
    const options: ScaleOptions = {
      ...{ servers, goal, access, signal: stop.signal },
      addressOf: (name) => addressOf(name, known),
      placement: args.get(PLACEMENT),
      toPlacement: args.get(TO_PLACEMENT),
      dryRun: args.get(DRY_RUN),
      acceptLoss: args.get(ACCEPT_LOSS),
      replace: args.get(REPLACE),
      keysPerSecond: args.get(RATE),
      timeoutMs: args.get(TIMEOUT),
      patienceMs: args.get(PATIENCE),
      onWait: (message) => report.note(message),
      onEvent: (event) => report.event(event),
    };
    let exitCode = 0;
    const unlisten = onFirstSignal((signal) => {
      exitCode = EXIT_CODES[signal];
      stop.abort();
      report.note("Stopping after the ranges under way; a second signal ends it at once");
    });
    await giveUp("ffi");
    try {
      if (args.get(STATUS)) {
        const status = await statusOf(new ScaleRun(options));
        report.status(status);
        return isMoving(status.layout) ? NOT_THERE : 0;
      }
      const summary = await runScale(options);
      tellEnd(report, summary, options.dryRun);
      if (summary.interrupted) return exitCode;
      return summary.otherGoal ? NOT_THERE : 0;
    } finally {
      report.close();
      unlisten();
    }
  },
};

/** Prints the summary. @throws {OutputError} If stdout cannot be written; the message tells what became of the run. */
function tellEnd(report: ScaleReport, summary: ScaleSummary, dryRun: boolean): void {
  try {
    report.summary(summary, dryRun);
  } catch (error) {
    if (!(error instanceof OutputError)) throw error;
    throw new OutputError(`${error.message}; nothing is lost: running it again is safe`, {
      cause: error,
    });
  }
}

/** The servers to ask, and the servers that are wanted. */
interface Lists {
  readonly servers: readonly ServerAddress[];
  readonly goal: Goal | undefined;
}

/** @throws {UsageError} If a list is missing or is none. */
async function readLists(args: Args): Promise<Lists> {
  const [goalText, ...rest] = args.positionals;
  if (rest.length > 0) throw new UsageError(`Unexpected argument: ${rest[0]}`);
  const text = args.get(SERVERS);
  if (text === undefined) {
    throw new UsageError("Missing servers: give --servers SRV_1[:PORT],... or set KVS_SERVERS");
  }
  const servers = await readServers(text, "--servers", args);
  if (goalText !== undefined) return { servers, goal: await readGoal(goalText, args) };
  const isOptional = args.get(STATUS) ||
    [args.get(TO_PLACEMENT), args.get(ACCEPT_LOSS), args.get(REPLACE)].some((given) =>
      given !== undefined
    );
  if (!isOptional) throw new UsageError("Missing argument: the number of servers, or their list");
  return { servers, goal: undefined };
}

async function readGoal(text: string, args: Args): Promise<Goal> {
  if (/^\d+$/.test(text)) return parseCount(text, 1, MOST_SERVERS);
  // The record leaves out a server that has no Pod right now, and the list would be another one.
  if (hasUncounted(text)) {
    throw new UsageError("Unsafe list: say how many servers srv:NAME stands for, as in srv:NAME/3");
  }
  return await readServers(text, "the list", args);
}

/** The address of a server that a layout names: as it is known, or spoken to like the first known one. */
function addressOf(name: string, known: readonly ServerAddress[]): ServerAddress {
  const given = known.find((server) => server.name === name);
  if (given !== undefined) return given;
  const scheme = known[0]?.origin.startsWith("https:") ? "https" : "http";
  const [server] = parseServerList(name, "the layout", scheme);
  if (server === undefined) throw new ScaleError(`The layout names no server: ${name}`);
  return server;
}
