// @ts-check
/// <reference no-default-lib="true" />
/// <reference lib="dom" />
/// <reference lib="dom.iterable" />
/// <reference lib="esnext" />
/** The table of servers: state, keys, letters, and the lane of the last ten minutes. */
import { byId, make, setAttribute, setText, showIndex } from "./dom.js";
import { drawLane, makeLane, STATE_WORDS, stretchesOf } from "./time_line.js";

/** @import { KeyCounts, PageRow, PageServer, PageView } from "../model.ts" */

/** From this many servers on, lines are low, so that all fit on the screen. */
const MANY = 9;

/**
 * The elements that show one server.
 *
 * @typedef {object} Line
 * @property {HTMLElement} row
 * @property {HTMLElement} chip
 * @property {HTMLElement} name
 * @property {HTMLElement} address
 * @property {HTMLElement} state
 * @property {HTMLElement} keys
 * @property {HTMLElement} letters
 * @property {SVGSVGElement} lane
 * @property {HTMLButtonElement | undefined} button
 */

const body = byId("servers");

/** @type {Line[]} */
const lines = [];

/**
 * @param {(server: string) => void} onDelete
 * @param {boolean} deletable
 * @returns {Line}
 */
function makeLine(onDelete, deletable) {
  const chip = make("span", { class: "chip", "aria-hidden": "true" });
  const name = make("span", { class: "name" });
  const address = make("span", { class: "address" });
  const state = make("td", { class: "state-cell" });
  const keys = make("td", { class: "number keys-cell" });
  const letters = make("td", { class: "letters-cell" });
  const lane = makeLane();
  const action = make("td", { class: "action-cell" });
  /** @type {HTMLButtonElement | undefined} */
  let button;
  if (deletable) {
    button = document.createElement("button");
    button.type = "button";
    button.className = "delete";
    button.textContent = "Delete";
    button.addEventListener("click", () => onDelete(name.textContent ?? ""));
    action.append(button);
  }
  const label = make("div", {}, name, address);
  const row = make(
    "tr",
    {},
    make("th", { scope: "row" }, make("div", { class: "server-name" }, chip, label)),
    state,
    keys,
    letters,
    make("td", { class: "lane-cell" }, lane),
    action,
  );
  return { row, chip, name, address, state, keys, letters, lane, button };
}

/**
 * Shows the list of servers.
 *
 * @param {PageView} view
 * @param {(server: string) => void} onDelete
 */
export function showServers(view, onDelete) {
  const { servers, controls } = view;
  while (lines.length > servers.length) lines.pop()?.row.remove();
  while (lines.length < servers.length) {
    const line = makeLine(onDelete, controls !== null);
    lines.push(line);
    body.append(line.row);
  }
  document.body.classList.toggle("many", servers.length >= MANY);
  document.body.classList.toggle("deletable", controls !== null);
  for (const [index, server] of servers.entries()) {
    const line = lines[index];
    if (line === undefined) continue;
    showIndex(line.chip, index);
    setText(line.name, server.name);
    const address = server.address.replace(/^https?:\/\//, "");
    setText(line.address, address === server.name ? "" : address);
    setText(line.letters, server.letters === "" ? "none" : server.letters);
    setAttribute(line.letters, "data-none", String(server.letters === ""));
    if (line.button === undefined) continue;
    setAttribute(line.button, "aria-label", `Delete ${server.name}`);
    const gone = server.pod === "No Pod" || server.pod === "Terminating";
    setAttribute(line.button, "aria-disabled", String(gone || controls?.busy !== null));
  }
}

/**
 * Shows the states of the servers.
 *
 * @param {PageView} view
 * @param {readonly PageRow[]} rows Oldest first.
 * @param {number} now
 */
export function showStates(view, rows, now) {
  const last = rows.at(-1);
  let up = 0;
  for (const [index, line] of lines.entries()) {
    const state = last?.v.charAt(index) || "?";
    if ("hwmxu".includes(state)) up++;
    setAttribute(line.state, "data-state", state >= "0" && state <= "9" ? "5" : state);
    setText(line.state, wordsOf(view.servers[index], state));
    drawLane(line.lane, stretchesOf(rows, index, view.intervalMs), now);
  }
  setText(byId("up"), last === undefined ? "–" : `${up} of ${view.servers.length}`);
  return up;
}

/**
 * @param {PageServer | undefined} server
 * @param {string} state
 */
function wordsOf(server, state) {
  const words = STATE_WORDS[state] ?? `errors ${state}xx`;
  if (state === "5" && server?.pod === "Running") return "starting";
  if (state === "." && server?.pod === "Pending") return "not reached, restarting";
  if (state === "." && server?.pod === "No Pod") return "not reached, no Pod";
  return words;
}

/** @param {KeyCounts} keys */
export function showKeys(keys) {
  let total = 0;
  let known = false;
  for (const [index, line] of lines.entries()) {
    const count = keys[index] ?? null;
    setText(line.keys, count === null ? "–" : count.toLocaleString());
    if (count !== null) {
      total += count;
      known = true;
    }
  }
  setText(byId("keys"), known ? total.toLocaleString() : "–");
}
