/** Runs workloads: starts servers, gives them their keys, measures in rounds taken in turn. */
import { join } from "@std/path";
import { templates } from "./dialects.ts";
import { rawLoad } from "./generators.ts";
import { writeKeyFiles } from "./key_files.ts";
import { cpuSeconds, InterruptedError, isClosing, makeFolder, settle } from "./stage.ts";
import type { Contender, Dialect, Round, Running, Server, Traffic, Workload } from "./types.ts";

/** How much is measured. */
export interface Effort {
  /** Of a round. */
  readonly seconds: number;
  readonly rounds: number;
  /** Where folders are made: on the disk that is to be measured. */
  readonly folder: string;
  /** Takes a line that says what is being done. */
  readonly say: (line: string) => void;
}

/** What came of one contender. */
export interface Row {
  readonly contender: Contender;
  readonly rounds: Round[];
  /** Why it was not measured to the end. */
  failure: string | undefined;
}

/** What came of one workload. */
export interface Table {
  readonly workload: Workload;
  readonly rows: readonly Row[];
}

/**
 * How long a contender is under load before it is measured for the first time. V8 takes two seconds of saves until
 * it has compiled what is hot (measured: 34,000, 52,000 and 68,000 saves in the first three from source).
 */
export const WARM_UP_SECONDS = 3;

/**
 * How long a contender is under the same load before each round. A virtual machine's host can take back memory that
 * was idle for a second: to touch it again took 10 microseconds a page where that was measured, 250 ms for 100 MiB
 * after 5 s. The larger a process is, the more that costs it in the round that comes after those of the others.
 */
export const LEAD_IN_SECONDS = 1;

/** How long the answers are checked before each workload. */
const CHECK_SECONDS = 0.2;

/** To write keys and to warm up. */
const MANY_CONNECTIONS = 64;

/** Makes what a generator needs to know. */
export function trafficOf(
  workload: Pick<Workload, "loadShare" | "keys" | "inFlight" | "prefix" | "valueBytes">,
  dialect: Dialect,
  port: number,
  seconds: number | undefined,
): Traffic {
  const { loadShare, keys, inFlight, prefix, valueBytes } = workload;
  return {
    port,
    framing: dialect.framing,
    greeting: dialect.greeting ?? "",
    closes: dialect.closes ?? false,
    ...templates(dialect, prefix, valueBytes),
    loadShare,
    prefix,
    valueBytes,
    keys,
    inFlight,
    seconds,
  };
}

/** A server of a group of workloads: running, or the reason why not. */
type Started = { readonly running: Running; readonly folder: string } | string;

/** The servers that a group of workloads shares. They all run from the start to the end. */
class Group implements AsyncDisposable {
  readonly #workloads: readonly Workload[];
  readonly #started = new Map<Server, Started>();
  readonly #warm = new Set<Contender>();
  readonly #effort: Effort;
  readonly #folder: string;

  constructor(workloads: readonly Workload[], effort: Effort, folder: string) {
    this.#workloads = workloads;
    this.#effort = effort;
    this.#folder = folder;
  }

  async start(durable: boolean): Promise<void> {
    const servers = new Set(
      this.#workloads.flatMap(({ contenders }) => contenders.map(({ server }) => server)),
    );
    for (const server of servers) {
      const reason = await server.missing();
      const folder = join(this.#folder, String(this.#started.size));
      this.#effort.say(
        reason === undefined ? `starting ${server.name}` : `${server.name}: ${reason}`,
      );
      try {
        this.#started.set(server, reason ?? await this.#startOne(server, folder, durable));
      } catch (error) {
        this.#started.set(server, failureOf(error));
      }
    }
  }

