/**
 * Whether a shard serves or is shutting down, how that is set (marker file, signal) and how it is
 * seen. The marker is a plain file, so that a hook, a person with `touch`, or a script can set it.
 */
import { join } from "@std/path";
import { MARKER } from "../key.ts";
import { type Holder } from "../storage/data_dir.ts";
import { existenceOf } from "../system/small_reads.ts";

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

/** How long prestop waits for one answer (milliseconds). */
export const ANSWER_TIMEOUT_MS = 1000;

/** A server that listens on every address is asked on loopback, one with TLS beside it. */
export function localOrigin({ address, health = address }: Holder): string {
  const local = health.replace(/^0\.0\.0\.0:/, "127.0.0.1:").replace(/^\[::\]:/, "[::1]:");
  return `http://${local}`;
}

export function markerPath(dataDir: string): string {
  return join(dataDir, MARKER);
}
