/**
 * What the live page is told, as JSON: the shapes that core/page makes and core/page/browser
 * reads. Types only.
 */

/** How an event is meant: something got better, got worse, or is only worth telling. */
export type Tone = "good" | "bad" | "note";

/** A server as the page shows it. */
export interface PageServer {
  /** What events call it. */
  readonly name: string;
  /** Where it is asked. */
  readonly address: string;
  /** The letters that it owns, in order; empty where it owns none, or is not on the client's list. */
  readonly letters: string;
  /** What the controller says of its Pod, where there is a controller. */
  readonly pod?: string;
}

/** What can be changed from the page, and what is being changed. */
export interface PageControls {
  /** How many servers there should be. */
  readonly replicas: number;
  /** For how many servers the keys are placed: the clients' list. */
  readonly placed: number;
  /** The most servers there can be. */
  readonly most: number;
  /** A move of keys that was begun and has not come to its end. */
  readonly pending: { readonly from: number; readonly to: number } | null;
  /** What is being done, in words. */
  readonly busy: string | null;
}

/** What changes seldom. */
export interface PageView {
  readonly role: "client" | "cluster";
  readonly placement: string;
  /** Whether the client writes what is missing. */
  readonly readonly: boolean;
  readonly intervalMs: number;
  readonly servers: readonly PageServer[];
  /** The index of each letter's server. */
  readonly owners: readonly number[];
  /** `null` where nothing can be changed from the page. */
  readonly controls: PageControls | null;
}

/** One round. */
export interface PageRow {
  /** When it began (milliseconds since 1970). */
  readonly t: number;
  /** The 26 statuses. */
  readonly s: string;
  /** The state of each server, one character each: see core/page/storyteller.ts. */
  readonly v: string;
}

/** Something that happened, in words. */
export interface PageEvent {
  readonly id: number;
  readonly t: number;
  readonly text: string;
  readonly tone: Tone;
}

/** How many keys each server says it has; `null` where it does not say. */
export type KeyCounts = readonly (number | null)[];

/** All that a page needs to begin. */
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

/** What is sent, by the name of its server-sent event. */
export interface PageMessages {
  readonly snapshot: PageSnapshot;
  readonly view: PageView;
  readonly row: PageRow;
  readonly event: PageEvent;
  readonly keys: KeyCounts;
}
