import { delay } from "@std/async/delay";
import { messageOf, StartError } from "../errors.ts";
import { findHolder } from "../storage/data_dir.ts";
import { ANSWER_TIMEOUT_MS, localOrigin, markerPath } from "./lifecycle.ts";

/** What a hook did, in a line. */
export type HookResult = string;

/** How long prestop waits for the server to answer 503 before it says so (milliseconds). */
const PRESTOP_PATIENCE_MS = 5000;

/** How often prestop asks (milliseconds). */
const PRESTOP_INTERVAL_MS = 20;

/**
 * The preStop hook: makes the marker, then waits until the server of the folder answers 503, or
 * returns at once when none is running. Idempotent.
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
 * The postStart hook: removes the marker, which may be left on a volume from before. Idempotent.
 *
 * @throws {StartError} If it cannot be removed.
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

/** The status that `/readyz` answers, `"nobody"` if nobody listens, `undefined` if none came in time. */
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
