/** What a rebalance tells whoever started it, while it runs and at its end. */
import { type Copy } from "./remote.ts";

/**
 * The parts of a run, in order: `survey` lists every server and decides on every key; `read` loads
 * values ahead of the move where that is needed; `move` copies and reads back; `prune` deletes.
 */
export type Phase = "survey" | "read" | "move" | "prune";

/** One event of a run. Servers are named as the user wrote them. */
export type RebalanceEvent =
  /** How far a phase is, after each key; `total` where that is known. */
  | { readonly kind: "progress"; readonly phase: Phase; readonly done: number; total?: number }
  /** A server of the to-be list, or of the as-is list, speaks only the book routes. */
  | { readonly kind: "book"; readonly server: string }
  /** A page of the keys that an as-is server lists (with `details` only). */
  | { readonly kind: "listing"; readonly server: string; readonly keys: readonly string[] }
  /** The listing of an as-is server is complete (with `details` only). */
  | { readonly kind: "listed"; readonly server: string }
  /** A key on its owner, before anything moves (with `details` only). */
  | {
    readonly kind: "found";
    readonly key: string;
    readonly value: Uint8Array;
    readonly from: string;
    readonly to: string;
  }
  | LeftBehindEvent
  /** How much a dry run would move from one server to another. */
  | {
    readonly kind: "plan";
    readonly from: string;
    readonly to: string;
    readonly keys: number;
    readonly bytes: number;
  }
  | MovedEvent
  /** A copy was deleted. */
  | { readonly kind: "pruned"; readonly key: string; readonly server: string };

/**
 * A copy that is not its key's owner's; told once for each copy. `stale`: the owner holds the key, and
 * this server will not. `unclear`: the owner does not hold the key, but the server that will own it
 * does; `orphan`: neither does. The last two are never touched.
 */
export interface LeftBehindEvent {
  readonly kind: "stale" | "unclear" | "orphan";
  readonly key: string;
  readonly server: string;
  readonly owner: string;
}

/** A key was saved on its target, read back and compared. */
export interface MovedEvent {
  readonly kind: "moved";
  readonly key: string;
  readonly copy: Copy;
  readonly from: string;
  readonly to: string;
  /** What the target said, where it has words. */
  readonly answer: string | undefined;
}

/** What a run did. A key counts once, wherever it has copies. */
export interface Summary {
  /** Distinct keys on all servers: `moved` + `inPlace` + `left` + `unclear` + `orphans`. */
  keys: number;
  /** Keys saved on their target and verified; in a dry run those that would be. */
  moved: number;
  /** Keys whose value was on its target already. */
  inPlace: number;
  /** Keys that have yet to be moved; not 0 only where the run was interrupted. */
  left: number;
  /** Copies that remain on servers which will not own them: what `--prune` deletes. */
  stale: number;
  /** Of those, copies that an earlier run or an older list left behind. */
  leftOver: number;
  /** Copies deleted. */
  pruned: number;
  /** Keys that the target holds but not the owner. */
  unclear: number;
  /** Keys that neither the target nor the owner holds. */
  orphans: number;
  /** Bytes of the values moved. */
  bytes: number;
  seconds: number;
  /** Whether the user stopped it. */
  interrupted: boolean;
}
