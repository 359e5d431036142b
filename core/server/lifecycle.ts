/**
 * Whether a shard serves or is shutting down. A signal or the marker sets it. The marker is a plain
 * file, so that a hook, a script, or a person with `touch` can make it.
 */
import { join } from "@std/path";
import { MARKER } from "../key.ts";
import { type Holder } from "../storage/data_dir.ts";
import { existenceOf } from "../system/small_reads.ts";

/**
 * How long a look at the marker holds (milliseconds). A request takes longer to come in, so the next
 * request after the marker was made sees it.
 */
const MARKER_FRESH_MS = 0.05;

/** The state of a shard. It decides what the data routes and `/readyz` answer. */
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
   * The phase at `now`, as `performance.now()` told it: for a caller that has just looked at the clock.
   * Requests that come at the same time share a look at the marker, which is a system call.
   */
  phaseAt(now: number): Phase {
    if (now - this.#lookedAt >= MARKER_FRESH_MS) {
      this.#lookedAt = now;
      this.#marked = this.#isMarked();
    }
    if (this.#marked || this.#draining) return "shutting down";
    return this.#started ? "serving" : "starting";
  }

  /** The reason that `/readyz` tells its reader. */
  get reason(): string {
    const { phase } = this;
    if (phase === "serving") return "ready";
    if (phase === "starting") return "starting: reading the data directory";
    return this.#draining
      ? "shutting down: draining after a signal"
      : `shutting down: the marker ${this.#markerPath} exists`;
  }

  /** Tells that the store is open: from now on data routes may answer. */
  started(): void {
    this.#started = true;
  }

  /** From now on data routes answer 503. */
  drain(): void {
    this.#draining = true;
  }
}

/** How long prestop waits for one answer (milliseconds). */
export const ANSWER_TIMEOUT_MS = 1000;

/** The origin that a hook asks: loopback if the server listens on every address, with TLS its health port. */
export function localOrigin({ address, health = address }: Holder): string {
  const local = health.replace(/^0\.0\.0\.0:/, "127.0.0.1:").replace(/^\[::\]:/, "[::1]:");
  return `http://${local}`;
}

/** The path of the marker. */
export function markerPath(dataDir: string): string {
  return join(dataDir, MARKER);
}
