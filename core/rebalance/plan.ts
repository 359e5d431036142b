/**
 * What rebalance decides for one key: pure functions of the two server lists, the placement and the
 * set of servers that hold a copy. Everything that makes a move safe is decided here.
 *
 * - Only the copy on the key's owner by the as-is list counts, because that is where clients write.
 * - A copy on a server that is neither the owner nor the target is a left-over of an earlier move. It
 *   never wins, whatever it holds.
 * - A key that its owner does not hold is not moved and not deleted: nothing here can tell whether an
 *   earlier run pruned it after moving it, or a client deleted it and a left-over remained.
 */
import { type Holding } from "../client/merge_listings.ts";
import { type Placement, PLACEMENTS } from "../placement.ts";

/** The two lists as indices into one list of distinct servers, and the placement that both use. */
export interface Layout {
  readonly asIs: readonly number[];
  readonly toBe: readonly number[];
  readonly placement: Placement;
}

/**
 * What follows for a key: `stay`: its owner holds it and will go on owning it; `move`: its owner holds
 * it and the target has to; `unclear`: only the target holds it, perhaps others, but not the owner;
 * `orphan`: neither the owner nor the target holds it.
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
  /** Servers whose copy is a left-over that `--prune` may delete; none if there is any doubt. */
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
 * What a move calls itself on one server: its places in both lists, as `modulo 0/2 0/3`, whichever names
 * lead to it. The next move of a server has another name, unless no key comes to it in either.
 */
export function moveName({ asIs, toBe, placement }: Layout, server: number): string {
  const known = Object.entries(PLACEMENTS).find(([, one]) => one === placement);
  const places = [asIs, toBe].map((list) => {
    const at = list.indexOf(server);
    return `${at < 0 ? "-" : at}/${list.length}`;
  });
  return [known?.[0] ?? "other", ...places].join(" ");
}

function pick(servers: readonly number[], placement: Placement, key: string): number {
  const server = servers[placement(key, servers.length)];
  if (server === undefined) throw new RangeError(`Placement outside of the list: ${key}`);
  return server;
}
