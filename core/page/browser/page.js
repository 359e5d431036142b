// @ts-check
/// <reference no-default-lib="true" />
/// <reference lib="dom" />
/// <reference lib="dom.iterable" />
/// <reference lib="esnext" />
/** The live page: shows the messages of the stream of server-sent events. */
import { askToDelete, connectControls, showControls } from "./controls.js";
import { byId, setAttribute, setText } from "./dom.js";
import { addEvent, resetEvents } from "./events.js";
import { addRound, hitsOf, resetRounds, showOwners } from "./letters.js";
import { showKeys, showServers, showStates } from "./servers.js";
import { SPAN_MS } from "./time_line.js";

/** @import { KeyCounts, PageRow, PageSnapshot, PageView } from "../model.ts" */

/** A stream without a message for this long is opened again (milliseconds). */
const SILENCE_MS = 40_000;

/** @type {PageView | undefined} */
let view;

/** @type {PageRow[]} */
let rows = [];

/** @type {KeyCounts} */
let keys = [];

/** How far the server's clock is ahead of this one (milliseconds). */
let clockAhead = 0;

/** @type {EventSource | undefined} */
let stream;

let lastHeard = 0;

/**
 * @param {"waiting" | "live" | "lost"} state
 * @param {string} text
 */
function showLink(state, text) {
  setAttribute(byId("link"), "data-state", state);
  setText(byId("link-text"), text);
}

/** @param {PageView} next */
function showView(next) {
  view = next;
  const { servers, placement, readonly, role } = view;
  const count = servers.length === 1 ? "1 server" : `${servers.length} servers`;
  const mode = readonly ? "only reads" : "reads and writes";
  setText(byId("about"), `${role}: ${count}, placement ${placement}, the client ${mode}`);
  showOwners(view);
  showServers(view, askToDelete);
  showControls(view);
  showKeys(keys);
}

function showRows() {
  if (view === undefined) return;
  const last = rows.at(-1);
  const up = showStates(view, rows, Date.now() + clockAhead);
  const hits = last === undefined ? 0 : hitsOf(last.s);
  const total = last?.s.length ?? 0;
  const text = last === undefined ? "–" : `${hits} of ${total}`;
  setText(byId("hits"), text);
  setAttribute(byId("hits"), "data-all", String(last !== undefined && hits === total));
  document.title = last === undefined ? "kvs" : `${hits}/${total} hits · kvs`;
  const nobody = last !== undefined && up === 0 && !/[5~]/.test(last.v);
  byId("banner").hidden = !nobody;
  const seen = rows.some(({ v }) => /[hwmxu]/.test(v));
  setText(
    byId("banner"),
    seen
      ? "No server can be reached. The client keeps asking, and rows turn green when servers are back."
      : "No server reached yet. Start one, and its letters appear in the next round.",
  );
}

/**
 * Calls `take` with the data of each message of a type.
 *
 * @template T
 * @param {EventSource} source
 * @param {string} type
 * @param {(message: T) => void} take
 */
function on(source, type, take) {
  source.addEventListener(type, (event) => {
    lastHeard = performance.now();
    take(JSON.parse(event.data));
  });
}

function connect() {
  stream?.close();
  stream = new EventSource("/events");
  lastHeard = performance.now();
  stream.addEventListener("error", () => showLink("lost", "reconnecting"));
  on(stream, "snapshot", (/** @type {PageSnapshot} */ snapshot) => {
    clockAhead = snapshot.now - Date.now();
    rows = [...snapshot.rows];
    keys = snapshot.keys;
    setText(byId("version"), `kvs ${snapshot.version}`);
    showLink("live", "live");
    resetEvents(snapshot.events);
    resetRounds(rows);
    showView(snapshot.view);
    showRows();
  });
  on(stream, "view", (/** @type {PageView} */ message) => {
    showView(message);
    showRows();
  });
  on(stream, "row", (/** @type {PageRow} */ row) => {
    rows.push(row);
    while ((rows[0]?.t ?? row.t) < row.t - SPAN_MS) rows.shift();
    addRound(row);
    showRows();
  });
  on(stream, "keys", (/** @type {KeyCounts} */ counts) => {
    keys = counts;
    showKeys(keys);
  });
  on(stream, "event", addEvent);
}

connectControls();
connect();

// A hidden page closes its stream, since a browser has only six connections to one server.
document.addEventListener("visibilitychange", () => {
  if (document.visibilityState === "visible") return connect();
  stream?.close();
  showLink("waiting", "paused");
});

setInterval(() => {
  const visible = document.visibilityState === "visible";
  const patienceMs = Math.max(SILENCE_MS, 3 * (view?.intervalMs ?? 0));
  const silent = performance.now() - lastHeard > patienceMs;
  if (visible && (silent || stream?.readyState === EventSource.CLOSED)) connect();
}, 5000);
