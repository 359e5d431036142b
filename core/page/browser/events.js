// @ts-check
/// <reference no-default-lib="true" />
/// <reference lib="dom" />
/// <reference lib="dom.iterable" />
/// <reference lib="esnext" />
/** The list of events, which are also announced to screen readers, a few at a time. */
import { byId, clock, make } from "./dom.js";

/** @import { PageEvent } from "../model.ts" */

/** How many events are shown. */
const SHOWN_EVENTS = 100;

/** Events within this time are announced together (milliseconds). */
const GATHER_MS = 1500;

/** Up to so many events are announced; more are counted. */
const SAID_AT_MOST = 3;

/** @type {Readonly<Record<string, string>>} */
const SIGNS = { good: "✓", bad: "!", note: "·" };

const list = byId("events");

/** @type {string[]} */
let unsaid = [];
let lastId = 0;

/** @param {readonly PageEvent[]} events Oldest first. */
export function resetEvents(events) {
  list.replaceChildren(...events.slice(-SHOWN_EVENTS).reverse().map(makeEvent));
  // Events since the page's last connection are announced, and older ones are not.
  if (lastId > 0) { for (const event of events) if (event.id > lastId) say(event.text); }
  lastId = events.at(-1)?.id ?? 0;
  byId("no-events").hidden = events.length > 0;
}

/** @param {PageEvent} event */
export function addEvent(event) {
  lastId = event.id;
  const item = makeEvent(event);
  item.classList.add("new");
  list.prepend(item);
  while (list.childElementCount > SHOWN_EVENTS) list.lastElementChild?.remove();
  byId("no-events").hidden = true;
  say(event.text);
}

/** @param {PageEvent} event */
function makeEvent({ t, text, tone }) {
  return make(
    "li",
    { "data-tone": tone },
    make("time", { datetime: new Date(t).toISOString() }, clock(t)),
    make("span", { class: "sign", "aria-hidden": "true" }, SIGNS[tone] ?? ""),
    make("span", {}, text),
  );
}

/**
 * Announces a text to screen readers.
 *
 * @param {string} text
 */
export function say(text) {
  if (unsaid.push(text) > 1) return;
  setTimeout(() => {
    const rest = unsaid.length - SAID_AT_MOST;
    const said = unsaid.slice(-SAID_AT_MOST).join(". ");
    byId("announcer").textContent = rest > 0 ? `${said}. And ${rest} more before` : said;
    unsaid = [];
  }, GATHER_MS);
}
