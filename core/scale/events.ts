/** What a mover tells its caller: events on the way, and a summary at the end. Servers are named as in the layout. */
import { type Layout } from "../layout/layout.ts";

/** One event of a run. */
export type ScaleEvent =
  /** How many keys were handed over, and about how many there are in all. */
  | {
    readonly kind: "progress";
    readonly done: number;
    readonly total: number;
    readonly bytes: number;
  }
  /** The anchor has taken a layout that this run made. */
  | { readonly kind: "layout"; readonly layout: Layout }
  /** A source has handed a range over. */
  | {
    readonly kind: "range";
    readonly source: string;
    readonly keys: number;
    readonly bytes: number;
    /** The last key of the range; `null`: the range has no end. */
    readonly upto: string | null;
  }
  /** How much a dry run would move from one server to another. */
  | {
    readonly kind: "plan";
    readonly from: string;
    readonly to: string;
    readonly keys: number;
    readonly bytes: number;
  }
  /** What a user has to know besides. */
  | { readonly kind: "note"; readonly message: string };

/** What a run did. */
export interface ScaleSummary {
  /** Keys handed over; in a dry run the keys that would be. */
  keys: number;
  bytes: number;
  seconds: number;
  /** The newest layout at the end; `undefined` if the cluster has none. */
  layout: Layout | undefined;
  /** Whether a move with another goal was under way, and was completed instead of the one that was asked for. */
  otherGoal: boolean;
  /** Whether the user stopped it. */
  interrupted: boolean;
}