  async #startOne(server: Server, folder: string, durable: boolean): Promise<Started> {
    const loaded = this.#workloads.filter(({ loadShare, contenders }) =>
      loadShare > 0 && contenders.some((contender) => contender.server === server)
    );
    await Deno.mkdir(join(folder, "data"), { recursive: true });
    const { keys } = server;
    if (keys === "files") {
      for (const { prefix, loadShare, ...workload } of loaded) {
        const linked = loadShare === 1;
        await writeKeyFiles(join(folder, "data"), prefix, { ...workload, linked });
      }
    }
    const running = await server.start({ folder, durable });
    if (typeof keys === "object") {
      const port = running.ports[keys.port] ?? 0;
      for (const workload of loaded) {
        const seed = { ...workload, loadShare: 0, inFlight: MANY_CONNECTIONS };
        await rawLoad(trafficOf(seed, keys.dialect, port, undefined), folder);
      }
    }
    return { running, folder };
  }

  /** Measures one workload: in each round every contender has its turn. */
  async measure(workload: Workload): Promise<Table> {
    const rows = workload.contenders.map((contender): Row => {
      const started = this.#started.get(contender.server);
      const failure = typeof started === "object" ? undefined : started ?? "not started";
      return { contender, rounds: [], failure };
    });
    const rounds = workload.rounds ?? this.#effort.rounds;
    for (let round = -1; round < rounds; round++) {
      for (const row of rows) {
        if (row.failure !== undefined) continue;
        try {
          if (round < 0) await this.#warmUp(workload, row.contender);
          else row.rounds.push(await this.#round(workload, row.contender));
        } catch (error) {
          row.failure = failureOf(error);
        }
      }
    }
    return { workload, rows };
  }

  /** Answers are checked here, so that a fast wrong answer does not count. */
  async #warmUp(workload: Workload, contender: Contender): Promise<void> {
    const { traffic, folder } = this.#target(workload, contender, CHECK_SECONDS);
    if (traffic.port === 0) return;
    if (workload.warm && contender.server.caches && !this.#isWarm(workload, contender)) {
      await rawLoad({ ...traffic, loadShare: 1, seconds: undefined }, folder);
    }
    await rawLoad(traffic, folder);
    if (this.#warm.has(contender)) return;
    this.#warm.add(contender);
    const many = { ...traffic, inFlight: MANY_CONNECTIONS, seconds: WARM_UP_SECONDS };
    await contender.generator(many, folder);
  }

  /** Whether another way to speak to the same server has loaded all keys of this workload. */
  #isWarm(workload: Workload, contender: Contender): boolean {
    return workload.contenders.find(({ server }) => server === contender.server) !== contender;
  }

  async #round(workload: Workload, contender: Contender): Promise<Round> {
    const seconds = workload.seconds ?? this.#effort.seconds;
    const { traffic, folder, running } = this.#target(workload, contender, seconds);
    if (workload.loadShare < 1) await settle(this.#pids());
    if (traffic.port !== 0) {
      await contender.generator({ ...traffic, seconds: LEAD_IN_SECONDS }, folder);
    }
    const cpuBefore = await cpuSeconds(running.pids);
    const start = performance.now();
    const sample = await contender.generator(traffic, folder);
    const elapsed = (performance.now() - start) / 1000;
    return { ...sample, serverCpu: (await cpuSeconds(running.pids) - cpuBefore) / elapsed };
  }

  #target(workload: Workload, contender: Contender, seconds: number) {
    const started = this.#started.get(contender.server);
    if (typeof started !== "object") throw new Error("not started");
    const { running, folder } = started;
    const port = running.ports[contender.port(workload)] ?? 0;
    return { traffic: trafficOf(workload, contender.dialect, port, seconds), folder, running };
  }

  #pids(): number[] {
    return [...this.#started.values()].flatMap((started) =>
      typeof started === "object" ? started.running.pids : []
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const started of this.#started.values()) {
      if (typeof started === "object") await started.running.stop();
    }
    // The folder stays until the end, for the reason that writeKeyFiles() gives.
  }
}

/** Measures workloads; those that start their servers in the same way share them. */
export async function* measure(
  workloads: readonly Workload[],
  effort: Effort,
): AsyncGenerator<Table> {
  for (const durable of [false, true]) {
    const members = workloads.filter((workload) => workload.durable === durable);
    if (members.length === 0) continue;
    await using group = new Group(members, effort, await makeFolder(effort.folder));
    await group.start(durable);
    for (const workload of members) {
      effort.say(`measuring ${workload.name}`);
      yield await group.measure(workload);
    }
  }
}

/** Says why something was not measured. @throws {InterruptedError} If the benchmark is ending. */
export function failureOf(error: unknown): string {
  if (isClosing()) throw new InterruptedError();
  return messageOf(error);
}

export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
