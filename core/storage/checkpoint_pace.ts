/**
 * Decides when a checkpoint begins, and how hard it works. The pace has no clock and no timer. Each call is told the
 * time, in milliseconds of a clock that never goes back, and the caller waits.
 */

// How long a save may wait to become a file, so that `ls` shows it soon.
const DELAY_MS = 200;
// The same for a save that comes alone: a person may look at once.
const ALONE_MS = 20;
// To make a file costs more than the save did, and of the saves of one key only the last needs a file. More saves than
// this within the delay are a burst. Then the files wait until no burst was seen for a while.
const MANY_SAVES = 50;
const QUIET_MS = 1000;
const LONGEST_DELAY_MS = 60_000;
// How soon a checkpoint that failed is tried again.
const FIRST_RETRY_MS = 250;
const LONGEST_RETRY_MS = 4000;
// Files written at the same time: few while writers need the disk more.
const GENTLE_CONCURRENCY = 2;
const FULL_CONCURRENCY = 8;
// While writers need the disk more, it is left to them for so many times as long as the files took.
const GENTLE_PAUSES = 6;

/** The load that decides the pace. It may change at any time. */
export interface CheckpointLoad {
  /** How many writes have become visible since the start. */
  readonly writes: number;
  /** Of how many keys the next checkpoint would make files, at most; `Infinity` if that was not counted. */
  readonly keys: number;
  /** Whether writes are under way or wait. */
  readonly isBusy: boolean;
  /** Whether files are wanted at once: writers wait or soon would, or the store closes. */
  readonly isPressed: boolean;
}

/** Decides when the next checkpoint begins. A look at the load says: now, or look again later. */
export class CheckpointPace {
  readonly #load: CheckpointLoad;
  /** When the last checkpoint ended. */
  #endedMs = -Infinity;
  /** When the oldest of the writes became visible that no checkpoint has taken up; `undefined` if there are none. */
  #oldestMs: number | undefined;
  /** When a burst was last seen. */
  #burstMs = -Infinity;
  /** When writes were last counted, and how many there had been by then. */
  #lookedMs: number;
  #lookedWrites: number;
  /** Whether the next look is an early one: it begins a checkpoint only for a save that came alone. */
  #isEarlyLook = false;
  /** How long to wait after a failure; 0 if the last checkpoint did not fail. */
  #retryMs = 0;

  constructor(load: CheckpointLoad, nowMs: number) {
    this.#load = load;
    this.#lookedMs = nowMs;
    // Writes that were replayed are no burst.
    this.#lookedWrites = load.writes;
  }

  /** Whether the last checkpoint failed. */
  get isRetrying(): boolean {
    return this.#retryMs > 0;
  }

  /** How many files to write at the same time. */
  get concurrency(): number {
    return this.#isGentle ? GENTLE_CONCURRENCY : FULL_CONCURRENCY;
  }

  /** How long to leave the disk to others after work on it (both milliseconds). */
  pauseMs(workMs: number): number {
    return this.#isGentle ? GENTLE_PAUSES * workMs : 0;
  }

  /** To be called when a write has become visible. */
  committed(nowMs: number): void {
    this.#oldestMs ??= nowMs;
  }

  /** Returns how long to wait before the first look, after a write that came while no look was planned. */
  firstLookMs(nowMs: number): number {
    // The rate of writes is counted from here, since no write came before.
    this.#lookedMs = nowMs;
    // There is no early look if a checkpoint has just ended: saves that come one by one then share a checkpoint.
    this.#isEarlyLook = nowMs - this.#endedMs >= DELAY_MS;
    return this.#isEarlyLook ? ALONE_MS : DELAY_MS;
  }

  /** Looks at the load; returns how long to wait before the next look, 0 to begin now. */
  look(nowMs: number): number {
    const writes = this.#load.writes - this.#lookedWrites;
    if (this.#isEarlyLook) {
      this.#isEarlyLook = false;
      return writes <= 1 && !this.#load.isBusy ? 0 : DELAY_MS - ALONE_MS;
    }
    if (writes * DELAY_MS > MANY_SAVES * (nowMs - this.#lookedMs)) this.#burstMs = nowMs;
    this.#lookedMs = nowMs;
    this.#lookedWrites = this.#load.writes;
    return this.#isWorthWaiting(nowMs) ? DELAY_MS : 0;
  }

  #isWorthWaiting(nowMs: number): boolean {
    if (this.isRetrying || this.#load.isPressed) return false;
    // Few keys cost little, however often they are saved.
    return this.#load.keys > MANY_SAVES && nowMs - this.#burstMs < QUIET_MS &&
      nowMs - (this.#oldestMs ?? nowMs) < LONGEST_DELAY_MS;
  }

  /** To be called when a checkpoint takes up all writes so far. */
  began(): void {
    this.#oldestMs = undefined;
  }

  /** To be called when a segment has become files. */
  succeeded(): void {
    this.#retryMs = 0;
  }

  /** To be called when a checkpoint has failed. */
  failed(): void {
    this.#retryMs = Math.min(Math.max(FIRST_RETRY_MS, 2 * this.#retryMs), LONGEST_RETRY_MS);
  }

  /**
   * To be called when a checkpoint has ended; returns how long to wait before the next look, `undefined` to
   * wait for a write.
   *
   * @param rest Content of the journal now: nothing, writes, or writes of keys whose files are blocked.
   */
  ended(nowMs: number, rest: "nothing" | "writes" | "blocked"): number | undefined {
    this.#endedMs = nowMs;
    this.#isEarlyLook = false;
    if (this.isRetrying) return this.#retryMs;
    if (rest === "nothing") {
      this.#lookedWrites = this.#load.writes;
      return undefined;
    }
    if (this.#load.isPressed) return 0;
    return rest === "blocked" ? LONGEST_RETRY_MS : DELAY_MS;
  }

  /** Whether writers need the disk more than the checkpoint does. */
  get #isGentle(): boolean {
    return this.#load.isBusy && !this.#load.isPressed;
  }
}
