// @ts-check
/// <reference no-default-lib="true" />
/// <reference lib="dom" />
/// <reference lib="dom.iterable" />
/// <reference lib="esnext" />
/** The table of letters, one row for each round. */
import { byId, clock, make, setText, showIndex } from "./dom.js";

/** @import { PageRow, PageView } from "../model.ts" */

const LETTERS = [..."abcdefghijklmnopqrstuvwxyz"];

/** How many rounds are shown. */
const SHOWN_ROUNDS = 20;

const rounds = byId("rounds");

/** @type {HTMLElement[]} */
const owners = [];

/** Makes the head of the table: the letters, and below each the index of its server. */
function makeHead() {
  const names = make("tr", {}, make("th", { scope: "col", class: "time" }, "letter"));
  const indices = make("tr", {}, make("th", { scope: "row", class: "time" }, "server"));
  for (const letter of LETTERS) {
    names.append(make("th", { scope: "col" }, letter));
    const chip = make("span", { class: "chip" });
    owners.push(chip);
    indices.append(make("td", {}, chip));
  }
  names.append(make("th", { scope: "col", class: "hits" }, "hits"));
  indices.append(make("td", { class: "hits" }));
  byId("letter-head").replaceChildren(names, indices);
}

/** @param {PageView} view */
export function showOwners(view) {
  if (owners.length === 0) makeHead();
  for (const [index, chip] of owners.entries()) {
    const owner = view.owners[index] ?? 0;
    showIndex(chip, owner);
    chip.title = view.servers[owner]?.name ?? "";
  }
}

/** @param {readonly PageRow[]} rows Oldest first. */
export function resetRounds(rows) {
  rounds.replaceChildren(...rows.slice(-SHOWN_ROUNDS).reverse().map(makeRound));
  byId("empty").hidden = rows.length > 0;
}

/** @param {PageRow} row */
export function addRound(row) {
  const round = makeRound(row);
  round.classList.add("new");
  rounds.prepend(round);
  while (rounds.childElementCount > SHOWN_ROUNDS) rounds.lastElementChild?.remove();
  byId("empty").hidden = true;
}

/**
 * @param {PageRow} row
 * @returns {HTMLElement}
 */
function makeRound({ t, s }) {
  const round = make("tr", {}, make("th", { scope: "row", class: "time" }, clock(t)));
  for (const status of s) {
    round.append(make("td", { class: "cell", "data-status": kindOf(status) }, status));
  }
  const hits = make("td", { class: "hits" });
  setText(hits, String(hitsOf(s)));
  round.append(hits);
  return round;
}

/** @param {string} status */
function kindOf(status) {
  return status >= "0" && status <= "9" ? "5" : status;
}

/** @param {string} statuses */
export function hitsOf(statuses) {
  return [...statuses].filter((status) => status === "h").length;
}
