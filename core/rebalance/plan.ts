/**
 * What rebalance decides for one key: pure functions of both lists, the placement and the servers that hold a copy.
 * Everything that makes a move safe is decided here.
 *
 * - Only the copy on the owner by the as-is list counts, because clients write there.
 * - A copy on a server that is neither the owner nor the target is stale: an earlier move left it behind. It never
 *   wins, whatever it holds.
 * - A key that its owner does not hold is neither moved nor deleted. Either an earlier run moved it and pruned it, or
 *   a client deleted it and a stale copy remained; a listing does not tell which.
 */
import { type Holding } from "../client/merge_listings.ts";
import { type Placement, PLACEMENTS } from "../placement.ts";

/** Both lists, as indices into one list of distinct servers, and the placement that both use. */
export interface Layout {
  readonly asIs: readonly number[];
  readonly toBe: readonly number[];
  readonly placement: Placement;
}

/**
 * What becomes of a key. `stay`: the owner holds the key and will own it. `move`: the owner holds the key, and the
 * target will own it. `unclear`: the target holds the key, but not the owner. `orphan`: neither of them does.
 */
export type Verdict = "stay" | "move" | "unclear" | "orphan";

/** The decision on one key. */
export interface Decision {
  readonly key: string;
  readonly verdict: Verdict;
  /** The server that owns the key by the as-is list. */
  readonly owner: number;
  /** The server that will own it by the to-be list. */
  readonly target: number;
  /** Servers with a stale copy that `--prune` may delete; none if there is any doubt. */
  readonly stale: readonly number[];
  /** All servers that list the key. */
  readonly holders: readonly number[];
}

const NONE: readonly number[] = [];

/** The server that owns `key` by the as-is list. */
export function ownerOf(layout: Layout, key: string): number {
  return pick(layout.asIs, layout.placement, key);
}

/** The server that will own `key` by the to-be list. */
export function targetOf(layout: Layout, key: string): number {
  return pick(layout.toBe, layout.placement, key);
}

/** Decides on one key. */
export function decide(layout: Layout, { key, holders }: Holding): Decision {
  const owner = ownerOf(layout, key);
  const target = targetOf(layout, key);
  if (!holders.includes(owner)) {
    const verdict = holders.includes(target) ? "unclear" : "orphan";
    return { key, verdict, owner, target, stale: NONE, holders };
  }
  const stale = holders.length === 1
    ? NONE
    : holders.filter((server) => server !== owner && server !== target);
  return { key, verdict: owner === target ? "stay" : "move", owner, target, stale, holders };
}

/**
 * The name of a move on one server: the places of the server in both lists, for example `modulo 0/2 0/3`, so the
 * names by which users know the server do not matter. Two different moves in a row have different names on each
 * server that {@link isMoved}.
 */
export function moveName({ asIs, toBe, placement }: Layout, server: number): string {
  const name = Object.entries(PLACEMENTS).find(([, one]) => one === placement)?.[0] ?? "other";
  const places = [asIs, toBe].map((list) => {
    const at = list.indexOf(server);
    return `${at < 0 ? "-" : at}/${list.length}`;
  });
  return [name, ...places].join(" ");
}

/** Whether the move changes the place of a server, or the length of its list: else none of its keys moves. */
export function isMoved({ asIs, toBe }: Layout, server: number): boolean {
  return asIs.length !== toBe.length || asIs.indexOf(server) !== toBe.indexOf(server);
}

function pick(servers: readonly number[], placement: Placement, key: string): number {
  const server = servers[placement(key, servers.length)];
  if (server === undefined) throw new RangeError(`Placement outside of the list: ${key}`);
  return server;
}
