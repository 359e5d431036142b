/**
 * Whether a server may answer for a key: one pure function of what the server knows, the key, and what the client says.
 * For every layout, mark and key exactly one server serves.
 */
import { compareKeys } from "../key.ts";
import { type Placement, PLACEMENTS } from "../placement.ts";
import { type Claim } from "./claim.ts";
import { isHandedOver, isMoving, type Layout, type Mark, nextOf } from "./layout.ts";

/**
 * What a server does with a request. `wait`: until the fence is gone, then it looks again. `misdirected`: 421, since
 * another server answers for the key. `unavailable`: 503, since the server answers for no key.
 */
export type Verdict = "serve" | "wait" | "misdirected" | "unavailable";

/** A range of keys that a source may not change, since it is being carried. */
export interface FencedRange {
  /** The range begins behind this key; `undefined`: with the first key. */
  readonly after: string | undefined;
  /** The last key of the range; `undefined`: the range has no end. */
  readonly upto: string | undefined;
}

/** What a server knows of its place in the cluster. */
export interface Standing {
  /** The place in the newest layout; `undefined` if the server has no layout. */
  readonly place: Place | undefined;
  /** Whether the server was started as a part of a cluster, so that it serves nothing without a layout. */
  readonly isMember: boolean;
  /** Whether the server serves nothing: its layout names another store for it, or it was left behind. */
  readonly isOut: boolean;
  readonly mark: Mark;
  readonly fence: FencedRange | undefined;
}

/** The place of one server in one layout, prepared so that the look at a key is cheap. */
export class Place {
  readonly layout: Layout;
  /** The name of the server in the layout. */
  readonly self: string;
  readonly isMoving: boolean;
  /** Whether the server is a source whose disk was lost in this move. */
  readonly isLost: boolean;
  readonly #owner: Placement;
  readonly #servers: number;
  readonly #index: number;
  readonly #nextOwner: Placement;
  readonly #nextServers: number;
  readonly #nextIndex: number;

  constructor(layout: Layout, self: string) {
    const next = nextOf(layout);
    this.layout = layout;
    this.self = self;
    this.isMoving = isMoving(layout);
    this.isLost = layout.lost?.includes(self) ?? false;
    this.#owner = PLACEMENTS[layout.placement];
    this.#servers = layout.servers.length;
    this.#index = layout.servers.indexOf(self);
    this.#nextOwner = PLACEMENTS[next.placement];
    this.#nextServers = next.servers.length;
    this.#nextIndex = next.servers.indexOf(self);
  }

  /** Whether the server owns keys now: it is in `servers`. */
  get isSource(): boolean {
    return this.#index >= 0;
  }

  /** Whether the server will own keys: it is in the list after the move. */
  get isNext(): boolean {
    return this.#nextIndex >= 0;
  }

  /** Whether the server owns `key` by `servers`. */
  isSourceOf(key: string): boolean {
    return this.#index >= 0 && this.#owner(key, this.#servers) === this.#index;
  }

  /** Whether the server owns `key` by the list after the move. */
  isTargetOf(key: string): boolean {
    return this.#nextIndex >= 0 && this.#nextOwner(key, this.#nextServers) === this.#nextIndex;
  }

  /** Whether the server has to hand `key` over in this move. */
  leaves(key: string): boolean {
    return this.isSourceOf(key) && !this.isTargetOf(key);
  }
}

/** What the server does with a request for `key`: the table of docs/scaling.md, "Who may answer for a key". */
export function verdictOf(
  standing: Standing,
  key: string,
  isWrite: boolean,
  claim: Claim | undefined,
): Verdict {
  const { place, isOut } = standing;
  if (isOut) return "unavailable";
  if (place === undefined) {
    if (standing.isMember) return "unavailable";
    return isKnown(place, claim) ? "serve" : "misdirected";
  }
  if (!isKnown(place, claim)) return "misdirected";
  const isSource = place.isSourceOf(key);
  if (!place.isMoving) return isSource ? "serve" : "misdirected";
  const isTarget = place.isTargetOf(key);
  if (!isSource) {
    return isTarget && claim?.moved === true && claim.epoch === place.layout.epoch
      ? "serve"
      : "misdirected";
  }
  if (isTarget) return "serve";
  if (place.isLost || isHandedOver(standing.mark, key)) return "misdirected";
  return isWrite && isInRange(standing.fence, key) ? "wait" : "serve";
}

/**
 * Whether the server knows the layout by which a client asks: it is its own, or an older one of its cluster. If not, the
 * server is the one that is behind.
 */
export function isKnown(place: Place | undefined, claim: Claim | undefined): boolean {
  if (claim === undefined) return true;
  return place !== undefined && claim.cluster === place.layout.cluster &&
    claim.epoch <= place.layout.epoch;
}

/** Whether a listing of the server holds `key`: what it would serve, and what it is the target of. */
export function isListed(standing: Standing, key: string): boolean {
  const { place } = standing;
  if (place === undefined) return true;
  if (place.isTargetOf(key)) return true;
  return place.isMoving && place.isSourceOf(key) && !place.isLost &&
    !isHandedOver(standing.mark, key);
}

/** Whether `key` is in a range; in none if there is no range. */
export function isInRange(range: FencedRange | undefined, key: string): boolean {
  if (range === undefined) return false;
  const { after, upto } = range;
  return (after === undefined || compareKeys(key, after) > 0) &&
    (upto === undefined || compareKeys(key, upto) <= 0);
}
