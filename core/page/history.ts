/** What the page shows of the past: ten minutes of rows and events, bounded whatever comes. */
import { type PageEvent, type PageRow } from "./model.ts";

/** How far back the page looks (milliseconds). */
export const HISTORY_MS = 10 * 60 * 1000;

/** Rows that are like the one before are kept at most this often (milliseconds). */
const SAME_ROW_MS = 1000;

/** The most rows: reached only by rows that come fast and all differ. About 100 bytes each. */
const MAX_ROWS = 1500;

/** The most events. About 100 bytes each. */
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

  addRow(row: PageRow): void {
    const last = this.#rows.at(-1);
    const before = this.#rows.at(-2);
    const same = (other: PageRow | undefined) => other?.s === row.s && other.v === row.v;
    // The newest row is always there; the one that it makes superfluous goes.
    if (same(last) && same(before) && row.t - (before?.t ?? 0) < SAME_ROW_MS) this.#rows.pop();
    this.#rows.push(row);
    this.#rows = trimmed(this.#rows, row.t, MAX_ROWS);
  }

  /** Keeps an event, which gets its number. */
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
