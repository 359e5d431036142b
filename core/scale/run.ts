/** What the parts of a run share: servers, limits, counts. */
import { type ServerAddress } from "../client/server_list.ts";
import { KvsError, ScaleError } from "../errors.ts";
import { type Layout, membersOf } from "../layout/layout.ts";
import { type PlacementName } from "../placement.ts";
import { type EndpointOptions } from "../rebalance/endpoint.ts";
import { Pace } from "../rebalance/pace.ts";
import { type ScaleEvent, type ScaleSummary } from "./events.ts";
import { type Goal } from "./goal.ts";
import { Member } from "./member.ts";

/** What a run works with. */
export interface ScaleOptions extends EndpointOptions {
  /** Servers to ask for the layout. Of a cluster without one it is the whole list by which clients place keys. */
  readonly servers: readonly ServerAddress[];
  /** The address of a server that a layout names. @throws {UsageError} If the name is none. */
  readonly addressOf: (name: string) => ServerAddress;
  /** The servers that are wanted; `undefined`: those that the layout has. */
  readonly goal: Goal | undefined;
  /** How keys are placed today, if the cluster has no layout. */
  readonly placement: PlacementName;
  /** How keys are to be placed; `undefined`: as they are. */
  readonly toPlacement: PlacementName | undefined;
  /** Whether to change nothing and to tell what would move. */
  readonly dryRun: boolean;
  /** A server whose disk is lost in the move under way, and never comes back. */
  readonly acceptLoss: string | undefined;
  /** A server that may drop what it has, to join anew. */
  readonly replace: string | undefined;
  /** The most keys to be moved in a second; without it as many as possible. */
  readonly keysPerSecond: number | undefined;
  readonly onEvent: (event: ScaleEvent) => void;
}

/** A run under way. */
export class ScaleRun {
  readonly options: ScaleOptions;
  readonly pace: Pace;
  readonly summary: ScaleSummary = {
    ...{ keys: 0, bytes: 0, seconds: 0, layout: undefined, otherGoal: false, interrupted: false },
  };
  /** Whether any server was given anything. */
  hasChanged = false;
  readonly #members = new Map<string, Member>();

  constructor(options: ScaleOptions) {
    this.options = options;
    this.pace = new Pace(options.keysPerSecond, options.signal);
  }

  /** The server of this name, as a layout names it. */
  member(name: string): Member {
    const known = this.#members.get(name);
    if (known !== undefined) return known;
    const member = new Member(this.options.addressOf(name), this.options);
    this.#members.set(name, member);
    return member;
  }

  members(names: readonly string[]): Member[] {
    return names.map((name) => this.member(name));
  }

  /** The anchor, the other sources, and the servers that are targets alone: the order in which they get a move. */
  groupsOf(layout: Layout): readonly (readonly Member[])[] {
    const [anchor = "", ...others] = layout.servers;
    const targets = membersOf(layout).slice(layout.servers.length);
    return [[anchor], others, targets].map((names) => this.members(names));
  }

  /** Tells the user something. */
  note(message: string): void {
    this.options.onEvent({ kind: "note", message });
  }

  /** The error that ends the run, which tells what was done. */
  ended(cause: KvsError): ScaleError {
    const { keys } = this.summary;
    const end = this.hasChanged
      ? `${keys} keys were moved so far, and running it again goes on`
      : "nothing was changed";
    return new ScaleError(`${cause.message}; ${end}`, { cause });
  }
}
