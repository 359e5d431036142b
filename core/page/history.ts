/** The past that the page shows: ten minutes of rows and events, with a limit for their number. */
import { type PageEvent, type PageRow } from "./model.ts";

/** How far back the page looks (milliseconds). */
export const HISTORY_MS = 10 * 60 * 1000;

/** Of equal rows that follow each other, one in this time is kept (milliseconds). */
const SAME_ROW_MS = 1000;

/** The most rows, which only rows that come fast and all differ can reach. */
const MAX_ROWS = 1500;

/** The most events. */
const MAX_EVENTS = 200;

/** Rows and events of the last ten minutes. */
export class PageHistory {
  #rows: PageRow[] = [];
  #events: PageEvent[] = [];
  #lastId = 0;

  /** Oldest first. */
  get rows(): readonly PageRow[] {
    return this.#rows;
  }

  /** Oldest first. */
  get events(): readonly PageEvent[] {
    return this.#events;
  }

  /** Adds the newest row. */
  addRow(row: PageRow): void {
    const last = this.#rows.at(-1);
    const before = this.#rows.at(-2);
    const same = (other: PageRow | undefined) => other?.s === row.s && other.v === row.v;
    // The newest row is always kept, in place of an equal one before it.
    if (same(last) && same(before) && row.t - (before?.t ?? 0) < SAME_ROW_MS) this.#rows.pop();
    this.#rows.push(row);
    this.#rows = trimmed(this.#rows, row.t, MAX_ROWS);
  }

  /** Adds the newest event, and returns it with its number. */
  addEvent(event: Omit<PageEvent, "id">): PageEvent {
    const numbered = { id: ++this.#lastId, ...event };
    this.#events.push(numbered);
    this.#events = trimmed(this.#events, event.t, MAX_EVENTS);
    return numbered;
  }
}

function trimmed<T extends { readonly t: number }>(items: T[], now: number, most: number): T[] {
  const recent = items.findIndex(({ t }) => t > now - HISTORY_MS);
  const from = Math.max(recent, items.length - most);
  return from > 0 ? items.slice(from) : items;
}
