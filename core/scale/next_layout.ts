/** The layouts that a mover makes, each from the one before it: pure functions. */
import { type Arrangement, type Layout, type MovingLayout, nextOf } from "../layout/layout.ts";

/** The id of the store of each server, by the server's name. */
export type Stores = Readonly<Record<string, string>>;

/** The first layout of a cluster: the list that it is used with. */
export function firstLayout({ servers, placement }: Arrangement, stores: Stores): Layout {
  return { cluster: crypto.randomUUID(), epoch: 1, since: 1, placement, servers, stores };
}

/** The layout with which a move from `layout`, which is steady, to `next` begins. */
export function movingLayout(layout: Layout, next: Arrangement, stores: Stores): MovingLayout {
  const { cluster, servers, placement } = layout;
  const epoch = layout.epoch + 1;
  return {
    ...{ cluster, epoch, since: epoch, placement, servers },
    ...{ next: next.servers, nextPlacement: next.placement, lost: [], stores },
  };
}

/** The layout after the move of `layout`. */
export function steadyLayout(layout: MovingLayout): Layout {
  const { servers, placement } = nextOf(layout);
  const epoch = layout.epoch + 1;
  const stores = pick(layout.stores, servers);
  return { cluster: layout.cluster, epoch, since: epoch, placement, servers, stores };
}

/** A steady layout with the stores that the servers have now. */
export function withStores(layout: Layout, stores: Stores): Layout {
  const { cluster, servers, placement } = layout;
  const epoch = layout.epoch + 1;
  return {
    cluster,
    epoch,
    since: epoch,
    placement,
    servers,
    stores: { ...layout.stores, ...stores },
  };
}

/** The same move, after `server` lost its disk and got one with this store. */
export function withLoss(layout: MovingLayout, server: string, store: string): MovingLayout {
  const isSource = layout.servers.includes(server);
  return {
    ...layout,
    epoch: layout.epoch + 1,
    lost: isSource ? [...new Set([...layout.lost, server])] : layout.lost,
    stores: { ...layout.stores, [server]: store },
  };
}

function pick(stores: Stores, servers: readonly string[]): Stores {
  return Object.fromEntries(servers.map((name) => [name, stores[name] ?? ""]));
}
