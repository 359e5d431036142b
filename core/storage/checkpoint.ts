/**
 * The checkpoint turns the journal into plain key files, in the background. It seals the active segment, has the newest
 * value of each of its keys written to the key's file, and drops the segment.
 */
import {
  messageOf,
  StoppedError,
  StorageBusyError,
  StorageFailedError,
  StorageFullError,
  type WriteRefusedError,
} from "../errors.ts";
import type { Journal } from "../journal/journal.ts";
import type { Log } from "../log.ts";
import { isDiskFull, isExhausted, refusedOr } from "../system/files.ts";
import { type CheckpointLoad, CheckpointPace } from "./checkpoint_pace.ts";
import type { CommitQueue } from "./commit_queue.ts";
import type { JournalBudget } from "./journal_budget.ts";
import { KeyFileWriter, type KeyFileWriterParts } from "./key_file_writer.ts";
import { entryBytes, type OverlayEntry } from "./overlay.ts";
import { PendingCarry } from "./pending_write.ts";
import type { Reserve } from "./reserve.ts";

// How long there may be no files to write before the thread for many files is given back (milliseconds).
const REST_MS = 3000;

/** The parts that the checkpoint works on. */
export interface CheckpointParts extends KeyFileWriterParts {
  readonly journal: Journal;
  readonly budget: JournalBudget;
  readonly reserve: Reserve;
  readonly log: Log;
  readonly failed: (error: StorageFailedError) => void;
}

/** How far a {@link Checkpointer} came since the start. */
export interface Progress {
  /** Segments that became files. */
  readonly done: number;
  /** Attempts that failed. */
  readonly failures: number;
  /** When the last segment became files, milliseconds since 1970; `undefined` if none has. */
  readonly lastMs: number | undefined;
}

/** Thrown if folders are in the way of so many key files that the journal has no room to keep their writes. */
class BlockedError extends Error {}

/**
 * Works on sealed segments, oldest first, and drops each when all of it is durable in key files. A crash at any
 * point leaves the segment, whose replay repeats all of it. {@link CheckpointPace} decides when a checkpoint begins.
 */
export class Checkpointer implements CheckpointLoad {
  readonly #parts: CheckpointParts;
  readonly #queue: CommitQueue;
  readonly #pace: CheckpointPace;
  readonly #writer: KeyFileWriter;
  /** Runs until the next look at the pace. */
  #timer: ReturnType<typeof setTimeout> | undefined;
  /** Runs until the thread for many files is given back. */
  #restTimer: ReturnType<typeof setTimeout> | undefined;
  #running: Promise<void> | undefined;
  /** Keys whose files a folder is in the way of. */
  readonly #blocked = new Set<string>();
  #isClosing = false;
  #isStopped = false;
  #done = 0;
  #failures = 0;
  #lastMs: number | undefined;

