/** `kvs cluster`: the StatefulSet in small, on one machine. */
import { resolve } from "@std/path";
import { Cluster, type ClusterOptions } from "../core/cluster/cluster.ts";
import { isPortFree } from "../core/cluster/ports.ts";
import { type ClusterPage } from "../core/cluster/live_page.ts";
import { type PodEvent } from "../core/cluster/pod.ts";
import { KvsError, messageOf, StartError, UsageError } from "../core/errors.ts";
import { adoptOrphans } from "../core/cluster/orphans.ts";
import { giveUp } from "./permissions.ts";
import { MAX_SHOWN_SERVERS } from "../core/client/rows.ts";
import { Tour } from "../core/cluster/tour.ts";
import { TOUR_REPLICAS } from "../core/cluster/tour_acts.ts";
import { accessOf, TOKEN_OPTIONS } from "./access.ts";
import {
  type Args,
  type Command,
  countOption,
  nonEmpty,
  type Option,
  PLACEMENT,
  secondsOption,
  switchOption,
  textOption,
} from "./args.ts";
import { createClusterPage, runCommands, watchRows } from "./cluster_session.ts";
import { showTourEvent } from "./cluster_tour.ts";
import { Screen } from "./screen.ts";
import { stopSignals } from "./signals.ts";
import { type OpenedUi, openUi, UI } from "./ui.ts";

/** The first port, unless another is asked for. */
const DEFAULT_PORT = 8000;

const REPLICAS = countOption("replicas", 3, [1, MAX_SHOWN_SERVERS], "How many servers");
const PORT: Option<number | undefined> = {
  // The limit leaves ports for all servers.
  ...countOption(
    "port",
    undefined,
    [0, 65_000],
    "server-N listens on this plus N; 0 finds a free port for each server",
  ),
  shownDefault: `${DEFAULT_PORT}`,
};
const HOST: Option<string> = {
  ...textOption("host", "ADDRESS", "The address that the servers listen on"),
  shownDefault: "127.0.0.1",
  fallback: "127.0.0.1",
  parse: nonEmpty,
};
const DATA = textOption(
  "data",
  "DIR",
  "server-N keeps its data in DIR/server-N; without DIR in a temporary folder that is removed at the end",
);
const GRACE = secondsOption("grace", 10, "Time from the prestop hook of a server to SIGKILL");
const DRAIN = secondsOption("drain", 2, "How long a server answers 503 after SIGTERM");
const CLIENT = switchOption("client", "Run the client too, and show its rows");
const LOGS = switchOption("logs", "Show the log lines of the servers, on stderr");
const TOUR = switchOption("tour", "Play the whole story in about half a minute, then exit");

/** The options of a cluster. */
type Settings = Omit<ClusterOptions, "onEvent" | "beforeCreate">;

export const cluster: Command = {
  name: "cluster",
  summary: "The whole cluster on one machine: a StatefulSet in small.",
  usage: "[options]",
  examples: [
    "kvs cluster",
    "kvs cluster --ui 8080",
    "kvs cluster --tour",
    "kvs cluster --replicas 5 --port 9000 --data ./data --client",
  ],
  options: [
    REPLICAS,
    PORT,
    HOST,
    DATA,
    GRACE,
    DRAIN,
    PLACEMENT,
    CLIENT,
    LOGS,
    TOUR,
    ...TOKEN_OPTIONS,
    UI,
  ],
  async run(args) {
    if (args.positionals.length > 0) {
      throw new UsageError(`Unexpected argument: ${args.positionals[0]}`);
    }
    const tour = args.get(TOUR);
    if (tour && args.get(REPLICAS) !== TOUR_REPLICAS) {
      throw new UsageError(`Not possible: the tour is played with ${TOUR_REPLICAS} servers`);
    }
    if (tour && args.get(DATA) !== undefined) {
      throw new UsageError("Not possible: the tour begins with no data, in a temporary folder");
    }
    if (tour && args.get(UI) !== undefined) {
      throw new UsageError("Not possible: the tour has no live page");
    }
    const access = await accessOf(args);
    const ending = new Ending();
    adoptOrphans();
    await giveUp("sys", "ffi");
    const ui = await openUi(args, "add, remove and delete servers");
    const screen = new Screen(() => ending.request("the output was closed"));
    const volume = await openVolume(args.get(DATA));
    try {
      const settings = {
        host: args.get(HOST),
        port: args.get(PORT) ?? (tour ? tourPort(args.get(HOST)) : DEFAULT_PORT),
        dataDir: volume.path,
        graceMs: args.get(GRACE),
        drainMs: args.get(DRAIN),
        access,
      };
      return tour
        ? await playTour(args, settings, screen, ending)
        : await serve(args, settings, { screen, ending, ui });
    } finally {
      await volume.release();
      await screen.flush();
    }
  },
};

