/** The options, the store and the exit codes of the commands for daily use. */
import {
  DEFAULT_PATIENCE_MS,
  DEFAULT_TIMEOUT_MS,
  DiscoveryError,
  InvalidKeyError,
  Kvs,
  KvsError,
  RemoteError,
  UsageError,
} from "../core/client/kvs.ts";
import { OutputError, StartError } from "../core/errors.ts";
import {
  type Args,
  DNS,
  type Option,
  PLACEMENT,
  secondsOption,
  switchOption,
  textOption,
} from "./args.ts";
import { ACCESS_OPTIONS, accessOf } from "./access.ts";
import { tell } from "./screen.ts";
import { readServers } from "./servers.ts";

const SERVERS = textOption(
  "servers",
  "SRV_1[:PORT],...",
  "The servers, in the order of placement",
);
const TIMEOUT = secondsOption(
  "timeout",
  DEFAULT_TIMEOUT_MS / 1000,
  "How long a server may be silent within one request",
);
const PATIENCE = secondsOption(
  "patience",
  DEFAULT_PATIENCE_MS / 1000,
  "How long to try again while a server is away or starting; 0: not at all",
);

/** `--json` of these commands. */
export const JSON_OUTPUT = switchOption("json", "Print JSON");

/** The options about servers, and how they are asked. */
export const STORE_OPTIONS: readonly Option<unknown>[] = [
  SERVERS,
  PLACEMENT,
  TIMEOUT,
  PATIENCE,
  DNS,
  ...ACCESS_OPTIONS,
];

/** The exit codes of these commands; a usage error is 1 too, as everywhere. */
export const EXIT = { ok: 0, notFound: 1, unreachable: 2, refused: 3 } as const;

/** Notes in the help of these commands. */
export const STORE_NOTES: readonly string[] = [
  "Exit codes: 0 done; 1 no such key, or a wrong command line; 2 a server cannot be reached or failed, or the",
  "output cannot be written; 3 refused (condition does not hold, value too large, no room, no access).",
  "In server lists, server-{0..2}.server stands for three servers (in quotes: a shell would make it three",
  "arguments), srv:NAME/3 for the three targets of a DNS SRV record.",
];

/** Opens the store that the options name. @throws {UsageError} If no servers are named. */
async function openStore(args: Args): Promise<Kvs> {
  const text = args.get(SERVERS);
  if (text === undefined) {
    throw new UsageError("Missing servers: give --servers SRV_1[:PORT],... or set KVS_SERVERS");
  }
  return new Kvs(await readServers(text, "--servers", args), {
    placement: args.get(PLACEMENT),
    timeoutMs: args.get(TIMEOUT),
    patienceMs: args.get(PATIENCE),
    access: await accessOf(args),
  });
}

/** Does some work on the store. A failure of a server or the network becomes an exit code. */
export async function withStore(
  args: Args,
  work: (store: Kvs) => Promise<number>,
): Promise<number> {
  try {
    return await work(await openStore(args));
  } catch (error) {
    if (!(error instanceof KvsError)) throw error;
    // main tells these of every command.
    const classes = [UsageError, InvalidKeyError, StartError, OutputError];
    if (classes.some((errorClass) => error instanceof errorClass)) throw error;
    tell(error.message);
    return exitCodeOf(error);
  }
}

/** Of the statuses from 500 on only 507, a full disk, is no failure of the server. */
function exitCodeOf(error: KvsError): number {
  if (error instanceof DiscoveryError) return EXIT.unreachable;
  if (!(error instanceof RemoteError)) return EXIT.refused;
  const { status } = error;
  return status !== undefined && status >= 400 && (status < 500 || status === 507)
    ? EXIT.refused
    : EXIT.unreachable;
}

/** Tells that a key is absent; returns the exit code. */
export function tellNotFound(key: string): number {
  tell(`No such key: ${key}`);
  return EXIT.notFound;
}

/** The arguments. @throws {UsageError} If one is missing, or there are too many. */
export function positionals(args: Args, names: readonly string[], optional = 0): readonly string[] {
  const missing = names[args.positionals.length];
  if (missing !== undefined && args.positionals.length < names.length - optional) {
    throw new UsageError(`Missing argument: ${missing}`);
  }
  const extra = args.positionals[names.length];
  if (extra !== undefined) throw new UsageError(`Unexpected argument: ${extra}`);
  return args.positionals;
}
