/** The types of the JSON that core/page sends and core/page/browser reads. Types only. */

/** The kind of an event: something got better, got worse, or just happened. */
export type Tone = "good" | "bad" | "note";

/** A server as the page shows it. */
export interface PageServer {
  /** The name in events. */
  readonly name: string;
  /** The address at which the client asks the server. */
  readonly address: string;
  /** The letters that the server owns, in order; empty if it is not on the client's list. */
  readonly letters: string;
  /** The state of its Pod; absent if the page controls no cluster. */
  readonly pod?: string;
}

/** The changes that the page offers, and the change that is under way. */
export interface PageControls {
  /** How many servers should run. */
  readonly replicas: number;
  /** How many servers are on the clients' list, by which keys are placed. */
  readonly placed: number;
  /** The most servers that the cluster can have. */
  readonly most: number;
  /** A move of keys that has begun and has not been completed. */
  readonly pending: { readonly from: number; readonly to: number } | null;
  /** The change that is under way, in words; `null` if there is none. */
  readonly busy: string | null;
}

/** The part of the page's state that seldom changes. */
export interface PageView {
  readonly role: "client" | "cluster";
  readonly placement: string;
  /** Whether the client only reads, and does not write missing letters. */
  readonly readonly: boolean;
  readonly intervalMs: number;
  readonly servers: readonly PageServer[];
  /** The index of each letter's server. */
  readonly owners: readonly number[];
  /** `null` if the page offers no changes. */
  readonly controls: PageControls | null;
}

/** The result of one round. */
export interface PageRow {
  /** The time at which the round began (milliseconds since 1970). */
  readonly t: number;
  /** The 26 statuses. */
  readonly s: string;
  /** The state of each server, one character each: see `stateOf` in core/page/storyteller.ts. */
  readonly v: string;
}

/** An event in words. */
export interface PageEvent {
  readonly id: number;
  readonly t: number;
  readonly text: string;
  readonly tone: Tone;
}

/** How many keys each server has; `null` if the server did not tell. */
export type KeyCounts = readonly (number | null)[];

/** All that a viewer needs at first. */
export interface PageSnapshot {
  readonly version: string;
  readonly now: number;
  readonly view: PageView;
  /** Oldest first. */
  readonly rows: readonly PageRow[];
  /** Oldest first. */
  readonly events: readonly PageEvent[];
  readonly keys: KeyCounts;
}

/** The messages to viewers, by the names of their server-sent events. */
export interface PageMessages {
  readonly snapshot: PageSnapshot;
  readonly view: PageView;
  readonly row: PageRow;
  readonly event: PageEvent;
  readonly keys: KeyCounts;
}