/** Keeps a cluster until it is told to end. */
async function serve(
  args: Args,
  settings: Settings,
  { screen, ending, ui }: { screen: Screen; ending: Ending; ui: OpenedUi | undefined },
): Promise<number> {
  let page: ClusterPage | undefined;
  const onEvent = (event: PodEvent) => {
    showPodEvent(event, screen, args.get(LOGS));
    if (event.kind === "died" || event.kind === "warning") page?.note(podEventText(event));
  };
  const cluster = new Cluster({ ...settings, onEvent });
  await untilStopped(cluster, screen, ending, async () => {
    const replicas = args.get(REPLICAS);
    const placement = args.get(PLACEMENT);
    const started = cluster.start(replicas);
    if (ui !== undefined) {
      page = createClusterPage({
        cluster,
        placement,
        replicas,
        ui,
        rows: args.get(CLIENT),
        screen,
        signal: ending.signal,
      });
    }
    const kept = args.get(DATA) === undefined ? "removed at the end" : "kept";
    screen.print(`${replicas} servers, data in ${settings.dataDir} (${kept})`);
    screen.print(`servers: ${cluster.serverList(replicas)}`);
    screen.print("commands: scale N, delete server-N, list, quit");
    // Commands and rows do not wait for the start, so that a start can be watched, and ended.
    void runCommands({ cluster, placement, screen, quit: () => ending.request("quit") });
    for (const line of ui?.lines ?? []) screen.print(line);
    if (page !== undefined) void page.run();
    else if (args.get(CLIENT)) void watchRows(cluster, placement, screen, ending.signal);
    await Promise.race([started, ending.requested]);
    if (!ending.signal.aborted) screen.print(`all ${replicas} servers are ready`);
    await ending.requested;
  });
  page?.close();
  return 0;
}

/** Plays the tour to its end. */
async function playTour(
  args: Args,
  settings: Settings,
  screen: Screen,
  ending: Ending,
): Promise<number> {
  const startedAt = performance.now();
  const seconds = () => Math.round((performance.now() - startedAt) / 1000);
  const tour = new Tour({
    cluster: { ...settings, onEvent: (event) => showPodEvent(event, screen, args.get(LOGS)) },
    placement: args.get(PLACEMENT),
    onEvent: (event) => showTourEvent(event, screen),
    signal: ending.signal,
  });
  await untilStopped(tour.cluster, screen, ending, async () => {
    screen.print(`The story of a sharded store on a StatefulSet, in ${tour.acts} acts.`);
    try {
      await tour.play();
    } catch (error) {
      if (!ending.signal.aborted) throw error;
      throw new KvsError(`The tour was ended before its end: ${ending.signal.reason}`);
    }
    screen.print("");
  });
  screen.printBold(`All ${tour.acts} acts came out as they should, in ${seconds()} seconds.`);
  return 0;
}

/** Does `work`, then stops the cluster, however `work` ended. A second signal kills the cluster. */
async function untilStopped(
  cluster: Cluster,
  screen: Screen,
  ending: Ending,
  work: () => Promise<void>,
): Promise<void> {
  ending.urgent.addEventListener("abort", () => cluster.kill());
  try {
    await work();
  } finally {
    if (ending.signal.aborted) {
      screen.print(`stopping (${ending.signal.reason}); Ctrl-C again ends all at once`);
    }
    await cluster.stop();
  }
}

/** The usual ports if they are free, else free ones, so that the tour does not fail because of another program. */
function tourPort(host: string): number {
  const ports = Array.from({ length: TOUR_REPLICAS }, (_, ordinal) => DEFAULT_PORT + ordinal);
  return ports.every((port) => isPortFree(host, port)) ? DEFAULT_PORT : 0;
}

/** The folder for the data; `release` removes a temporary one. */
async function openVolume(
  dir: string | undefined,
): Promise<{ path: string; release(): Promise<void> }> {
  if (dir !== undefined) return { path: resolve(dir), release: () => Promise.resolve() };
  try {
    const path = await Deno.makeTempDir({ prefix: "kvs-cluster-" });
    return { path, release: () => Deno.remove(path, { recursive: true }) };
  } catch (error) {
    throw new StartError(`Cannot make a temporary folder: ${messageOf(error)}`, { cause: error });
  }
}

/** The line that tells what went wrong with a Pod. */
function podEventText(event: Extract<PodEvent, { kind: "died" | "warning" }>): string {
  if (event.kind === "warning") return `${event.name}: ${event.line}`;
  const when = event.backOffMs === 0 ? "now" : `in ${event.backOffMs / 1000} s`;
  return `${event.name} died (${event.why}): it is started again ${when}`;
}

function showPodEvent(event: PodEvent, screen: Screen, logs: boolean): void {
  const { kind, name } = event;
  switch (kind) {
    case "started":
      return;
    case "ready":
      return screen.printDim(`${name} is ready at ${event.address}`);
    case "unready":
      return screen.printDim(`${name} is no longer ready`);
    case "died":
      return screen.printDim(podEventText(event));
    case "terminating":
      return screen.printDim(`${name} is terminating`);
    case "stopped":
      return screen.printDim(`${name} has gone${event.killed ? ", killed" : ""}`);
    case "warning":
      return screen.printError(podEventText(event));
    case "log":
      if (logs) screen.printError(`${name} | ${event.line}`);
      return;
  }
}

/** The request to end, which comes by a signal, a command, or an output that nobody reads any more. */
class Ending {
  readonly #first = new AbortController();
  readonly #second = new AbortController();
  /** Resolves at the first request. */
  readonly requested: Promise<void>;

  /** From now on SIGINT, SIGTERM and the like are requests. */
  constructor() {
    this.requested = new Promise((resolve) => {
      this.signal.addEventListener("abort", () => resolve());
    });
    const [first, second] = stopSignals();
    void first.then((signal) => this.request(signal));
    void second.then((signal) => this.#second.abort(signal));
  }

  /** Aborted at the first request; its reason says who asked. */
  get signal(): AbortSignal {
    return this.#first.signal;
  }

  /** Aborted when a signal asks again: everything is to end at once. */
  get urgent(): AbortSignal {
    return this.#second.signal;
  }

  request(reason: string): void {
    this.#first.abort(reason);
  }
}
