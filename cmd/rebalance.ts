/** `kvs rebalance`: moves keys from the servers as they are to the servers as they will be. */
import { hasUncounted } from "../core/client/discovery.ts";
import { OutputError, UsageError } from "../core/errors.ts";
import { giveUp } from "./permissions.ts";
import { PLACEMENTS } from "../core/placement.ts";
import { rebalance as runRebalance } from "../core/rebalance/rebalance.ts";
import { isAtRest, type Summary } from "../core/rebalance/events.ts";
import { openEndpoints } from "../core/rebalance/open.ts";
import { placeOf, type ServerAddress } from "../core/client/server_list.ts";
import { ACCESS_OPTIONS, accessOf } from "./access.ts";
import { type Args, type Command, DNS, PLACEMENT, switchOption } from "./args.ts";
import { EXIT_CODES, onFirstSignal } from "./signals.ts";
import { OUTPUT, outputOf, PATIENCE, RATE, TIMEOUT } from "./move_options.ts";
import { createReport, type Report } from "./rebalance_output.ts";
import { readServers } from "./servers.ts";

const DRY_RUN = switchOption(
  "dry-run",
  "Print how much would move between which servers, and change nothing",
);
const PRUNE = switchOption(
  "prune",
  "At the end delete the copies on servers that will not own them, if the new owners hold the same values",
);
const FORCE = switchOption(
  "force",
  "Go on even if most keys are not on the server that owns them by this placement",
);
const OVERWRITE = switchOption(
  "overwrite",
  "Go on even if this move is complete or another one is not: the old owners' values replace the new owners'",
);

/** The most batches of keys under way at once, enough to keep a few servers and their disks busy. */
const CONCURRENCY = 4;

/** The exit code if clients wrote while keys were moved, or write by the new list already. */
const RESTLESS = 3;

export const rebalance: Command = {
  name: "rebalance",
  summary: "Moves keys from the servers as they are to the servers as they will be.",
  usage: "AS_IS_SRV_1[:PORT],... TO_BE_SRV_1[:PORT],... [options]",
  examples: [
    "kvs rebalance server-0.server,server-1.server,server-2.server server-0.server,server-1.server",
    "kvs rebalance localhost:8000,localhost:8001 localhost:8000,localhost:8001,localhost:8002 --dry-run",
    "kvs rebalance 'server-{0..2}.server' 'server-{0..3}.server' --prune",
  ],
  notes: [
    "Exit codes: 0 done; 1 the command line is wrong, or an error stopped the run and a line tells what is done;",
    `2 the output cannot be written; ${RESTLESS} done, but clients wrote meanwhile, by the old list or by the new list:`,
    "stop the clients of the old list and run it again; keys told as newer stay as they are on their new owners;",
    `${EXIT_CODES.SIGHUP}, ${EXIT_CODES.SIGINT} and ${EXIT_CODES.SIGTERM} SIGHUP, Ctrl-C or SIGTERM stopped the run between batches, and running it again completes it.`,
  ],
  options: [
    ...[OUTPUT, DRY_RUN, PRUNE, RATE, PLACEMENT, FORCE, OVERWRITE, TIMEOUT, PATIENCE, DNS],
    ...ACCESS_OPTIONS,
  ],
  async run(args) {
    const [asIsText, toBeText, ...rest] = args.positionals;
    if (asIsText === undefined) throw new UsageError("Missing argument: AS_IS");
    if (toBeText === undefined) throw new UsageError("Missing argument: TO_BE");
    if (rest.length > 0) throw new UsageError(`Unexpected argument: ${rest[0]}`);
    const { servers, asIs, toBe } = await readLists(asIsText, toBeText, args);
    const output = outputOf(args);
    const dryRun = args.get(DRY_RUN);

    const access = await accessOf(args);
    await giveUp("run", "read", "write", "env", "sys");
    const stop = new AbortController();
    let exitCode = 0;
    const secure = servers.filter(({ origin }) => origin.startsWith("https:"));
    const report = createReport(output, {
      dryRun,
      prune: args.get(PRUNE),
      secure: new Set(secure.map(({ name }) => name)),
    });
    const endpoints = await openEndpoints(servers, {
      timeoutMs: args.get(TIMEOUT),
      access,
      patienceMs: args.get(PATIENCE),
      signal: stop.signal,
      onWait: (message) => report.note(message),
    });
    const keysPerSecond = args.get(RATE);
    const unlisten = onFirstSignal((signal) => {
      exitCode = EXIT_CODES[signal];
      stop.abort();
      report.note("Stopping after the batches under way; a second signal ends it at once");
    });
    await giveUp("ffi");
    try {
      const summary = await runRebalance({
        endpoints,
        layout: { asIs, toBe, placement: PLACEMENTS[args.get(PLACEMENT)] },
        prune: args.get(PRUNE),
        dryRun,
        details: output === "lines" && !dryRun,
        force: args.get(FORCE),
        overwrite: args.get(OVERWRITE),
        concurrency: CONCURRENCY,
        ...(keysPerSecond === undefined ? {} : { keysPerSecond }),
        signal: stop.signal,
        onEvent: (event) => report.event(event),
      });
      tellEnd(report, summary, dryRun);
      if (summary.interrupted) return exitCode;
      return isAtRest(summary) ? 0 : RESTLESS;
    } finally {
      report.close();
      unlisten();
    }
  },
};

/** Prints the summary. @throws {OutputError} If stdout cannot be written; the message tells what became of the run. */
function tellEnd(report: Report, summary: Summary, dryRun: boolean): void {
  try {
    report.summary(summary);
  } catch (error) {
    if (!(error instanceof OutputError)) throw error;
    const end = dryRun
      ? "nothing was changed"
      : "the run had come to its end, nothing is lost: running it again is safe";
    throw new OutputError(`${error.message}; ${end}`, { cause: error });
  }
}

/** The distinct servers of both lists, and the lists as indices into them. */
interface Lists {
  readonly servers: readonly ServerAddress[];
  readonly asIs: readonly number[];
  readonly toBe: readonly number[];
}

/** @throws {UsageError} If a list is empty, names a server in two ways, or both are the same. */
async function readLists(asIsText: string, toBeText: string, args: Args): Promise<Lists> {
  for (const [text, what] of [[asIsText, "AS_IS"], [toBeText, "TO_BE"]] as const) {
    // The record leaves out a server that has no Pod right now, and the list would be another one.
    if (hasUncounted(text)) {
      throw new UsageError(
        `Unsafe server in ${what}: say how many servers srv:NAME stands for, as in srv:NAME/3`,
      );
    }
  }
  const asIs = await readServers(asIsText, "AS_IS", args);
  const toBe = await readServers(toBeText, "TO_BE", args);
  const servers: ServerAddress[] = [];
  const indices = new Map<string, number>();
  const indexOf = (server: ServerAddress) => {
    const place = placeOf(server);
    const index = indices.get(place) ?? servers.push(server) - 1;
    const { name, origin } = servers[index] ?? server;
    if (origin !== server.origin) {
      const [one, other] = name === server.name ? [origin, server.origin] : [name, server.name];
      throw new UsageError(`${one} and ${other} are one server: name it in one way in both lists`);
    }
    indices.set(place, index);
    return index;
  };
  const lists = { servers, asIs: asIs.map(indexOf), toBe: toBe.map(indexOf) };
  // The same servers in another order are another list, by which keys move.
  if (lists.asIs.join() === lists.toBe.join()) {
    throw new UsageError("Nothing to do: AS_IS and TO_BE are the same list");
  }
  return lists;
}
