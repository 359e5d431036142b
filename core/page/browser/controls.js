// @ts-check
/// <reference no-default-lib="true" />
/// <reference lib="dom" />
/// <reference lib="dom.iterable" />
/// <reference lib="esnext" />
/** The buttons that change a cluster. A disabled button says so and can still get the focus. */
import { byId, setAttribute, setText } from "./dom.js";
import { say } from "./events.js";

/** @import { PageControls, PageView } from "../model.ts" */

const target = byId("target");

/** The number of servers that the buttons ask for; 0 until the first view. */
let wanted = 0;

/** @type {PageControls | null} */
let controls = null;

/** @param {PageView} view */
export function showControls(view) {
  const before = controls;
  controls = view.controls;
  byId("controls").hidden = controls === null;
  if (controls === null) return;
  // A change is complete, so the number starts again from what there is.
  if (wanted === 0 || (before !== null && before.busy !== null && controls.busy === null)) {
    wanted = controls.pending?.to ?? controls.replicas;
  }
  show();
}

function show() {
  if (controls === null) return;
  const { replicas, placed, most, pending, busy } = controls;
  const to = `${wanted} ${wanted === 1 ? "server" : "servers"}`;
  setText(target, String(wanted));
  enable("fewer", busy === null && wanted > 1);
  enable("more", busy === null && wanted < most);
  const settled = wanted === replicas && wanted === placed && pending === null;
  enable("resize", busy === null && !settled);
  setText(byId("resize"), settled ? "Scale and move keys" : `Scale to ${to}, keys move along`);
  enable("scale", busy === null && wanted !== replicas);
  setText(byId("scale"), `Only scale to ${wanted}`);
  const movable = wanted !== placed || pending !== null;
  enable("move", busy === null && movable && replicas >= Math.max(wanted, placed));
  setText(byId("move"), `Only move keys to ${wanted}`);
  setText(byId("control-state"), busy ?? stateOf(controls));
  setAttribute(byId("controls"), "aria-busy", String(busy !== null));
}

/** @param {PageControls} controls */
function stateOf({ replicas, placed, pending }) {
  if (pending !== null) {
    return `The move from ${pending.from} to ${pending.to} has to be completed: move again`;
  }
  return replicas === placed
    ? `${replicas} run, keys are placed for ${placed}`
    : `${replicas} run, but keys are placed for ${placed}`;
}

/**
 * @param {string} id
 * @param {boolean} enabled
 */
function enable(id, enabled) {
  setAttribute(byId(id), "aria-disabled", String(!enabled));
}

/**
 * Asks for a change. The stream tells what becomes of it.
 *
 * @param {string} action
 * @param {object} body
 */
async function ask(action, body) {
  try {
    const response = await fetch(`/actions/${action}`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify(body),
    });
    if (!response.ok) complain(await response.text());
  } catch {
    complain("The page's server cannot be reached");
  }
}

/** @param {string} text */
function complain(text) {
  setText(byId("control-state"), text);
  say(text);
}

/** @param {string} server */
export function askToDelete(server) {
  void ask("delete", { server });
}

/**
 * @param {string} id
 * @param {() => void} act
 */
function onClick(id, act) {
  const button = byId(id);
  button.addEventListener("click", () => {
    if (button.getAttribute("aria-disabled") !== "true") act();
  });
}

/** Connects the buttons with their actions. */
export function connectControls() {
  onClick("fewer", () => step(-1));
  onClick("more", () => step(1));
  for (const action of ["resize", "scale", "move"]) {
    onClick(action, () => void ask(action, { servers: wanted }));
  }
}

/** @param {number} by */
function step(by) {
  wanted += by;
  show();
  say(`${wanted} ${wanted === 1 ? "server" : "servers"}`);
}
