/**
 * The tour: plays the whole story on a cluster on this machine, and compares the client's rows with what each act has
 * to show. The rows are real probes.
 */
import { delay } from "@std/async/delay";
import { Prober, type Row } from "../client/probe.ts";
import { formatHeader } from "../client/rows.ts";
import { KvsError, messageOf } from "../errors.ts";
import { type PlacementName, PLACEMENTS } from "../placement.ts";
import { accessVariables, runProgram } from "./child.ts";
import { Cluster, type ClusterOptions } from "./cluster.ts";
import { type Act, type Stage, type Step, tourActs } from "./tour_acts.ts";
import { Histories } from "./tour_histories.ts";

/** What a tour is played with. */
export interface TourOptions {
  readonly cluster: Omit<ClusterOptions, "beforeCreate">;
  readonly placement: PlacementName;
  readonly onEvent: (event: TourEvent) => void;
  /** An abort ends the tour, which throws the reason. */
  readonly signal: AbortSignal;
}

/** What a tour shows. */
export type TourEvent =
  | { readonly kind: "act"; readonly number: number; readonly of: number; readonly act: Act }
  | {
    /** A new client: its command line and the lines that it prints first. */
    readonly kind: "client";
    readonly command: string;
    readonly header: readonly string[];
  }
  | { readonly kind: "row"; readonly row: Row }
  | { readonly kind: "passed"; readonly number: number }
  | {
    /** A command that was run to its end: what it printed on stdout, and on stderr. */
    readonly kind: "command";
    readonly command: string;
    readonly output: readonly string[];
    readonly notes: readonly string[];
  };

/** Thrown if an act does not come out as it should; the message tells the act, the step and the last rows. */
export class TourError extends KvsError {}

/** Time from row to row (milliseconds). */
const ROW_INTERVAL_MS = 500;

/** How long one probe may take (milliseconds). */
const PROBE_TIMEOUT_MS = 1000;

/** How long a step may take until its rows were seen (milliseconds). */
const STEP_TIMEOUT_MS = 20_000;

/** How many of the last rows a failure shows. */
const ROWS_IN_FAILURE = 8;

/** A tour. Its cluster has to be stopped after {@link play}, however that ended. */
export class Tour {
  readonly #options: TourOptions;
  readonly #gate = new Gate();
  readonly #acts: readonly Act[];
  readonly cluster: Cluster;

