/**
 * What a client knows of the layout of its cluster, and which server it asks for a key by that. It asks nobody itself.
 * docs/layouts.md tells the rules.
 */
import { formatClaim } from "../layout/claim.ts";
import {
  isHandedOver,
  isMoving,
  type Layout,
  type Mark,
  nextOf,
  NO_MARK,
  ownerIn,
} from "../layout/layout.ts";
import { type LayoutTold } from "./layout_told.ts";

/** Where a request for a key goes. */
export interface Route {
  /** The name of the server in the layout. */
  readonly server: string;
  /** The text of the header that tells the layout. */
  readonly claim: string;
  /** Whether the server is asked as the target of a key that its source has handed over. */
  readonly moved: boolean;
}

/** What a client made of what a server told. */
export type Learned =
  /** The client knows more than before. */
  | "newer"
  /** The server has an older layout of the same cluster: the client may give its own. */
  | "older"
  /** The server has the same layout. */
  | "same"
  /** The server has no layout. */
  | "none";

/** The layout that a client goes by. */
export class Follower {
  #layout: Layout | undefined;
  /** Marks by source. They are valid for the layout with which they were told. */
  #marks = new Map<string, Mark>();

  /** The newest layout; `undefined` if no server has told one. */
  get layout(): Layout | undefined {
    return this.#layout;
  }

  /** Takes in what `server` told. */
  learn(server: string, { layout, mark }: LayoutTold): Learned {
    if (layout === undefined) return "none";
    const known = this.#layout;
    if (known !== undefined && known.cluster === layout.cluster) {
      if (layout.epoch < known.epoch) return "older";
      if (layout.epoch === known.epoch) {
        this.#marks.set(server, mark);
        return "same";
      }
    }
    // A layout of another cluster: what the client knew is of no use any more.
    this.#layout = layout;
    this.#marks = new Map([[server, mark]]);
    return "newer";
  }

  /**
   * Where to ask for `key`.
   *
   * @param movedEpoch The epoch in which the source has said that it does not answer for the key any more.
   */
  route(layout: Layout, key: string, movedEpoch: number | undefined): Route {
    const { cluster, epoch } = layout;
    const source = ownerIn(layout, key);
    const target = ownerIn(nextOf(layout), key);
    const moved = source !== target &&
      (movedEpoch === epoch || this.isHandedOver(layout, source, key));
    return {
      server: moved ? target : source,
      claim: formatClaim({ cluster, epoch, moved }),
      moved,
    };
  }

  /** Whether it is known that `source` has handed `key` over. */
  isHandedOver(layout: Layout, source: string, key: string): boolean {
    if (!isMoving(layout)) return false;
    return layout.lost.includes(source) || isHandedOver(this.#marks.get(source) ?? NO_MARK, key);
  }

  /** The header of a request that is for no single key. */
  claim({ cluster, epoch }: Layout): string {
    return formatClaim({ cluster, epoch, moved: false });
  }
}
