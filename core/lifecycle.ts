/**
 * Whether a shard serves or is shutting down, how that is set (marker file, signal) and how it is
 * seen. The marker is a plain file, so that a hook, a person with `touch`, or a script can set it.
 */
import { delay } from "@std/async/delay";
import { join } from "@std/path";
import { findHolder, type Holder } from "./data_dir.ts";
import { messageOf, StartError } from "./errors.ts";
import { MARKER } from "./key.ts";
import { existenceOf } from "./quick_files.ts";

/**
 * How long a look at the marker holds (milliseconds): less than a request takes to come in, so that
 * whoever touches the marker and then asks sees it.
 */
const MARKER_FRESH_MS = 0.05;

/** What a shard is doing: decides what data routes and `/readyz` answer. */
export type Phase = "starting" | "serving" | "shutting down";

/** The phase of one shard. */
export class Lifecycle {
  readonly #markerPath: string;
  readonly #isMarked: () => boolean;
  #started = false;
  #draining = false;
  #marked = false;
  #lookedAt = -Infinity;

  constructor(dataDir: string) {
    this.#markerPath = markerPath(dataDir);
    this.#isMarked = existenceOf(this.#markerPath);
  }

  /** The phase right now. */
  get phase(): Phase {
    return this.phaseAt(performance.now());
  }

  /**
   * The phase at `now`, by the clock of `performance.now()`: for those who have just looked at that. A
   * look at the marker costs a system call, so requests that come at the same time share one;
   * the monotonic clock is not moved by a clock that jumps.
   */
  phaseAt(now: number): Phase {
    if (now - this.#lookedAt >= MARKER_FRESH_MS) {
      this.#lookedAt = now;
      this.#marked = this.#isMarked();
    }
    if (this.#marked || this.#draining) return "shutting down";
    return this.#started ? "serving" : "starting";
  }

  /** Why the shard is not ready, for `/readyz` and its reader. */
  get reason(): string {
    const { phase } = this;
    if (phase === "serving") return "ready";
    if (phase === "starting") return "starting: reading the data directory";
    return this.#draining
      ? "shutting down: draining after a signal"
      : `shutting down: the marker ${this.#markerPath} exists`;
  }

  /** The store is open: data routes may answer. */
  started(): void {
    this.#started = true;
  }

  /** From now on only 503 for everything new. */
  drain(): void {
    this.#draining = true;
  }
}

/** What a hook did, in a line. */
export type HookResult = string;

/** How long prestop waits for the server to answer 503 before it says so (milliseconds). */
const PRESTOP_PATIENCE_MS = 5000;

/** How often prestop asks (milliseconds). */
const PRESTOP_INTERVAL_MS = 20;

/** How long prestop waits for one answer (milliseconds). */
const ANSWER_TIMEOUT_MS = 1000;

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

/** A server that listens on every address is asked on loopback, one with TLS beside it. */
function localOrigin({ address, health = address }: Holder): string {
  const local = health.replace(/^0\.0\.0\.0:/, "127.0.0.1:").replace(/^\[::\]:/, "[::1]:");
  return `http://${local}`;
}

function markerPath(dataDir: string): string {
  return join(dataDir, MARKER);
}
