// @ts-check
/// <reference no-default-lib="true" />
/// <reference lib="dom" />
/// <reference lib="dom.iterable" />
/// <reference lib="esnext" />
/** The lane of a server: its last ten minutes, with each state as a height and a colour. */
import { clock } from "./dom.js";

/** @import { PageRow } from "../model.ts" */

/** How much time a lane shows (milliseconds). */
export const SPAN_MS = 10 * 60 * 1000;

const WIDTH = 600;
const HEIGHT = 20;

/** A lane has a gap after this many intervals without a row. */
const MAX_MISSED = 4;

/** The width of the shortest stretch, so that it can be seen. */
const MIN_WIDTH = 3;

const SVG = "http://www.w3.org/2000/svg";

/** The height of a state, out of {@link HEIGHT}. @type {Readonly<Record<string, number>>} */
const HEIGHTS = { h: 20, u: 20, w: 20, m: 14, x: 14, "~": 8, ".": 3 };

/** The height of an HTTP error. */
const ERROR_HEIGHT = 8;

/** Each state in words. @type {Readonly<Record<string, string>>} */
export const STATE_WORDS = {
  h: "serves",
  u: "serves",
  w: "written to",
  m: "lacks letters",
  x: "other values",
  "~": "answers in part",
  ".": "not reached",
  "5": "shutting down",
  "?": "not asked yet",
};

/**
 * A stretch of time in which a server's state was the same.
 *
 * @typedef {{ state: string, from: number, to: number }} Stretch
 */

/**
 * The stretches of a server.
 *
 * @param {readonly PageRow[]} rows Oldest first.
 * @param {number} index Of the server.
 * @param {number} intervalMs From row to row.
 * @returns {Stretch[]}
 */
export function stretchesOf(rows, index, intervalMs) {
  /** @type {Stretch[]} */
  const stretches = [];
  for (const [at, row] of rows.entries()) {
    const state = row.v.charAt(index);
    if (state === "" || state === "?") continue;
    const longest = row.t + Math.max(intervalMs, 1000) * MAX_MISSED;
    const next = rows[at + 1]?.t ?? row.t + intervalMs;
    const to = Math.min(next, longest);
    const last = stretches.at(-1);
    if (last !== undefined && last.state === state && last.to >= row.t) last.to = to;
    else stretches.push({ state, from: row.t, to });
  }
  return stretches;
}

/**
 * The lane of a server.
 *
 * @returns {SVGSVGElement}
 */
export function makeLane() {
  const lane = document.createElementNS(SVG, "svg");
  lane.setAttribute("class", "lane");
  lane.setAttribute("viewBox", `0 0 ${WIDTH} ${HEIGHT}`);
  lane.setAttribute("preserveAspectRatio", "none");
  lane.setAttribute("role", "img");
  return lane;
}

/**
 * Draws stretches into a lane. Its right end is `now`.
 *
 * @param {SVGSVGElement} lane
 * @param {readonly Stretch[]} stretches
 * @param {number} now
 */
export function drawLane(lane, stretches, now) {
  const start = now - SPAN_MS;
  const x = (/** @type {number} */ time) =>
    Math.max(0, Math.min(WIDTH, (time - start) / SPAN_MS * WIDTH));
  // Breaks are drawn last, so that no other stretch hides one.
  const [whole, broken] = [stretches.filter(isWhole), stretches.filter((one) => !isWhole(one))];
  for (const [at, { state, from, to }] of [...whole, ...broken].entries()) {
    const found = lane.children[at];
    const bar = found ?? lane.appendChild(document.createElementNS(SVG, "rect"));
    const height = HEIGHTS[state] ?? ERROR_HEIGHT;
    const left = x(from);
    const digit = state >= "0" && state <= "9";
    bar.setAttribute("data-state", digit ? "5" : state);
    bar.setAttribute("x", left.toFixed(1));
    bar.setAttribute("width", Math.max(x(to) - left, MIN_WIDTH).toFixed(1));
    bar.setAttribute("y", String(HEIGHT - height));
    bar.setAttribute("height", String(height));
  }
  while (lane.childElementCount > stretches.length) lane.lastElementChild?.remove();
  lane.setAttribute("aria-label", describe(stretches));
}

/** @param {Stretch} stretch */
function isWhole({ state }) {
  return "huw".includes(state);
}

/** @param {readonly Stretch[]} stretches */
function describe(stretches) {
  const last = stretches.at(-1);
  if (last === undefined) return "nothing known yet";
  const breaks = stretches.filter((one) => !isWhole(one));
  const state = STATE_WORDS[last.state] ?? "answers with errors";
  const since = `${state} since ${clock(last.from)}`;
  return breaks.length === 0
    ? `${since}, no break seen`
    : `${since}, ${breaks.length} ${breaks.length === 1 ? "break" : "breaks"} seen`;
}
