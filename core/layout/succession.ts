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
  storeOf,
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
  /** The id of the server's store, if the giver knows it. */
  readonly store: string | undefined;
  /** Whether the server is to drop what it has, which are its keys and its layout, as a person said. */
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
  const { layout, self } = offer;
  const { layout: had } = held;
  if (held.self !== undefined && held.self !== self) {
    return refused(`this server is ${held.self}, not ${self}`);
  }
  const isOwnCluster = had?.cluster === layout.cluster;
  if (had !== undefined && isOwnCluster && layout.epoch <= had.epoch) {
    if (sameLayout(layout, had)) return { result: "same" };
    return refused(
      layout.epoch < had.epoch
        ? `this server has epoch ${had.epoch}`
        : "another layout has this epoch",
    );
  }
  if (had === undefined || offer.replace) return begin(held, offer);
  if (!isOwnCluster) return refused("it is a layout of another cluster");
  const why = whyNot(held, had, offer);
  if (why !== undefined) return { ...refused(why), stops: true };
  return { result: "taken", empties: false, continues: sameMove(had, layout) };
}

/** Decides for a server without a layout, or one that is to drop the layout that it has. */
function begin(held: Held, { layout, self, store, replace }: Offer): Succession {
  if (store !== held.store) return refused("it is meant for another store");
  if (isMoving(layout) && namesAnotherStore(layout, self, held)) {
    const bars = held.layout === undefined;
    return { ...refused("the move began with another disk of this server"), bars };
  }
  const isOnlyTarget = isMoving(layout) && layout.next.includes(self) &&
    !layout.servers.includes(self);
  if (isOnlyTarget && held.hasKeys && !replace) {
    return refused("this server holds keys, and would lose them as a target");
  }
  return { result: "taken", empties: replace, continues: false };
}

/** Why a server does not take a newer layout of its cluster; `undefined` if it does. */
function whyNot(held: Held, had: Layout, { layout, self }: Offer): string | undefined {
  const wasNamed = !namesAnotherStore(had, self, held);
  if (namesAnotherStore(layout, self, held)) {
    // While no layout names its store the server waits for the one that does, and serves nothing.
    if (wasNamed || isMoving(layout)) return "it names another store for this server";
  } else if (!wasNamed && held.hasKeys) {
    return "this server holds keys from before it was a part of this cluster";
  }
  if (self === layout.servers[0] && layout.epoch !== had.epoch + 1) {
    return `the anchor has epoch ${had.epoch} and takes the next one only`;
  }
  const isSource = had.servers.includes(self);
  const isNext = nextOf(had).servers.includes(self);
  if (!isSource && !isNext) return undefined;
  if (sameMove(had, layout)) {
    const isFound = had.lost?.some((name) => layout.lost?.includes(name) === false);
    return isFound ? "a server that was lost is not lost any more" : undefined;
  }
  if (isMoving(layout) && layout.since <= had.epoch) {
    return "its move began before the layout that this server has";
  }
  if (!isMoving(had)) {
    return sameArrangement(had, layout)
      ? undefined
      : "its servers are not those that this server has";
  }
  const hasEnded = held.mark.end || had.lost.includes(self);
  if (isSource && !hasEnded) return "this server has keys to hand over";
  if (!isNext || sameArrangement(nextOf(had), layout)) return undefined;
  return "its servers are not those of the move that this server knows";
}

function namesAnotherStore(layout: Layout, self: string, { store }: Held): boolean {
  const named = storeOf(layout, self);
  return named !== undefined && named !== store;
}

function refused(detail: string) {
  return { result: "refused", detail, stops: false, bars: false } as const;
}
