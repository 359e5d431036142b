/** What a run tells its caller: events on the way, and a summary at the end. */
import { type Copy } from "../client/remote.ts";

/**
 * The phases of a run, in order. `survey` lists every server and decides on every key. `read` loads values ahead of
 * the move if that is needed. `room` asks for sizes if disks may be too small. `move` copies and reads back. `check`
 * looks for what changed meanwhile. `prune` deletes.
 */
export type RunPhase = "survey" | "read" | "room" | "move" | "check" | "prune";

/** One event of a run. Servers are named as the user wrote them. */
export type RebalanceEvent =
  /** How far a phase is, in keys; `total` if it is known. */
  | { readonly kind: "progress"; readonly phase: RunPhase; readonly done: number; total?: number }
  /** A server speaks only the book routes. */
  | { readonly kind: "book"; readonly server: string }
  /** A server does not tell what room its disk has. */
  | { readonly kind: "unchecked"; readonly server: string }
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
  | StaleCopyEvent
  /** How much a dry run would move from one server to another. */
  | {
    readonly kind: "plan";
    readonly from: string;
    readonly to: string;
    readonly keys: number;
    readonly bytes: number;
  }
  | MovedEvent
  | NewerEvent
  | RestlessEvent
  /** A copy was deleted. */
  | { readonly kind: "pruned"; readonly key: string; readonly server: string };

/**
 * A copy on a server that does not own its key; told once for each copy. `stale`: the owner holds the key, and this
 * server will not own it. `unclear`: the target holds the key, but not the owner. `orphan`: neither of them does.
 * Unclear copies and orphans are never touched.
 */
export interface StaleCopyEvent {
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
  /** Size of the value. */
  readonly bytes: number;
  readonly from: string;
  readonly to: string;
  /** What the target said, if it has words. */
  readonly answer: string | undefined;
}

/**
 * A key whose target is left as it is, although it holds something else than the owner, or nothing: a client may have
 * written or deleted the key there by the to-be list.
 */
export interface NewerEvent {
  readonly kind: "newer";
  readonly key: string;
  readonly owner: string;
  readonly target: string;
  /** Whether the target holds nothing. */
  readonly absent: boolean;
}

/**
 * A key that clients went on writing while it was moved. `changing`: the owner has another value than the target.
 * `deleted`: the owner no longer holds the key, and the target still does.
 */
export interface RestlessEvent {
  readonly kind: "changing" | "deleted";
  readonly key: string;
  readonly owner: string;
  readonly target: string;
}

/** A summary of nothing. */
export function emptySummary(): Summary {
  return {
    ...{ keys: 0, moved: 0, inPlace: 0, left: 0, stale: 0, leftOver: 0, pruned: 0 },
    ...{ unclear: 0, orphans: 0, newer: 0, changing: 0, deleted: 0, gone: 0 },
    ...{ bytes: 0, seconds: 0, phases: {}, busy: false, interrupted: false },
  };
}

/** Whether clients left the keys alone, so that the copies on the targets count from now on. */
export function isAtRest({ newer, changing, deleted, gone, busy }: Summary): boolean {
  return newer + changing + deleted + gone === 0 && !busy;
}

/** What a run did. A key counts once, wherever it has copies. */
export interface Summary {
  /** Distinct keys on all servers: `moved` + `inPlace` + `newer` + `left` + `unclear` + `orphans`. */
  keys: number;
  /** Keys saved on their target and verified; in a dry run the keys that would be. */
  moved: number;
  /** Keys whose value was on its target already. */
  inPlace: number;
  /** Keys that have yet to be moved; 0 unless the run was interrupted. */
  left: number;
  /** Copies that remain on servers that will not own them: what `--prune` deletes. */
  stale: number;
  /** Of the stale copies at the start, those that an earlier move left behind. */
  leftOver: number;
  /** Copies deleted. */
  pruned: number;
  /** Keys that the target holds but not the owner. */
  unclear: number;
  /** Keys that neither the target nor the owner holds. */
  orphans: number;
  /** Keys that were left as they are, because what their targets hold, or lack, may be newer. If that shows only after
   * the key was copied, the key counts as moved or in place, too. */
  newer: number;
  /** Keys that were written on their owner during the run: their targets have an older value. */
  changing: number;
  /** Keys that were deleted on their owner during the run, and whose copy the target still has. */
  deleted: number;
  /** Keys that went from their owner during the run before they were moved. */
  gone: number;
  /** Size of all values moved. */
  bytes: number;
  seconds: number;
  /** Seconds of each phase. */
  readonly phases: Partial<Record<RunPhase, number>>;
  /** Whether others wrote to the as-is servers during the run, or a server started anew during the check. */
  busy: boolean;
  /** Whether the user stopped it. */
  interrupted: boolean;
}
