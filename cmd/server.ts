/** `kvs server`: one shard. */
import { UsageError } from "../core/errors.ts";
import { type TokenSource } from "../core/server/guard.ts";
import { type CertificateFiles } from "../core/server/listener.ts";
import { keepFilesPrivate } from "../core/system/process.ts";
import { formatJson, formatText, type Log } from "../core/log.ts";
import { giveUp } from "./permissions.ts";
import { parentEnded } from "../core/cluster/child.ts";
import { parseHostName, Shard } from "../core/server/shard.ts";
import {
  type Args,
  bytesOption,
  choiceOption,
  type Command,
  countOption,
  nonEmpty,
  type Option,
  parseCount,
  secondsOption,
  textOption,
} from "./args.ts";
import { TOKEN } from "./access.ts";
import { stderrLines, writeLine } from "./screen.ts";
import { EXIT_CODES, stopSignals } from "./signals.ts";

const HOST: Option<string> = {
  name: "host",
  placeholder: "ADDRESS",
  help: "The address to listen on",
  shownDefault: "0.0.0.0",
  fallback: "0.0.0.0",
  parse: nonEmpty,
};
const ALLOW_HOST: Option<readonly string[] | undefined> = {
  name: "allow-host",
  placeholder: "NAME[,NAME]",
  help: "The host names under which data is served, besides addresses and localhost",
  shownDefault: "none on a loopback address, else any",
  fallback: undefined,
  parse: (text) =>
    text.split(",").map((item) => {
      const name = parseHostName(item.trim());
      if (name === undefined) throw new UsageError(`expected host names, received "${text}"`);
      return name;
    }),
};
const DRAIN = secondsOption("drain", 5, "How long to answer 503 after SIGTERM before closing");
const MAX_VALUE = bytesOption("max-value", "16MiB", "The largest value that the server takes");
const CACHE = bytesOption("cache", "64MiB", "Memory for values, so that loads need no disk");
const JOURNAL = bytesOption(
  "journal",
  "256MiB",
  "Disk, and memory, for writes that are not key files yet; when full, writers are slowed",
);
const MAX_CONNECTIONS = countOption(
  "max-connections",
  4096,
  [1, 1_000_000],
  "The most open connections; more wait until one ends",
);
const HEADER_TIMEOUT = secondsOption(
  "header-timeout",
  10,
  "How long a client may take for the header of a request",
);
const BODY_TIMEOUT = secondsOption(
  "body-timeout",
  30,
  "How long a client may send nothing of a body, or read nothing of its answer",
);
const IDLE_TIMEOUT = secondsOption(
  "idle-timeout",
  75,
  "How long a connection may wait for its next request",
);
const TOKEN_FILE = textOption(
  "token-file",
  "FILE",
  "Ask for a bearer token on every data route: a line of this file, which is read again when it changes",
);
const TLS_CERT = textOption(
  "tls-cert",
  "FILE",
  "Speak HTTPS with this certificate chain (PEM), which is read again when it changes",
);
const TLS_KEY = textOption("tls-key", "FILE", "The private key of --tls-cert (PEM)");
const LOG_FORMAT = choiceOption(
  "log-format",
  ["text", "json"],
  "text",
  "The format of the log lines",
);

/** The longest header section (bytes). Our clients send a few hundred. */
const MAX_HEADER_BYTES = 64 * 1024;

/** The longest request target (bytes). It bounds the word of `/save/KEY/WORD`. */
const MAX_TARGET_BYTES = 64 * 1024;

/** How long the end waits if nobody reads the log (milliseconds). */
const LOG_FLUSH_MS = 500;

