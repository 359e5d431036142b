/**
 * Group commit: writes that arrive while the disk flushes one batch are collected into the next batch, which is
 * one frame of the journal and one flush.
 *
 *     submit -> filling -> conditions decided -> written and flushed -> visible -> answered
 *          \-> waiting, while the journal is full
 *
 * One batch is written at a time. When it is durable, the next batch is handed to the disk first, and then the durable
 * one becomes visible and is answered: the disk does not wait for the event loop. A batch with conditions waits until
 * the one before is visible, and so does a batch for which the segment has to be sealed.
 */
import {
  type ShuttingDownError,
  StorageFailedError,
  StorageFullError,
  WriteRefusedError,
} from "../errors.ts";
import type { Journal } from "../journal/journal.ts";
import { failedError } from "../system/files.ts";
import { CommitBatch } from "./commit_batch.ts";
import type { JournalBudget } from "./journal_budget.ts";
import type { PendingCarry, PendingWrite } from "./pending_write.ts";
import type { Reserve } from "./reserve.ts";
import { decideConditions, type DurableState } from "./write_conditions.ts";

/** The parts that a {@link CommitQueue} works on. */
export interface CommitQueueParts {
  readonly journal: Journal;
  readonly budget: Pick<JournalBudget, "allowance" | "hasRoomForDeletes" | "isSegmentFull">;
  readonly reserve: Pick<Reserve, "giveUp">;
  /** The state that conditions are compared with. */
  readonly durable: DurableState;
}

/** The listener of the queue. Its methods may call `release`, `seal`, `refuse` and `fail` of the queue. */
export interface CommitHost {
  /** Makes a durable write visible; returns whether the key existed before. */
  apply(write: PendingWrite, segment: number): boolean;
  /** Called when a batch has become visible. */
  committed(): void;
  /** Called when a write has to wait for the checkpoint, or a batch was refused. */
  full(): void;
  /** Called when the disk failed. */
  failed(error: StorageFailedError): void;
}

/** Takes writes in order, makes them durable batch by batch, and settles them. */
export class CommitQueue {
  readonly #parts: CommitQueueParts;
  readonly #host: CommitHost;
  /** The batch to which new writes are added. */
  #filling = new CommitBatch();
  /** The batch that is decided or written now. */
  #writing: CommitBatch | undefined;
  /** Empty batches, to be used again. */
  readonly #free: CommitBatch[] = [];
  /** Bytes that `#filling` may grow to. */
  #allowance = 0;
  /** Writes that wait until the journal has room for them, in order. */
  readonly #waiting: PendingWrite[] = [];
  /** Whether a batch is under way, or about to begin. */
  #isRunning = false;
  /** The error for writes that would have to wait; `undefined` if they may wait. */
  #refusal: WriteRefusedError | undefined;
  #failure: StorageFailedError | undefined;
  /** Why no write is taken any more; only `carry` goes on after a {@link ShuttingDownError}. */
  #end: StorageFailedError | ShuttingDownError | undefined;
  /** Resolved when the journal's segment is sealed. */
  #sealing: PromiseWithResolvers<void> | undefined;
  /** Resolved when fewer writes wait, or when none is under way any more. */
  #change: PromiseWithResolvers<void> | undefined;

  constructor(parts: CommitQueueParts, host: CommitHost) {
    this.#parts = parts;
    this.#host = host;
  }

  /** Whether writes wait for the checkpoint. */
  get hasWaiting(): boolean {
    return this.#waiting.length > 0;
  }

  /** Whether writes are under way or wait. */
  get isBusy(): boolean {
    return this.#isRunning || this.hasWaiting;
  }

