/** The lifecycle hooks of a Pod: prestop sets the marker, poststart removes it. */
import { delay } from "@std/async/delay";
import { messageOf, StartError } from "../errors.ts";
import { findHolder } from "../storage/data_dir.ts";
import { ANSWER_TIMEOUT_MS, localOrigin, markerPath } from "./lifecycle.ts";

/** One line that says what a hook did. */
export type HookResult = string;

/** How long prestop waits until the server answers 503 (milliseconds). */
const PRESTOP_PATIENCE_MS = 5000;

/** How often prestop asks (milliseconds). */
const PRESTOP_INTERVAL_MS = 20;

/**
 * The preStop hook: makes the marker, then waits until the server of the folder answers 503. If no
 * server is running, it returns at once. Idempotent.
 *
 * @throws {StartError} If the marker cannot be made, or the server goes on serving.
 */
export async function prestop(dataDir: string): Promise<HookResult> {
  const path = markerPath(dataDir);
  let made: string;
  try {
    (await Deno.open(path, { write: true, createNew: true })).close();
    made = `made ${path}`;
  } catch (error) {
    if (!(error instanceof Deno.errors.AlreadyExists)) {
      throw new StartError(`Cannot make marker ${path}: ${messageOf(error)}`, { cause: error });
    }
    made = `${path} was there already`;
  }

  const holder = await findHolder(dataDir);
  if (holder === undefined) return `prestop: ${made}; no server is running`;
  const origin = localOrigin(holder);
  const end = performance.now() + PRESTOP_PATIENCE_MS;
  while (performance.now() < end) {
    const status = await readiness(origin);
    if (status === "nobody") return `prestop: ${made}; no server is running`;
    if (status === 503) return `prestop: ${made}; ${holder.address} answers 503`;
    await delay(PRESTOP_INTERVAL_MS);
  }
  throw new StartError(`Cannot shut down: ${made}, but ${holder.address} goes on serving`);
}

/**
 * The postStart hook: removes the marker, which the Pod before may have left on the volume. Idempotent.
 *
 * @throws {StartError} If the marker cannot be removed.
 */
export async function poststart(dataDir: string): Promise<HookResult> {
  const path = markerPath(dataDir);
  try {
    await Deno.remove(path);
    return `poststart: removed ${path}`;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return `poststart: no ${path} to remove`;
    throw new StartError(`Cannot remove marker ${path}: ${messageOf(error)}`, { cause: error });
  }
}

/** The status of `/readyz`; `"nobody"` if nobody listens, `undefined` if no answer came in time. */
async function readiness(origin: string): Promise<number | "nobody" | undefined> {
  try {
    const response = await fetch(`${origin}/readyz`, {
      signal: AbortSignal.timeout(ANSWER_TIMEOUT_MS),
    });
    await response.body?.cancel();
    return response.status;
  } catch (error) {
    return error instanceof DOMException && error.name === "TimeoutError" ? undefined : "nobody";
  }
}