  constructor(options: TourOptions) {
    this.#options = options;
    this.#acts = tourActs(PLACEMENTS[options.placement]);
    this.cluster = new Cluster({ ...options.cluster, beforeCreate: () => this.#gate.pass() });
  }

  /** How many acts there are. */
  get acts(): number {
    return this.#acts.length;
  }

  /**
   * Plays all acts.
   *
   * @throws {TourError} At the first act that does not come out as it should.
   */
  async play(): Promise<void> {
    const { placement, onEvent } = this.#options;
    let client: Client | undefined;
    try {
      for (const [index, act] of this.#acts.entries()) {
        onEvent({ kind: "act", number: index + 1, of: this.acts, act });
        if (client?.isFor(act) !== true) {
          client?.close();
          client = new Client(act, this.cluster, placement);
          onEvent({ kind: "client", command: client.command, header: client.header });
        }
        await this.#playAct(act, client);
        onEvent({ kind: "passed", number: index + 1 });
      }
    } finally {
      client?.close();
    }
  }

  async #playAct(act: Act, client: Client): Promise<void> {
    const histories = new Histories(act.allowed);
    const rows: string[] = [];
    const fail = (step: Step, what: string): never => {
      throw new TourError([
        `The tour failed in the act "${act.title}": ${what}`,
        `  expected ${step.rows} rows of ${step.shows}, the last rows were`,
        ...rows.slice(-ROWS_IN_FAILURE).map((row) => `                    ${row}`),
      ].join("\n"));
    };
    for (const step of act.steps) {
      const work = new StepWork(step.does?.(this.#stage));
      const end = performance.now() + STEP_TIMEOUT_MS;
      for (let seen = 0; seen < step.rows || !work.done;) {
        this.#options.signal.throwIfAborted();
        const row = await client.nextRow();
        this.#options.onEvent({ kind: "row", row });
        rows.push(row.statuses);
        if (work.failure !== undefined) fail(step, work.failure);
        const wrong = histories.add(row.statuses);
        if (wrong !== undefined) fail(step, wrong);
        seen = row.statuses === step.shows ? seen + 1 : 0;
        if (performance.now() > end) fail(step, `nothing more came in ${STEP_TIMEOUT_MS / 1000} s`);
      }
    }
    const missing = histories.missing();
    const last = act.steps.at(-1);
    if (missing !== undefined && last !== undefined) fail(last, missing);
  }

  readonly #stage: Stage = {
    scale: (replicas) => void this.cluster.scaleTo(replicas),
    admit: () => this.#gate.admit(),
    delete: (name) => void this.cluster.delete(name),
    deleteAll: () => void this.cluster.deleteAll(),
    settled: () => this.cluster.settled(),
    rebalance: (asIs, toBe) => this.#rebalance(asIs, toBe),
  };

  async #rebalance(asIs: number, toBe: number): Promise<void> {
    const { placement, onEvent, signal } = this.#options;
    const lists = [this.cluster.serverList(asIs), this.cluster.serverList(toBe)];
    const args = ["rebalance", ...lists, "--prune"];
    if (placement !== "modulo") args.push("--placement", placement);
    const { status, stdout, stderr } = await runProgram(
      args,
      signal,
      accessVariables(this.cluster.access),
    );
    const command = `kvs ${args.join(" ")}`;
    onEvent({ kind: "command", command, output: stdout, notes: stderr });
    if (!status.success) {
      throw new TourError(`kvs rebalance ended with ${status.code}: ${stderr.join("; ")}`);
    }
  }
}

/** The client of an act, like `kvs client`. */
class Client {
  readonly command: string;
  readonly header: readonly string[];
  readonly #act: Act;
  readonly #prober: Prober;
  #next = 0;

  constructor(act: Act, cluster: Cluster, placement: PlacementName) {
    this.#act = act;
    this.#prober = new Prober({
      servers: cluster.servers(act.servers),
      placement: PLACEMENTS[placement],
      readonly: act.readonly,
      timeoutMs: PROBE_TIMEOUT_MS,
      access: cluster.access,
    });
    const mode = act.readonly ? " readonly" : "";
    this.command = `kvs client ${cluster.serverList(act.servers)}${mode}`;
    this.header = formatHeader((letter) => this.#prober.ownerOf(letter));
  }

  /** Whether `act` has the same client. */
  isFor({ servers, readonly }: Act): boolean {
    return servers === this.#act.servers && readonly === this.#act.readonly;
  }

  /** Waits until the next row is due, and probes it. */
  async nextRow(): Promise<Row> {
    await delay(Math.max(0, this.#next - performance.now()));
    this.#next = performance.now() + ROW_INTERVAL_MS;
    return await this.#prober.round();
  }

  close(): void {
    this.#prober.close();
  }
}

/** What a step does while rows are probed: whether it is done, or why it failed. */
class StepWork {
  done = false;
  failure: string | undefined;

  constructor(work: Promise<void> | void) {
    Promise.resolve(work).then(
      () => this.done = true,
      (error) => this.failure = messageOf(error),
    );
  }
}

/** Holds Pods back before they are created: each waits until it is admitted. */
export class Gate {
  #admitted = 0;
  readonly #waiting: (() => void)[] = [];

  /** Admits one Pod, which may already wait or may come later. */
  admit(): void {
    const next = this.#waiting.shift();
    if (next === undefined) this.#admitted++;
    else next();
  }

  /** Resolves when a Pod may be created. */
  async pass(): Promise<void> {
    if (this.#admitted > 0) {
      this.#admitted--;
      return;
    }
    await new Promise<void>((resolve) => this.#waiting.push(resolve));
  }
}
