/** The checkpoint: turns the journal into plain key files in the background. */
import {
  messageOf,
  StoppedError,
  StorageBusyError,
  StorageFailedError,
  StorageFullError,
  type WriteRefusedError,
} from "../errors.ts";
import type { CommitQueue } from "./commit_queue.ts";
import { isDiskFull, isExhausted } from "../system/files.ts";
import type { Journal } from "../journal/journal.ts";
import type { Log } from "../log.ts";
import { entryBytes, type OverlayEntry } from "./overlay.ts";
import { PendingCarry } from "./pending_write.ts";
import type { Reserve } from "./reserve.ts";
import { KeyFileWriter, type KeyFileWriterParts } from "./key_file_writer.ts";
import { Value } from "../value.ts";
import { refusedOr } from "../system/files.ts";

// How long a save may wait to become a file (milliseconds), so that who looks with `ls` finds it.
const DELAY_MS = 200;
// The same for one that comes alone (milliseconds): whoever made it may look at once.
const ALONE_MS = 20;
// To make a file costs disk and processor several times what the save did. So while more than this comes
// in within the delay, it pays to wait until that has been over for a while: of the saves of one key only
// the last is written, and most bursts are over before the files are begun. A restart replays what is none.
const MANY_SAVES = 50;
const QUIET_MS = 1000;
const LONGEST_DELAY_MS = 60_000;
// In so many segments the journal comes when it is full, and with so many the files are made at once:
// two are left to the writers meanwhile.
const MOST_SEGMENTS = 8;
const PRESSING_SEGMENTS = 6;
// How soon a checkpoint that failed is tried again (milliseconds).
const FIRST_RETRY_MS = 250;
const LONGEST_RETRY_MS = 4000;
// Files written at the same time: few while writers need the disk more.
const GENTLE_CONCURRENCY = 2;
const FULL_CONCURRENCY = 8;
// And how many times as long as they took the disk is left to writers then.
const GENTLE_PAUSES = 6;

// How long nothing may be to be written before the thread for many files is given back (milliseconds).
const REST_MS = 3000;

/** What the checkpoint works on. */
export interface CheckpointParts extends KeyFileWriterParts {
  readonly journal: Journal;
  readonly reserve: Reserve;
  readonly log: Log;
  /** The bound of the journal's size and of the overlay's memory, each, bytes. */
  readonly journalBytes: number;
  readonly failed: (error: StorageFailedError) => void;
}

/** How far a {@link Checkpointer} came since it was made. */
export interface Progress {
  readonly done: number;
  readonly failures: number;
  /** Milliseconds since 1970; `undefined` if there was none yet. */
  readonly lastMs: number | undefined;
}

/** Thrown where folders are in the way of so many keys that the journal cannot hold them all. */
class BlockedError extends Error {}

/**
 * Seals the journal's segment now and then, has sealed segments written, oldest first, and drops
 * each when all it holds is durable in key files. A crash at any point leaves the segment, whose
 * replay repeats all of it.
 */
export class Checkpointer {
  readonly #parts: CheckpointParts;
  readonly #queue: CommitQueue;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #restTimer: ReturnType<typeof setTimeout> | undefined;
  #running: Promise<void> | undefined;
  /** When the last run ended. */
  #endedMs = -Infinity;
  /** When the oldest write was committed that no run has taken up. */
  #oldestMs: number | undefined;
  /** When many saves came in last, and when and at what count of writes that was looked at. */
  #burstMs = -Infinity;
  #lookedMs = performance.now();
  #lookedPuts: number;
  #retryMs = 0;
  /** Keys that a folder is in the way of. */
  readonly #blocked = new Set<string>();
  #isClosing = false;
  #isStopped = false;
  readonly #writer: KeyFileWriter;
  #done = 0;
  #failures = 0;
  #lastMs: number | undefined;

