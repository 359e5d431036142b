/** `kvs client`: probes the cluster for ever, one row a round. */
import { delay } from "@std/async/delay";
import { messageOf, UsageError } from "../core/errors.ts";
import { lettersByServer, LivePage } from "../core/page/page.ts";
import { type PageServer } from "../core/page/model.ts";
import { giveUp } from "./permissions.ts";
import { PLACEMENTS } from "../core/placement.ts";
import { LETTERS, Prober, type Row } from "../core/client/probe.ts";
import { formatHeader, formatRow, MAX_SHOWN_SERVERS } from "../core/client/rows.ts";
import { type ServerAddress } from "../core/client/server_list.ts";
import { ACCESS_OPTIONS, accessOf } from "./access.ts";
import { type Command, countOption, DNS, PLACEMENT, secondsOption, switchOption } from "./args.ts";
import { paintStatuses, tell, writeOut } from "./screen.ts";
import { readServers } from "./servers.ts";
import { EXIT_CODES, stopSignals } from "./signals.ts";
import { openUi, UI } from "./ui.ts";

const INTERVAL = secondsOption("interval", 2, "Time from row to row");
const TIMEOUT = secondsOption("timeout", 1, "How long one probe may take");
const ROWS = countOption("rows", undefined, [1, 1_000_000_000], "Stop after this many rows");
const JSON_OUTPUT = switchOption("json", "Print one JSON object a row");

export const client: Command = {
  name: "client",
  summary: "The smart client: knows which server holds a key, probes the cluster for ever.",
  usage: "SRV_1[:PORT],SRV_2[:PORT],... [readonly] [options]",
  examples: [
    "kvs client server-0.server,server-1.server,server-2.server",
    "kvs client localhost:8000,localhost:8001 readonly --rows 10",
    "kvs client 'server-{0..2}.server'",
    "kvs client srv:server.default.svc.cluster.local",
    "kvs client localhost:8000,localhost:8001 --ui 8080",
  ],
  options: [INTERVAL, TIMEOUT, ROWS, JSON_OUTPUT, PLACEMENT, DNS, ...ACCESS_OPTIONS, UI],
  async run(args) {
    const [list, mode, ...rest] = args.positionals;
    if (list === undefined) throw new UsageError("Missing argument: SRV_1[:PORT],...");
    if (mode !== undefined && mode !== "readonly") {
      throw new UsageError(`Unexpected argument: expected readonly, received "${mode}"`);
    }
    if (rest.length > 0) throw new UsageError(`Unexpected argument: ${rest[0]}`);
    const given = await readServers(list, "SRV_1[:PORT],...", args);
    if (given.length > MAX_SHOWN_SERVERS) {
      throw new UsageError(`Too many servers: ${given.length}, at most ${MAX_SHOWN_SERVERS}`);
    }
    const colored = Deno.stdout.isTerminal() && !Deno.env.get("NO_COLOR");
    const access = await accessOf(args);
    const ui = await openUi(args, "watch");
    const [stopped] = stopSignals();
    await giveUp("run", "read", "write", "env", "sys", "ffi");

    const remote = { timeoutMs: args.get(TIMEOUT), access };
    const prober = new Prober({
      ...remote,
      servers: given,
      placement: PLACEMENTS[args.get(PLACEMENT)],
      readonly: mode === "readonly",
    });
    await prober.discover();
    const servers = prober.servers;
    const page = ui === undefined ? undefined : new LivePage(ui.listener, {
      ...ui.page,
      remote,
      servers,
      view: {
        role: "client",
        placement: args.get(PLACEMENT),
        readonly: mode === "readonly",
        intervalMs: args.get(INTERVAL),
        servers: pageServers(servers, prober),
        owners: LETTERS.map((letter) => prober.ownerOf(letter)),
        controls: null,
      },
      onError: (error) => tell(`Live page: ${messageOf(error)}`),
    });
    for (const line of ui?.lines ?? []) tell(line);
    const json = args.get(JSON_OUTPUT);
    const paint = colored ? paintStatuses : undefined;
    // If nobody reads the output, rows wait, but a signal does not.
    const print = (text: string) => writeOut(new TextEncoder().encode(text + "\n"));
    // Again when the layout has changed.
    const header = () => formatHeader((letter) => prober.ownerOf(letter)).join("\n");
    let shown = header();
    const printed = json ? Promise.resolve() : print(shown);
    const rows = printed.then(() =>
      probeRows(prober, args.get(ROWS) ?? Infinity, args.get(INTERVAL), (row) => {
        page?.addRow(row);
        if (json) return print(formatJsonRow(row, prober));
        const text = formatRow(row, paint);
        const before = shown;
        shown = header();
        return print(shown === before ? text : `${text}\n${shown}`);
      })
    );
    const signal = await Promise.race([rows, stopped]);
    prober.close();
    page?.close();
    return signal === undefined ? 0 : EXIT_CODES[signal];
  },
};

function pageServers(servers: readonly ServerAddress[], prober: Prober): PageServer[] {
  const letters = lettersByServer((letter) => prober.ownerOf(letter), servers.length);
  return servers.map(({ name, origin }, index) => ({
    name,
    address: origin,
    letters: letters[index] ?? "",
  }));
}

/** Probes `count` rounds, and calls `onRow` after each. */
async function probeRows(
  prober: Prober,
  count: number,
  intervalMs: number,
  onRow: (row: Row) => Promise<void>,
): Promise<undefined> {
  for (let row = 0, start = performance.now(); row < count; row++) {
    if (row > 0) start = await nextStart(start, intervalMs);
    await onRow(await prober.round());
  }
}

/**
 * Waits until `intervalMs` after `start`, on the monotonic clock. If the row took longer, the next one
 * starts at once, and the next interval counts from then. Resolves to the start of the next row.
 */
async function nextStart(start: number, intervalMs: number): Promise<number> {
  const next = start + intervalMs;
  const now = performance.now();
  if (now >= next) return now;
  await delay(next - now);
  return next;
}

function formatJsonRow({ time, statuses, hits }: Row, prober: Prober): string {
  return JSON.stringify({
    time: time.toISOString(),
    statuses,
    hits,
    letters: LETTERS.length,
    owners: LETTERS.map((letter) => prober.ownerOf(letter)),
  });
}