  /** Takes a write, which is settled when it is durable or refused. */
  submit(write: PendingWrite): void {
    if (this.#end !== undefined) write.fail(this.#end);
    else if (this.#mayAdd) this.#add(write);
    else this.#submitSlowly(write);
  }

  /** Takes a write that lets a segment be dropped, which makes room. The write never waits for room itself. */
  carry(write: PendingCarry): void {
    if (this.#failure !== undefined) write.fail(this.#failure);
    else this.#add(write);
  }

  /** Lets in waiting writes as far as there is room. To be called whenever there is more room. */
  release(): void {
    this.#allowance = this.#parts.budget.allowance - (this.#writing?.bytes ?? 0);
    let count = 0;
    for (const write of this.#waiting) {
      if (this.#filling.bytes >= this.#allowance) break;
      this.#filling.add(write);
      count++;
    }
    // All in one step: each removal at the front moves the rest.
    if (count > 0) this.#waiting.splice(0, count);
    if (this.#filling.writes.length > 0) this.#wake();
    this.#changed();
  }

  /**
   * Rejects all writes that would have to wait with `refusal`, until the next call with `undefined`. Deletes are let in
   * all the same, since only deletes can make room then. For a full journal of which no key files can be made.
   */
  refuse(refusal: WriteRefusedError | undefined): void {
    this.#refusal = refusal;
    if (refusal === undefined) return;
    for (const write of this.#takeWaiting()) this.submit(write);
  }

  /** Seals the journal's segment as soon as no batch is under way; resolves when the segment is sealed. */
  async seal(): Promise<void> {
    if (!this.#isRunning) {
      // Not after each batch: clients that wait for the same batch send the next writes together, too.
      for (const { frame } of [this.#filling, ...this.#free]) frame.trim();
      return this.#parts.journal.seal();
    }
    this.#sealing ??= Promise.withResolvers<void>();
    await this.#sealing.promise;
  }

  /** Resolves when no write is under way and none waits. */
  async idle(): Promise<void> {
    while (this.isBusy) {
      this.#change ??= Promise.withResolvers<void>();
      await this.#change.promise;
    }
  }

  /** Rejects waiting writes, and all that are submitted from now on; writes that have room go on. */
  end(reason: ShuttingDownError): void {
    this.#end ??= reason;
    for (const write of this.#takeWaiting()) write.fail(this.#end);
  }

  /** Rejects all writes from now on; a batch under way is settled by its outcome. */
  fail(error: StorageFailedError): void {
    if (this.#failure !== undefined) return;
    this.#failure = error;
    this.#end = error;
    this.#filling.fail(error);
    this.#filling.clear();
    for (const write of this.#takeWaiting()) write.fail(error);
  }

  get #mayAdd(): boolean {
    return this.#waiting.length === 0 && this.#filling.bytes < this.#allowance;
  }

  #add(write: PendingWrite): void {
    this.#filling.add(write);
    this.#wake();
  }

  #submitSlowly(write: PendingWrite): void {
    this.release();
    if (this.#mayAdd) {
      this.#add(write);
    } else if (this.#refusal === undefined) {
      this.#waiting.push(write);
      this.#host.full();
    } else if (isDelete(write) && this.#parts.budget.hasRoomForDeletes) {
      this.#add(write);
    } else {
      write.fail(this.#refusal);
    }
  }

  #takeWaiting(): PendingWrite[] {
    const waiting = this.#waiting.splice(0);
    this.#changed();
    return waiting;
  }

  #changed(): void {
    this.#change?.resolve();
    this.#change = undefined;
  }

  /** Begins a batch soon, if none is under way: in a microtask, so that writes submitted together share the batch. */
  #wake(): void {
    if (this.#isRunning) return;
    this.#isRunning = true;
    queueMicrotask(() => this.#next());
  }

  /** Begins the next batch or comes to rest. To be called when no batch is under way. */
  #next(): void {
    if (this.#filling.writes.length > 0) return this.#begin();
    this.#isRunning = false;
    this.#sealIfDue();
    this.#changed();
  }

  /** Decides and writes the batch that was filled; another one is filled from now on. */
  #begin(): void {
    const batch = this.#filling;
    this.#filling = this.#free.pop() ?? new CommitBatch();
    this.#writing = batch;
    this.#allowance = this.#parts.budget.allowance - batch.bytes;
    if (batch.hasConditions) void this.#decide(batch);
    else this.#append(batch);
  }

  /** Decides the conditions of a batch, and appends the writes that take place. */
  async #decide(batch: CommitBatch): Promise<void> {
    try {
      await decideConditions(batch.writes, this.#parts.durable);
    } catch (error) {
      return this.#failed(batch, error);
    }
    if (batch.voidFailed()) this.#append(batch);
    else this.#settle(batch);
  }

  #append(batch: CommitBatch): void {
    this.#parts.journal.append(batch.frame, () => this.#settle(batch)).catch((error) => {
      this.#failed(batch, error);
    });
  }

  #settle(batch: CommitBatch): void {
    this.#writing = undefined;
    try {
      this.#done(batch);
    } catch (error) {
      // Memory and journal differ now, so the process has to end as after a failure of the disk.
      const failure = failedError("Cannot take in what was written", error);
      batch.fail(failure);
      this.#host.failed(failure);
      if (this.#writing === undefined) this.#next();
    }
  }

  /** Begins the next batch, then makes the durable `batch` visible and answers its writes. */
  #done(batch: CommitBatch): void {
    const isNextUnderWay = this.#mayOverlap;
    if (isNextUnderWay) this.#begin();
    this.#apply(batch);
    if (this.#failure === undefined) {
      if (!isNextUnderWay) this.#sealIfDue();
      this.#host.committed();
      this.release();
    }
    if (!isNextUnderWay) this.#next();
    batch.acknowledge();
    this.#recycle(batch);
  }

  /** Whether the next batch may be written before the durable one is visible. */
  get #mayOverlap(): boolean {
    const { writes, hasConditions } = this.#filling;
    return writes.length > 0 && !hasConditions && this.#sealing === undefined &&
      !this.#parts.budget.isSegmentFull;
  }

  #apply({ writes }: CommitBatch): void {
    const segment = this.#parts.journal.activeSegment;
    for (const write of writes) {
      if (write.failure === undefined) write.existed = this.#host.apply(write, segment);
    }
  }

  #failed(batch: CommitBatch, error: unknown): void {
    this.#writing = undefined;
    const failure = error instanceof WriteRefusedError
      ? error
      : failedError("Cannot write the journal", error);
    if (failure instanceof StorageFullError && batch.writes.some(isDelete)) {
      void this.#repeatDeletes(batch, failure);
    } else {
      this.#refuseBatch(batch, failure);
    }
  }

