/**
 * Which layout a server takes after the one that it has: a pure function. All layouts of a cluster are one line of
 * succession, since the anchor takes only the one with the next number.
 */
import {
  isMoving,
  type Layout,
  type Mark,
  nextOf,
  sameArrangement,
  sameLayout,
  sameMove,
} from "./layout.ts";

/** What a server has when a layout is offered. */
export interface Held {
  readonly layout: Layout | undefined;
  /** The name of the server; `undefined` if it was never told. */
  readonly self: string | undefined;
  /** The id of its store. */
  readonly store: string;
  readonly mark: Mark;
  /** Whether it holds keys. */
  readonly hasKeys: boolean;
}

/** A layout that a server is given. */
export interface Offer {
  readonly layout: Layout;
  /** The name of the server in the layout. */
  readonly self: string;
  /** The id of the server's store, as the giver knows it. */
  readonly store: string;
  /** Whether the server may drop what it has: its keys, and a layout in which it does not serve. */
  readonly replace: boolean;
}

/** What a server makes of an offer. */
export type Succession =
  /** It takes the layout. `empties`: it drops all that it has before. `continues`: the same move goes on. */
  | { readonly result: "taken"; readonly empties: boolean; readonly continues: boolean }
  /** It has the layout already. */
  | { readonly result: "same" }
  /**
   * It takes nothing. `stops`: it was left behind by its cluster, and serves nothing from now on. `bars`: its new disk is
   * not the one that a move began with, and serves nothing until it is given a layout that it can take.
   */
  | {
    readonly result: "refused";
    readonly detail: string;
    readonly stops: boolean;
    readonly bars: boolean;
  };

/** Decides on an offer. */
export function succeed(held: Held, offer: Offer): Succession {
  const { layout, self, store } = offer;
  if (held.self !== undefined && held.self !== self) {
    return refused(`this server is ${held.self}, not ${self}`);
  }
  const named = layout.stores[self];
  const isNamed = named === undefined || named === held.store;
  if (offer.replace) return replaced(held, offer, isNamed);
  if (held.layout === undefined) return first(held, offer, isNamed);
  if (held.layout.cluster !== layout.cluster) return refused("it is a layout of another cluster");
  if (layout.epoch < held.layout.epoch) {
    return refused(`this server has epoch ${held.layout.epoch}`);
  }
  if (layout.epoch === held.layout.epoch) {
    return sameLayout(layout, held.layout)
      ? { result: "same" }
      : refused("another layout has this epoch");
  }
  const why = whyNot(held.layout, held, { layout, self, store, isNamed });
  if (why !== undefined) return { ...refused(why), stops: true };
  return { result: "taken", empties: false, continues: sameMove(held.layout, layout) };
}

/** A server without a layout takes any that is meant for its store. */
function first(held: Held, { layout, self, store }: Offer, isNamed: boolean): Succession {
  if (store !== held.store) return refused("it is meant for another store");
  if (!isNamed && isMoving(layout)) {
    return { ...refused("the move began with another disk of this server"), bars: true };
  }
  const isOnlyTarget = isMoving(layout) && layout.next.includes(self) &&
    !layout.servers.includes(self);
  if (isOnlyTarget && held.hasKeys) {
    return refused("this server holds keys, and would lose them as a target");
  }
  return { result: "taken", empties: false, continues: false };
}

/** A server that does not serve may be emptied, so that it can join again. */
function replaced(held: Held, { layout, self, store }: Offer, isNamed: boolean): Succession {
  if (store !== held.store) return refused("it is meant for another store");
  if (!isNamed && isMoving(layout)) {
    return refused("the move began with another disk of this server");
  }
  const { layout: had } = held;
  const serves = had !== undefined && had.stores[self] === held.store && held.hasKeys &&
    had.cluster === layout.cluster && had.epoch >= layout.epoch;
  if (serves) return refused("this server is part of the cluster, and serves");
  return { result: "taken", empties: true, continues: false };
}

function whyNot(
  had: Layout,
  { store: own, mark }: Held,
  { layout, self, isNamed }: {
    readonly layout: Layout;
    readonly self: string;
    readonly store: string;
    readonly isNamed: boolean;
  },
): string | undefined {
  if (!isNamed) {
    const wasNamed = had.stores[self] === undefined || had.stores[self] === own;
    if (wasNamed || isMoving(layout)) return "it names another store for this server";
  }
  if (self === layout.servers[0] && layout.epoch !== had.epoch + 1) {
    return `the anchor has epoch ${had.epoch} and takes the next one only`;
  }
  if (sameMove(had, layout)) {
    const lost = new Set(layout.lost);
    return had.lost?.every((name) => lost.has(name)) === false
      ? "a server that was lost is not lost any more"
      : undefined;
  }
  const isSource = had.servers.includes(self);
  if (!isMoving(had)) {
    return !isSource || sameArrangement(had, layout)
      ? undefined
      : "its servers are not those that this server has";
  }
  const hasEnded = mark.end || had.lost.includes(self);
  if (isSource && !hasEnded) return "this server has keys to hand over";
  if (!had.next.includes(self) || sameArrangement(nextOf(had), layout)) return undefined;
  return "its servers are not those of the move that this server knows";
}

function refused(detail: string) {
  return { result: "refused", detail, stops: false, bars: false } as const;
}