  constructor(parts: CheckpointParts, queue: CommitQueue) {
    this.#parts = parts;
    this.#queue = queue;
    // What was replayed is no burst.
    this.#lookedPuts = parts.overlay.puts;
    this.#writer = new KeyFileWriter(parts, {
      concurrency: () => this.#concurrency(),
      pauseMs: (workMs) => this.#isGentle ? GENTLE_PAUSES * workMs : 0,
      isStopped: () => this.#isStopped,
      checkRoom: () => parts.reserve.checkSave(),
      progressed: () => queue.release(),
    });
  }

  /** How many segments became key files, how many attempts failed, and when the last one was done. */
  get progress(): Progress {
    return { done: this.#done, failures: this.#failures, lastMs: this.#lastMs };
  }

  /** Whether the segment that is being filled is large enough. */
  get isSegmentFull(): boolean {
    const { journal, overlay, journalBytes } = this.#parts;
    // Small values take much more memory than journal. A segment is dropped as a whole, so none may
    // become a large part of either.
    const bytes = Math.max(journal.activeBytes, overlay.segmentBytes(journal.activeSegment));
    return bytes >= journalBytes / MOST_SEGMENTS;
  }

  /** To be called once: takes up what the journal holds from before; if that is nothing, makes it ready. */
  begin(): void {
    if (this.#parts.journal.bytes > 0) this.hurry();
    else this.#prepare();
  }

  /** To be called after each commit. */
  committed(): void {
    this.#oldestMs ??= performance.now();
    if (this.#isPressed) {
      this.hurry();
    } else if (this.#timer === undefined && this.#running === undefined) {
      // A pace counts from here: the time before, without writes, says nothing of it.
      const nowMs = performance.now();
      this.#lookedMs = nowMs;
      // Not more often than others: who saves now and then is not to wait for ever more checkpoints.
      if (nowMs - this.#endedMs < DELAY_MS) this.#arm(DELAY_MS);
      else this.#arm(ALONE_MS, () => this.#lookAlone());
    }
  }

  /** Begins at once, unless it has to wait after a failure. */
  hurry(): void {
    if (this.#retryMs > 0 || this.#isClosing) return;
    this.#disarm();
    this.#start();
  }

  /**
   * Writes all there is, as far as that is possible within `limitMs`. What is left stays in the
   * journal, for the next start. Nothing may be committed meanwhile.
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

  #arm(delayMs: number, then = () => this.#tick()): void {
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      then();
    }, delayMs);
  }

  #disarm(): void {
    clearTimeout(this.#timer);
    clearTimeout(this.#restTimer);
    this.#timer = undefined;
  }

  #lookAlone(): void {
    const isAlone = this.#parts.overlay.puts - this.#lookedPuts <= 1 && !this.#queue.isBusy;
    if (isAlone) this.#start();
    else this.#arm(DELAY_MS - ALONE_MS);
  }

  #tick(): void {
    const { journal, overlay } = this.#parts;
    const nowMs = performance.now();
    const puts = overlay.puts - this.#lookedPuts;
    if (puts * DELAY_MS > MANY_SAVES * (nowMs - this.#lookedMs)) this.#burstMs = nowMs;
    this.#lookedMs = nowMs;
    this.#lookedPuts = overlay.puts;
    // Few keys cost little, however often they are saved.
    const isMany = journal.oldestSealed !== undefined ||
      overlay.countOf(journal.activeSegment) > MANY_SAVES;
    const waits = this.#retryMs === 0 && isMany && nowMs - this.#burstMs < QUIET_MS &&
      nowMs - (this.#oldestMs ?? nowMs) < LONGEST_DELAY_MS && !this.#isPressed;
    if (waits) this.#arm(DELAY_MS);
    else this.#start();
  }

  /** Whether writers would soon have to wait. */
  get #isPressed(): boolean {
    const { journal, overlay, journalBytes } = this.#parts;
    return this.#queue.hasWaiting ||
      Math.max(journal.bytes, overlay.bytes) >= journalBytes * PRESSING_SEGMENTS / MOST_SEGMENTS;
  }

  #start(): void {
    clearTimeout(this.#restTimer);
    this.#running ??= this.#sealAndRun().finally(() => {
      this.#running = undefined;
      this.#endedMs = performance.now();
      if (this.#isClosing) return;
      if (this.#retryMs > 0) this.#arm(this.#retryMs);
      else if (this.#parts.journal.bytes > 0) this.#arm(this.#pauseMs);
      else this.#rest();
    });
  }

  /** Until something is committed. */
  #rest(): void {
    this.#lookedPuts = this.#parts.overlay.puts;
    this.#restTimer = setTimeout(() => this.#writer.close(), REST_MS);
  }

  get #pauseMs(): number {
    if (this.#isPressed) return 0;
    return this.#blocked.size > 0 ? LONGEST_RETRY_MS : DELAY_MS;
  }

  async #sealAndRun(): Promise<void> {
    // Where writers are about to wait, what is sealed is enough to make room for them; and a disk that
    // fails must not have the journal cut into ever more segments.
    const isEnough = this.#parts.journal.oldestSealed !== undefined &&
      (this.#isPressed || this.#retryMs > 0);
    if (!isEnough) {
      await this.#queue.seal();
      this.#prepare();
      this.#oldestMs = undefined;
    }
    await this.#run();
  }

  /** The next save should not have to wait until a segment is begun, which is two flushes more. */
  #prepare(): void {
    if (this.#isClosing) return;
    this.#parts.journal.prepare().catch((error) => {
      const failure = refusedOr("Cannot begin a journal segment", error);
      // Without room it is tried again with the next save, which tells whoever made it.
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
        // There may be a file to write over now.
        this.#prepare();
        this.#succeeded();
        // Under load there is always a next one that is being filled: it has to be sealed as well.
        if (this.#queue.hasWaiting && journal.oldestSealed === undefined) await this.#queue.seal();
      }
    } catch (error) {
      const isFull = error instanceof StorageFullError ||
        !(error instanceof StorageFailedError) && isDiskFull(error);
      if (isFull && await this.#makeRoom()) return await this.#run();
      this.#handle(error);
    }
  }

  /** What deletes give goes back to what is kept for them first, else the files of values would take all of it. */
  async #restoreReserve(): Promise<void> {
    const { reserve } = this.#parts;
    if (!reserve.isGivenUp) return;
    await this.#writer.removeDeleted();
    await reserve.restore();
  }

  /** Makes room where there is none; resolves to whether anything was there that could be given up. */
  async #makeRoom(): Promise<boolean> {
    return await this.#parts.journal.removeSpares() || await this.#writer.removeDeleted();
  }

  /**
   * Writes the entries of a segment once more, into the segment that is being filled: one key whose
   * file cannot be made must not hold up the segment, and with it all the others.
   */
  async #carryOver(entries: readonly OverlayEntry[]): Promise<void> {
    const { keyFiles, log, journalBytes } = this.#parts;
    for (const key of this.#blocked) if (!keyFiles.isBlocked(key)) this.#blocked.delete(key);
    const [first] = entries;
    if (first === undefined) return;
    const why = `"${keyFiles.pathToWrite(first.key)}" is not a file: move it away`;
    let bytes = 0;
    for (const { key, state } of entries) {
      // It may stay for as long as its key's file is blocked.
      if (state instanceof Value) state.leaveSlab();
      bytes += entryBytes(key, state);
    }
    if (bytes >= journalBytes / 2) throw new BlockedError(why);
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
    if (this.#retryMs > 0) this.#parts.log("info", "checkpoint goes on");
    this.#retryMs = 0;
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
    if (this.#retryMs === 0) {
      log("error", "checkpoint failed, will be tried again", { error: why });
    }
    this.#retryMs = Math.min(Math.max(FIRST_RETRY_MS, 2 * this.#retryMs), LONGEST_RETRY_MS);
    this.#queue.refuse(refusalFor(error, why));
  }

  #concurrency(): number {
    return this.#isGentle ? GENTLE_CONCURRENCY : FULL_CONCURRENCY;
  }

  /** Whether writers need the disk more. */
  get #isGentle(): boolean {
    return !this.#isClosing && !this.#isPressed && this.#queue.isBusy;
  }
}

/** What a write is told that finds no room in the journal while its files cannot be made. */
function refusalFor(error: unknown, why: string): WriteRefusedError {
  if (error instanceof StorageBusyError || isExhausted(error)) {
    return new StorageBusyError(`Busy: the journal is full and cannot be written out: ${why}`);
  }
  const what = error instanceof BlockedError ? "Journal full" : "Disk full: the journal is full";
  return new StorageFullError(`${what} and cannot be written out: ${why}`);
}
