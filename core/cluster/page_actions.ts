/**
 * The buttons of the live page: changes to a cluster that take several steps in the right order, one change at a time.
 *
 * Keys are placed for a number of servers, which is the list that the client uses. More servers than that may run. To
 * grow, servers come first and the keys move then. To shrink, the keys move first and servers go then. While keys
 * move, the client only reads, by the list as it will be.
 */
import { deadline } from "@std/async/deadline";
import { type Cluster } from "./cluster.ts";
import { type PageClient } from "./page_client.ts";
import { KvsError, messageOf, UsageError } from "../errors.ts";
import { NotNowError, type PageActions } from "../page/handler.ts";
import { type PageControls, type Tone } from "../page/model.ts";
import { type PlacementName } from "../placement.ts";
import { accessVariables, Child } from "./child.ts";

/** How long a move waits for servers that are not ready (milliseconds). */
const SETTLE_MS = 5000;

/** What a {@link ClusterActions} is made with. */
export interface ClusterActionsOptions {
  readonly cluster: Cluster;
  readonly placement: PlacementName;
  /** The number of servers for which keys are placed at the start. */
  readonly placed: number;
  /** The most servers there can be. */
  readonly most: number;
  /** An abort ends a move that is under way. */
  readonly signal: AbortSignal;
  /** Told of each step, and of what went wrong. */
  readonly onNote: (text: string, tone: Tone) => void;
  /** Called when {@link ClusterActions.controls} may have changed. */
  readonly onChange: () => void;
}

/** The changes that the page can ask for. Each method throws a NotNowError if another change is under way. */
export class ClusterActions implements PageActions {
  readonly #options: ClusterActionsOptions;
  readonly #client: PageClient;
  #placed: number;
  #pending: PageControls["pending"] = null;
  #busy: string | null = null;

  constructor(client: PageClient, options: ClusterActionsOptions) {
    this.#client = client;
    this.#options = options;
    this.#placed = options.placed;
  }

  get controls(): PageControls {
    const { cluster, most } = this.#options;
    return {
      replicas: cluster.replicas,
      placed: this.#placed,
      most,
      pending: this.#pending,
      busy: this.#busy,
    };
  }

  resize(servers: number): void {
    this.#refuseOtherMove(servers);
    this.#begin(servers, async () => {
      const { cluster } = this.#options;
      const needed = Math.max(this.#placed, servers);
      if (cluster.replicas < needed) await this.#scaleTo(needed);
      if (this.#placed !== servers || this.#pending !== null) await this.#moveTo(servers);
      if (cluster.replicas !== servers) await this.#scaleTo(servers);
    });
  }

  scale(servers: number): void {
    this.#begin(servers, () => this.#scaleTo(servers));
  }

  move(servers: number): void {
    this.#refuseOtherMove(servers);
    if (servers === this.#placed && this.#pending === null) {
      throw new UsageError(`Nothing to move: the keys are placed for ${counted(servers)}`);
    }
    const needed = Math.max(servers, this.#placed);
    if (this.#options.cluster.replicas < needed) {
      throw new NotNowError(`Not possible now: the move needs ${counted(needed)}, scale first`);
    }
    this.#begin(servers, () => this.#moveTo(servers));
  }

  delete(server: string): void {
    const { cluster, onNote } = this.#options;
    this.#refuseIfBusy();
    if (!cluster.pods().some(({ name }) => name === server)) {
      throw new UsageError(`No such server: ${server}`);
    }
    onNote(`${server} is deleted; the controller makes it anew`, "note");
    cluster.delete(server).catch((error) => onNote(messageOf(error), "bad"));
  }

  /** Begins `steps`, which nobody waits for. @throws {NotNowError} If another change is under way. */
  #begin(servers: number, steps: () => Promise<void>): void {
    const { most, onNote } = this.#options;
    if (servers < 1 || servers > most) {
      throw new UsageError(`Expected from 1 to ${most} servers, received ${servers}`);
    }
    this.#refuseIfBusy();
    this.#say("Beginning");
    steps().catch((error) => {
      onNote(messageOf(error), "bad");
      if (this.#pending === null) return;
      onNote("The client only reads until the keys are moved: move them again", "note");
    }).finally(() => this.#say(null));
  }

  /** After a move that failed, keys may be in both places, and only the same move completes it. */
  #refuseOtherMove(servers: number): void {
    const pending = this.#pending;
    if (pending !== null && pending.to !== servers) {
      throw new NotNowError(
        `Not possible now: first complete the move from ${pending.from} to ${counted(pending.to)}`,
      );
    }
  }

  #refuseIfBusy(): void {
    if (this.#busy !== null) throw new NotNowError(`Not possible now: ${this.#busy}`);
  }

  #say(busy: string | null): void {
    this.#busy = busy;
    this.#options.onChange();
  }

  /** @throws {KvsError} If another number was asked for meanwhile. */
  async #scaleTo(servers: number): Promise<void> {
    const { cluster, onNote } = this.#options;
    this.#say(`Scaling from ${cluster.replicas} to ${counted(servers)}`);
    onNote(`Scaling from ${cluster.replicas} to ${counted(servers)}`, "note");
    if (!await cluster.scaleTo(servers)) {
      throw new KvsError(`Not scaled to ${servers}: another number was asked for`);
    }
    onNote(`${counted(servers)} run${servers === 1 ? "s" : ""} now`, "good");
  }

  /** @throws {KvsError} If the move did not come to its end; it can be done again. */
  async #moveTo(servers: number): Promise<void> {
    const { cluster, onNote } = this.#options;
    const from = this.#placed;
    // A server that was just deleted may come back. If it does not, the move fails and tells so.
    this.#say("Waiting until all servers are ready");
    await deadline(cluster.settled(), SETTLE_MS).catch(() => {});
    const moving = `Moving keys from ${from} to ${counted(servers)}`;
    this.#pending = { from, to: servers };
    this.#say(moving);
    onNote(`${moving}; the client only reads meanwhile`, "note");
    await this.#client.use({ count: servers, readonly: true });
    onNote(await this.#rebalance(from, servers), "good");
    this.#pending = null;
    this.#placed = servers;
    this.#options.onChange();
    await this.#client.use({ count: servers, readonly: false });
  }

  /** Runs `kvs rebalance` to its end; resolves to its last line. @throws {KvsError} If it failed. */
  async #rebalance(from: number, to: number): Promise<string> {
    const { cluster, placement, signal } = this.#options;
    const lists = [cluster.serverList(from), cluster.serverList(to)];
    const options = ["--prune", "--output", "progress", "--placement", placement];
    let last = "";
    const child = new Child(["rebalance", ...lists, ...options], {
      onLine: (line) => last = line,
      env: accessVariables(cluster.access),
    });
    const end = () => child.signal("SIGTERM");
    signal.addEventListener("abort", end);
    const { success } = await child.ended;
    signal.removeEventListener("abort", end);
    if (!success) throw new KvsError(`The keys were not moved: ${last}`);
    // The counts of the summary; bytes and rates behind them do not matter on the page.
    return `Keys moved: ${last.split(";")[0]}`;
  }
}

function counted(servers: number): string {
  return servers === 1 ? "1 server" : `${servers} servers`;
}
