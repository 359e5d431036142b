/** Commands and rows while `kvs cluster` runs. */
import { delay } from "@std/async/delay";
import { TextLineStream } from "@std/streams/text-line-stream";
import { type Cluster, type PodReport } from "../core/cluster/cluster.ts";
import { ClusterPage } from "../core/cluster/live_page.ts";
import { messageOf, UsageError } from "../core/errors.ts";
import { type PlacementName, PLACEMENTS } from "../core/placement.ts";
import { Prober } from "../core/client/probe.ts";
import { formatHeader, formatRow, MAX_SHOWN_SERVERS } from "../core/client/rows.ts";
import { parseCount } from "./args.ts";
import { type Screen } from "./screen.ts";
import { type OpenedUi } from "./ui.ts";

/** Time from row to row, and the time-out of a probe (milliseconds), as the defaults of `kvs client`. */
const ROW_INTERVAL_MS = 2000;
const PROBE_TIMEOUT_MS = 1000;

/** What commands work on. */
export interface Session {
  readonly cluster: Cluster;
  readonly placement: PlacementName;
  readonly screen: Screen;
  /** Asks for the end of the cluster. */
  quit(): void;
}

/**
 * Carries out the commands on standard input; resolves at its end, which does not end the cluster, so that a cluster
 * can run without a terminal. Never rejects.
 */
export async function runCommands(session: Session): Promise<void> {
  const { screen } = session;
  try {
    const lines = Deno.stdin.readable
      .pipeThrough(new TextDecoderStream())
      .pipeThrough(new TextLineStream());
    for await (const line of lines) {
      // Not awaited: a user can list, or ask for another number, while servers come and go.
      runCommand(line, session).catch((error) => screen.print(messageOf(error)));
    }
  } catch (error) {
    screen.print(`No more commands are read: ${messageOf(error)}`);
  }
}

async function runCommand(line: string, session: Session): Promise<void> {
  const { cluster, screen } = session;
  const [command = "", argument, ...rest] = line.trim().split(/\s+/);
  const count = (argument === undefined ? 0 : 1) + rest.length;
  if (command === "" && count === 0) return;
  if (command === "scale" && argument !== undefined && count === 1) {
    return await scale(argument, session);
  }
  if (command === "delete" && argument !== undefined && count === 1) {
    if (!await cluster.delete(argument)) screen.print(`No such server: ${argument}`);
    return;
  }
  if (command === "list" && count === 0) {
    for (const row of formatTable(await cluster.list())) screen.print(row);
    return;
  }
  if (command === "quit" && count === 0) return session.quit();
  screen.print(
    `Unknown command: expected scale N, delete server-N, list or quit: "${line.trim()}"`,
  );
}

async function scale(argument: string, { cluster, placement, screen }: Session): Promise<void> {
  const before = cluster.replicas;
  const after = parseReplicas(argument);
  if (!await cluster.scaleTo(after)) return;
  screen.print(`servers: ${after === 0 ? "none" : cluster.serverList(after)}`);
  if (before === after || before === 0 || after === 0) return;
  const move = `kvs rebalance ${cluster.serverList(before)} ${cluster.serverList(after)}` +
    (placement === "modulo" ? "" : ` --placement ${placement}`);
  screen.print(
    after > before
      ? `keys move by: ${move}`
      : `keys do not move by themselves; if this was not run before: scale ${before}, ${move}, scale ${after}`,
  );
}

function parseReplicas(text: string): number {
  try {
    return parseCount(text, 0, MAX_SHOWN_SERVERS);
  } catch (error) {
    throw new UsageError(`Cannot scale: ${messageOf(error)}`);
  }
}

function formatTable(pods: readonly PodReport[]): string[] {
  const rows = [
    ["NAME", "ADDRESS", "STATE", "PID", "RESTARTS", "KEYS"],
    ...pods.map(({ name, server, state, pid, restarts, keys }) => [
      name,
      server.name,
      state,
      `${pid ?? "-"}`,
      `${restarts}`,
      `${keys ?? "-"}`,
    ]),
  ];
  const widths = (rows[0] ?? []).map((_, column) =>
    Math.max(...rows.map((row) => row[column]?.length ?? 0))
  );
  return rows.map((row) =>
    row.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join("  ").trimEnd()
  );
}

/** Prints the client's rows until an abort; for another number of servers it begins a new client. */
export async function watchRows(
  cluster: Cluster,
  placement: PlacementName,
  screen: Screen,
  signal: AbortSignal,
): Promise<void> {
  while (!signal.aborted) {
    const { replicas } = cluster;
    const prober = new Prober({
      servers: cluster.servers(replicas),
      placement: PLACEMENTS[placement],
      readonly: false,
      timeoutMs: PROBE_TIMEOUT_MS,
      access: cluster.access,
    });
    for (const line of replicas === 0 ? [] : formatHeader((letter) => prober.ownerOf(letter))) {
      screen.print(line);
    }
    while (!signal.aborted && cluster.replicas === replicas) {
      const next = performance.now() + ROW_INTERVAL_MS;
      if (replicas > 0) screen.print(formatRow(await prober.round(), screen.paint));
      await delay(Math.max(0, next - performance.now()), { signal }).catch(() => {});
    }
    prober.close();
  }
}

/** The live page of a cluster. With `rows` the rows of its client are printed too. */
export function createClusterPage(
  { cluster, placement, replicas, ui, rows, screen, signal }: {
    readonly cluster: Cluster;
    readonly placement: PlacementName;
    readonly replicas: number;
    readonly ui: OpenedUi;
    readonly rows: boolean;
    readonly screen: Screen;
    readonly signal: AbortSignal;
  },
): ClusterPage {
  let header = "";
  return new ClusterPage(ui.listener, {
    cluster,
    placement,
    replicas,
    most: MAX_SHOWN_SERVERS,
    intervalMs: ROW_INTERVAL_MS,
    remote: { timeoutMs: PROBE_TIMEOUT_MS, access: cluster.access },
    page: {
      ...ui.page,
      onError: (error) => screen.printError(`Live page: ${messageOf(error)}`),
    },
    onRow(row, ownerOf) {
      if (!rows) return;
      const lines = formatHeader(ownerOf);
      if (header !== lines.join()) { for (const line of lines) screen.print(line); }
      header = lines.join();
      screen.print(formatRow(row, screen.paint));
    },
    signal,
  });
}