  constructor(parts: CheckpointParts, queue: CommitQueue) {
    this.#parts = parts;
    this.#queue = queue;
    const pace = new CheckpointPace(this, performance.now());
    this.#pace = pace;
    this.#writer = new KeyFileWriter(parts, {
      concurrency: () => pace.concurrency,
      pauseMs: (workMs) => pace.pauseMs(workMs),
      isStopped: () => this.#isStopped,
      checkRoom: () => parts.reserve.checkSave(),
      progressed: () => queue.release(),
    });
  }

  /** How far the checkpoints came. */
  get progress(): Progress {
    return { done: this.#done, failures: this.#failures, lastMs: this.#lastMs };
  }

  get writes(): number {
    return this.#parts.overlay.puts;
  }

  get keys(): number {
    const { journal, overlay } = this.#parts;
    return journal.oldestSealed === undefined ? overlay.countOf(journal.activeSegment) : Infinity;
  }

  get isBusy(): boolean {
    return this.#queue.isBusy;
  }

  get isPressed(): boolean {
    return this.#isClosing || this.#queue.hasWaiting || this.#parts.budget.isPressing;
  }

  /** To be called once: takes up the writes that were replayed, or begins a segment if there are none. */
  begin(): void {
    if (this.#parts.journal.bytes > 0) this.hurry();
    else this.#prepare();
  }

  /** To be called after each batch. */
  committed(): void {
    const nowMs = performance.now();
    this.#pace.committed(nowMs);
    if (this.isPressed) this.hurry();
    else if (this.#timer === undefined && this.#running === undefined) {
      this.#arm(this.#pace.firstLookMs(nowMs));
    }
  }

  /** Begins a checkpoint at once, unless one is under way or has to wait after a failure. */
  hurry(): void {
    if (this.#pace.isRetrying || this.#isClosing) return;
    this.#disarm();
    this.#start();
  }

  /**
   * Makes key files of the whole journal, as far as that is possible within `limitMs` (milliseconds). The rest stays in
   * the journal, for the next start. No write may be submitted meanwhile.
   */
  async finish(limitMs: number): Promise<void> {
    this.#isClosing = true;
    this.#disarm();
    const limit = limitMs < Infinity
      ? setTimeout(() => this.#isStopped = true, limitMs)
      : undefined;
    await this.#running;
    await this.#queue.seal();
    this.#running = this.#run();
    await this.#running;
    clearTimeout(limit);
    this.#writer.close();
  }

  /** Stops after the files under way: the disk failed. */
  async abandon(): Promise<void> {
    this.#isClosing = true;
    this.#isStopped = true;
    this.#disarm();
    await this.#running;
    this.#writer.close();
  }

  #arm(delayMs: number): void {
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      const waitMs = this.#pace.look(performance.now());
      if (waitMs > 0) this.#arm(waitMs);
      else this.#start();
    }, delayMs);
  }

  #disarm(): void {
    clearTimeout(this.#timer);
    clearTimeout(this.#restTimer);
    this.#timer = undefined;
  }

  #start(): void {
    clearTimeout(this.#restTimer);
    this.#running ??= this.#sealAndRun().finally(() => {
      this.#running = undefined;
      if (!this.#isClosing) this.#ended();
    });
  }

  #ended(): void {
    const rest = this.#parts.journal.bytes === 0
      ? "nothing"
      : this.#blocked.size > 0
      ? "blocked"
      : "writes";
    const waitMs = this.#pace.ended(performance.now(), rest);
    if (waitMs !== undefined) this.#arm(waitMs);
    else this.#restTimer = setTimeout(() => this.#writer.close(), REST_MS);
  }

  async #sealAndRun(): Promise<void> {
    // Sealed segments are enough to make room for writers that wait or are about to. And repeated failures must not cut
    // the journal into ever more segments.
    const isEnough = this.#parts.journal.oldestSealed !== undefined &&
      (this.isPressed || this.#pace.isRetrying);
    if (!isEnough) {
      await this.#queue.seal();
      this.#prepare();
      this.#pace.began();
    }
    await this.#run();
  }

  /** Begins the next segment ahead: a save would have to wait for the two flushes. */
  #prepare(): void {
    if (this.#isClosing) return;
    this.#parts.journal.prepare().catch((error) => {
      const failure = refusedOr("Cannot begin a journal segment", error);
      // Otherwise there was no room or no open file. The next save tries the same, and is refused if that fails.
      if (failure instanceof StorageFailedError) this.#parts.failed(failure);
    });
  }

  async #run(): Promise<void> {
    const { journal, overlay, reserve } = this.#parts;
    try {
      await this.#restoreReserve();
      for (
        let segment = journal.oldestSealed;
        segment !== undefined;
        segment = journal.oldestSealed
      ) {
        await this.#carryOver(await this.#writer.write(segment));
        await journal.drop(segment);
        overlay.forget(segment);
        await reserve.restore();
        // There may be no active segment any more, and there may be a spare file now.
        this.#prepare();
        this.#succeeded();
        // Writers that still wait need the room of the active segment.
        if (this.#queue.hasWaiting && journal.oldestSealed === undefined) await this.#queue.seal();
      }
    } catch (error) {
      const failure = await this.#makeRoomAfter(error);
      if (failure === undefined) return await this.#run();
      this.#handle(failure);
    }
  }

  /** Gives the room that deletes make to the reserve first, before the files of values take all of it. */
  async #restoreReserve(): Promise<void> {
    const { reserve } = this.#parts;
    if (!reserve.isGivenUp) return;
    await this.#writer.removeDeleted();
    await reserve.restore();
  }

  /** Makes room if `error` says that the disk is full. Resolves to `undefined` if that helped, else to an error. */
  async #makeRoomAfter(error: unknown): Promise<unknown> {
    const isFull = error instanceof StorageFullError ||
      !(error instanceof StorageFailedError) && isDiskFull(error);
    if (!isFull) return error;
    try {
      const isMore = await this.#parts.journal.removeSpares() || await this.#writer.removeDeleted();
      return isMore ? undefined : error;
    } catch (failure) {
      return failure;
    }
  }

  /**
   * Writes entries whose files are blocked once more, into the active segment: one such key must not hold up the sealed
   * segment, and with the segment all other keys.
   */
  async #carryOver(entries: readonly OverlayEntry[]): Promise<void> {
    const { keyFiles, log, budget } = this.#parts;
    for (const key of this.#blocked) if (!keyFiles.isBlocked(key)) this.#blocked.delete(key);
    const [first] = entries;
    if (first === undefined) return;
    const why = `"${keyFiles.pathToWrite(first.key)}" is not a file: move it away`;
    let bytes = 0;
    for (const { key, state } of entries) bytes += entryBytes(key, state);
    if (budget.isTooMuchToKeep(bytes)) throw new BlockedError(why);
    if (this.#blocked.size === 0) {
      log("error", "the file of a key cannot be written", { error: why });
    }
    for (const { key } of entries) this.#blocked.add(key);
    await Promise.all(entries.map((entry) => {
      const write = new PendingCarry(entry);
      this.#queue.carry(write);
      return write.promise;
    }));
  }

  #succeeded(): void {
    if (this.#pace.isRetrying) this.#parts.log("info", "checkpoint goes on");
    this.#pace.succeeded();
    this.#done++;
    this.#lastMs = Date.now();
    this.#queue.refuse(undefined);
    this.#queue.release();
  }

  #handle(error: unknown): void {
    const { log, failed } = this.#parts;
    if (error instanceof StoppedError) {
      log("warn", "stopped before all was in key files: the next start goes on from the journal");
      return;
    }
    if (error instanceof StorageFailedError) return failed(error);
    const why = messageOf(error);
    this.#failures++;
    if (!this.#pace.isRetrying) {
      log("error", "checkpoint failed, will be tried again", { error: why });
    }
    this.#pace.failed();
    this.#queue.refuse(refusalFor(error, why));
  }
}

/** Returns the refusal of writes that find the journal full while its files cannot be made. */
function refusalFor(error: unknown, why: string): WriteRefusedError {
  if (error instanceof StorageBusyError || isExhausted(error)) {
    return new StorageBusyError(`Busy: the journal is full and cannot be written out: ${why}`);
  }
  const what = error instanceof BlockedError ? "Journal full" : "Disk full: the journal is full";
  return new StorageFullError(`${what} and cannot be written out: ${why}`);
}