export const server: Command = {
  name: "server",
  summary: "One shard: keeps keys as files, serves them over HTTP.",
  usage: "PORT DATA_DIR [options]",
  examples: ["kvs server 80 /var/data", "kvs server 0 ./data --host 127.0.0.1"],
  notes: [
    "In URLs of the book routes (/save/KEY/WORD, /load/KEY) write ? as %3F: what follows a ? is a query,",
    "which these routes ignore. Write / as %2F and % as %25. GET / lists all routes.",
  ],
  options: [
    HOST,
    ALLOW_HOST,
    DRAIN,
    MAX_VALUE,
    CACHE,
    JOURNAL,
    MAX_CONNECTIONS,
    HEADER_TIMEOUT,
    BODY_TIMEOUT,
    IDLE_TIMEOUT,
    TOKEN_FILE,
    TOKEN,
    TLS_CERT,
    TLS_KEY,
    LOG_FORMAT,
  ],
  async run(args) {
    const [portText, dataDir, ...rest] = args.positionals;
    if (portText === undefined) throw new UsageError("Missing argument: PORT");
    if (dataDir === undefined || dataDir === "") throw new UsageError("Missing argument: DATA_DIR");
    if (rest.length > 0) throw new UsageError(`Unexpected argument: ${rest[0]}`);
    const port = parsePort(portText);
    const certificate = certificateOf(args);
    const tokens = tokensOf(args);
    const { log, flush } = logger(args.get(LOG_FORMAT) === "json");

    // A write past the limit of a file's size (ulimit -f) must fail as on a full disk, not end the process.
    Deno.addSignalListener("SIGXFSZ", () => {});
    const [signalled, second] = stopSignals();
    // The end of a cluster on this machine that started this server counts as Ctrl-C.
    const alone = parentEnded().then(() => "SIGINT" as const);
    const first = Promise.race([signalled, alone]);
    await giveUp("run", "env");
    await keepFilesPrivate(dataDir);
    const started = Shard.start({
      host: args.get(HOST),
      port,
      dataDir,
      certificate,
      tokens,
      allowedHosts: args.get(ALLOW_HOST),
      maxValueBytes: args.get(MAX_VALUE),
      cacheBytes: args.get(CACHE),
      journalBytes: args.get(JOURNAL),
      http: {
        maxConnections: args.get(MAX_CONNECTIONS),
        headerTimeoutMs: args.get(HEADER_TIMEOUT),
        bodyTimeoutMs: args.get(BODY_TIMEOUT),
        idleTimeoutMs: args.get(IDLE_TIMEOUT),
        maxHeaderBytes: MAX_HEADER_BYTES,
        maxTargetBytes: MAX_TARGET_BYTES,
      },
      log,
      onListen: (address) => {
        if (port === 0) writeLine(Deno.stdout, address);
      },
    });
    // Rejects if the disk fails later. If the shard does not even start, `started` rejects.
    const failed = started.then(async (shard) => {
      // The C library is loaded by now, and stays usable.
      await giveUp("ffi");
      return await shard.failed;
    });
    const signal = await Promise.race([first, failed]);
    const drainMs = signal === "SIGINT" ? 0 : args.get(DRAIN);
    log("info", "stopping", { signal, drainSeconds: drainMs / 1000 });
    const stopped = started.then((shard) => shard.stop(drainMs));
    const again = await Promise.race([stopped, second, failed]);
    if (again === undefined) log("info", "stopped");
    await flush();
    return again === undefined ? 0 : EXIT_CODES[again];
  },
};

function parsePort(text: string): number {
  try {
    return parseCount(text, 0, 65535);
  } catch {
    throw new UsageError(
      `Cannot start server: PORT must be a whole number from 0 to 65535: received "${text}"`,
    );
  }
}

/** @throws {UsageError} If only one of the two files is given. */
function certificateOf(args: Args): CertificateFiles | undefined {
  const certFile = args.get(TLS_CERT);
  const keyFile = args.get(TLS_KEY);
  if (certFile === undefined && keyFile === undefined) return undefined;
  if (certFile === undefined) throw new UsageError("Missing option: --tls-cert, for --tls-key");
  if (keyFile === undefined) throw new UsageError("Missing option: --tls-key, for --tls-cert");
  return { certFile, keyFile };
}

function tokensOf(args: Args): TokenSource | undefined {
  const file = args.get(TOKEN_FILE);
  if (file !== undefined) return { file };
  const token = args.get(TOKEN);
  return token === undefined ? undefined : { token };
}

/** A log that never blocks. `flush` resolves when its lines are written, or when nobody reads them in time. */
function logger(json: boolean): { readonly log: Log; readonly flush: () => Promise<void> } {
  const format = json ? formatJson : formatText;
  const lines = stderrLines((lost) =>
    format(new Date(), "warn", "log lines were dropped: they could not be written", { lines: lost })
  );
  return {
    log: (level, message, facts = {}) => lines.print(format(new Date(), level, message, facts)),
    flush: () => lines.flush(LOG_FLUSH_MS),
  };
}