  /** Writes the deletes of a batch once more, with the room that is kept for deletes; refuses all other writes. */
  async #repeatDeletes(batch: CommitBatch, full: StorageFullError): Promise<void> {
    const isMore = await this.#parts.reserve.giveUp();
    if (this.#failure !== undefined || !isMore) {
      return this.#refuseBatch(batch, this.#failure ?? full);
    }
    // Saves that came meanwhile must not take that room either.
    const writes = [...batch.writes, ...this.#filling.writes];
    this.#recycle(batch);
    this.#filling.clear();
    for (const write of writes) {
      write.failure = undefined;
      if (isDelete(write)) this.#filling.add(write);
      else write.fail(full);
    }
    for (const write of this.#takeWaiting()) {
      if (isDelete(write)) this.#waiting.push(write);
      else write.fail(full);
    }
    this.#next();
  }

  #refuseBatch(batch: CommitBatch, failure: WriteRefusedError | StorageFailedError): void {
    batch.fail(failure);
    this.#recycle(batch);
    if (failure instanceof StorageFailedError) {
      this.#host.failed(failure);
    } else {
      this.#sealIfDue();
      this.#host.full();
      this.release();
    }
    this.#next();
  }

  #recycle(batch: CommitBatch): void {
    batch.clear();
    this.#free.push(batch);
  }

  /** Seals the segment if `seal` waits for that or the segment is full. To be called when no batch is under way. */
  #sealIfDue(): void {
    if (this.#sealing === undefined && !this.#parts.budget.isSegmentFull) return;
    this.#parts.journal.seal();
    this.#sealing?.resolve();
    this.#sealing = undefined;
  }
}

function isDelete({ state }: PendingWrite): boolean {
  return state === undefined;
}
