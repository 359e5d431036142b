/** Fake servers with keys on their owners, and the mover on them. */
import { type ServerAddress } from "../../../core/client/server_list.ts";
import { nextOf, ownerIn } from "../../../core/layout/layout.ts";
import { type PlacementName } from "../../../core/placement.ts";
import { type ScaleEvent, type ScaleSummary } from "../../../core/scale/events.ts";
import { type ScaleOptions, ScaleRun } from "../../../core/scale/run.ts";
import { scale } from "../../../core/scale/scale.ts";
import { type ClusterStatus, statusOf } from "../../../core/scale/status.ts";
import { FakeServer } from "./fake_server.ts";

/** A cluster of servers, and more that wait. */
export class FakeCluster implements AsyncDisposable {
  readonly servers: readonly FakeServer[];
  readonly events: ScaleEvent[] = [];

  /** Makes `size` servers; `keys` keys are on the first `count` of them. */
  constructor(size: number, count: number, keys: number, placement: PlacementName = "modulo") {
    this.servers = Array.from({ length: size }, () => new FakeServer());
    const list = { servers: this.names(count), placement };
    for (let index = 0; index < keys; index++) {
      const key = `key-${index}`;
      this.at(ownerIn(list, key)).keys.set(key, { value: `value ${index}`, type: "text/plain" });
    }
  }

  names(count: number): string[] {
    return this.servers.slice(0, count).map(({ name }) => name);
  }

  /** The server of this name, or index. */
  at(which: string | number): FakeServer {
    const found = typeof which === "number"
      ? this.servers[which]
      : this.servers.find(({ name }) => name === which);
    if (found === undefined) throw new RangeError(`No server ${which}`);
    return found;
  }

  /** Runs the mover to the first `goal` servers, by the list of the first `count`. */
  async scale(
    count: number,
    goal: number | undefined,
    options: Partial<ScaleOptions> = {},
  ): Promise<ScaleSummary> {
    const list = goal === undefined ? undefined : this.names(goal).map(addressOf);
    return await scale({ ...this.#options(count), goal: list, ...options });
  }

  status(count: number): Promise<ClusterStatus> {
    return statusOf(new ScaleRun({ ...this.#options(count), goal: undefined }));
  }

  /** What the notes say. */
  get notes(): string[] {
    return this.events.flatMap((event) => event.kind === "note" ? [event.message] : []);
  }

  /** The keys that are on another server than the layout of the anchor says. */
  get astray(): string[] {
    const { layout } = this.at(0);
    if (layout === undefined) throw new TypeError("The anchor has no layout");
    return this.servers.flatMap(({ name, keys }) =>
      [...keys.keys()].filter((key) => ownerIn(nextOf(layout), key) !== name)
    );
  }

  /** Number of keys on all servers. */
  get keys(): number {
    return this.servers.reduce((sum, { keys }) => sum + keys.size, 0);
  }

  #options(count: number): Omit<ScaleOptions, "goal"> {
    return {
      servers: this.names(count).map(addressOf),
      addressOf,
      placement: "modulo",
      toPlacement: undefined,
      dryRun: false,
      acceptLoss: undefined,
      replace: undefined,
      keysPerSecond: undefined,
      timeoutMs: 10_000,
      patienceMs: 5000,
      signal: new AbortController().signal,
      onWait: () => {},
      onEvent: (event) => this.events.push(event),
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const server of this.servers) await server[Symbol.asyncDispose]();
  }
}

function addressOf(name: string): ServerAddress {
  return { name, origin: `http://${name}` };
}
