/** Group commit: writes that arrive while a flush is under way share the next one, or the next two. */
import { CommitBatch } from "./pending_write.ts";
import {
  type ShuttingDownError,
  StorageFailedError,
  StorageFullError,
  WriteRefusedError,
} from "../errors.ts";
import type { Journal } from "../journal/journal.ts";
import type { PendingCarry, PendingWrite } from "./pending_write.ts";
import { failedError } from "../system/files.ts";

/** What the queue needs of the store. Of the queue this may call `release`, `seal`, `refuse` and `fail`. */
export interface CommitHost {
  /** How many bytes of memory may be written before the checkpoint has made progress. */
  allowance(): number;
  /** Decides the writes of a batch that have a condition: sets `failure` where it does not hold. */
  decide(writes: readonly PendingWrite[]): Promise<void>;
  /** Makes a durable write visible; returns whether the key existed before. */
  apply(write: PendingWrite, segment: number): boolean;
  /** Whether the next write should go into another segment. */
  isSegmentFull(): boolean;
  /** Gives deletes the room that is kept for them; resolves to whether there may be more now. */
  giveRoomToDeletes(): Promise<boolean>;
  /** Whether deletes may take more of the journal than others. */
  hasRoomForDeletes(): boolean;
  /** Called when a batch has become visible. */
  committed(): void;
  /** Called when a write has to wait for the checkpoint, or was refused. */
  full(): void;
  /** Called when the disk failed. */
  failed(error: StorageFailedError): void;
}

// So many writes that were let in stay in the array before it is made anew.
const MOST_GONE = 4096;

/** When what waits is written in two parts. */
export interface Parting {
  /** Fewer writes than this are no part. */
  readonly leastWrites: number;
  /** What a write takes the event loop, from its request to its answer (milliseconds, about). */
  readonly writeMs: number;
}

// No disk flushes as quickly as less than eight are done.
const PARTING: Parting = { leastWrites: 8, writeMs: 0.015 };

// How much longer than the quickest flush so far the next one may be and still count: disks change.
const FORGETTING = 1.25;

/** Takes writes in order, makes them durable batch by batch, and settles them. */
export class CommitQueue {
  readonly #journal: Journal;
  readonly #host: CommitHost;
  readonly #parting: Parting;
  #filling = new CommitBatch();
  /** Batches that are empty: one is filled, one written and one answered at the same time. */
  readonly #free: CommitBatch[] = [];
  #allowance = 0;
  /** Writes that the journal has no room for, in order; those before `#nextWaiting` are gone. */
  #waiting: PendingWrite[] = [];
  #nextWaiting = 0;
  #refusal: WriteRefusedError | undefined;
  #failure: StorageFailedError | undefined;
  /** Why nothing is taken any more. */
  #end: StorageFailedError | ShuttingDownError | undefined;
  /** Resolved when a write that waited does not any more, and when nothing is under way. */
  #change: PromiseWithResolvers<void> | undefined;
  #isRunning = false;
  /** The batch that is being written. */
  #writing: CommitBatch | undefined;
  /**
   * How long a flush takes (milliseconds): the quickest of late, since what the event loop was busy with when
   * it was done counts in each.
   */
  #flushMs = Infinity;
  /** Whoever waits for the segment to be sealed. */
  #sealing: PromiseWithResolvers<void> | undefined;

  constructor(journal: Journal, host: CommitHost, parting: Parting = PARTING) {
    this.#journal = journal;
    this.#host = host;
    this.#parting = parting;
  }

  /** Whether writes wait for the checkpoint. */
  get hasWaiting(): boolean {
    return this.#waiting.length > 0;
  }

  /** Whether writes are under way or wait. */
  get isBusy(): boolean {
    return this.#isRunning || this.#waiting.length > 0;
  }

  /** Takes a write; its promise settles when it is durable, or refused. */
  submit(write: PendingWrite): void {
    if (this.#end !== undefined) {
      write.fail(this.#end);
    } else if (this.#waiting.length === 0 && this.#filling.bytes < this.#allowance) {
      this.#filling.add(write);
      this.#wake();
    } else {
      this.#submitSlowly(write);
    }
  }

  /** Takes a write that makes room for others: it never waits. */
  carry(write: PendingCarry): void {
    if (this.#failure !== undefined) return write.fail(this.#failure);
    this.#filling.add(write);
    this.#filling.hasConditions = true;
    this.#wake();
  }

  /** Lets in what waits, as far as there is room now. To be called whenever there is more. */
  release(): void {
    this.#allowance = this.#host.allowance() - (this.#writing?.bytes ?? 0);
    while (this.#nextWaiting < this.#waiting.length && this.#filling.bytes < this.#allowance) {
      const write = this.#waiting[this.#nextWaiting++];
      if (write !== undefined) this.#filling.add(write);
    }
    if (this.#nextWaiting >= MOST_GONE || this.#nextWaiting === this.#waiting.length) {
      this.#waiting = this.#takeWaiting();
    }
    if (this.#filling.writes.length > 0) this.#wake();
    this.#changed();
  }

  /**
   * While there is a refusal, no write waits: those that would are rejected with it, but for deletes, which may be
   * all that makes room. For the time in which the journal is full and the disk as well.
   */
  refuse(refusal: WriteRefusedError | undefined): void {
    this.#refusal = refusal;
    if (refusal === undefined) return;
    for (const write of this.#takeWaiting()) this.submit(write);
  }

  /** Seals the journal's segment as soon as no flush is under way; resolves when that is done. */
  async seal(): Promise<void> {
    if (!this.#isRunning) {
      // Not whenever nothing is under way, as between two batches of clients that all wait for the same one: the
      // checkpoint asks for this when there is some rest.
      for (const { frame } of [this.#filling, ...this.#free]) frame.trim();
      return this.#journal.seal();
    }
    this.#sealing ??= Promise.withResolvers<void>();
    await this.#sealing.promise;
  }

  /** Resolves when nothing is under way and nothing waits. */
  async idle(): Promise<void> {
    while (this.isBusy) {
      this.#change ??= Promise.withResolvers<void>();
      await this.#change.promise;
    }
  }

  #changed(): void {
    this.#change?.resolve();
    this.#change = undefined;
  }

  /** Rejects what waits for room, and all that comes from now on; what has room goes on. */
  end(reason: ShuttingDownError): void {
    this.#end ??= reason;
    for (const write of this.#takeWaiting()) write.fail(this.#end);
  }

  /** Rejects everything from now on. */
  fail(error: StorageFailedError): void {
    if (this.#failure !== undefined) return;
    this.#failure = error;
    this.#end = error;
    this.#filling.fail(error);
    this.#filling.clear();
    for (const write of this.#takeWaiting()) write.fail(error);
  }

  #submitSlowly(write: PendingWrite): void {
    this.release();
    if (this.#waiting.length === 0 && this.#filling.bytes < this.#allowance) {
      this.#filling.add(write);
      this.#wake();
    } else if (this.#refusal !== undefined) {
      if (isDelete(write) && this.#host.hasRoomForDeletes()) {
        this.#filling.add(write);
        this.#wake();
      } else {
        write.fail(this.#refusal);
      }
    } else {
      this.#waiting.push(write);
      this.#host.full();
    }
  }

  #takeWaiting(): PendingWrite[] {
    const waiting = this.#waiting.slice(this.#nextWaiting);
    this.#waiting = [];
    this.#nextWaiting = 0;
    this.#changed();
    return waiting;
  }

  /** Begins, where nothing is under way: with all who are about to call in this turn of the event loop. */
  #wake(): void {
    if (this.#isRunning) return;
    this.#isRunning = true;
    queueMicrotask(() => this.#next(0));
  }

  /** Goes on while nothing is being written; `answered` as for {@link #takeBatch}. */
  #next(answered: number): void {
    if (this.#filling.writes.length > 0) return this.#begin(this.#takeBatch(answered));
    this.#isRunning = false;
    this.#sealIfDue();
    this.#changed();
  }

  #begin(batch: CommitBatch): void {
    this.#writing = batch;
    this.#allowance = this.#host.allowance() - batch.bytes;
    if (batch.hasConditions) void this.#decide(batch);
    else this.#append(batch);
  }

  #append(batch: CommitBatch): void {
    const startedAt = performance.now();
    const onDurable = () => {
      this.#flushMs = Math.min(performance.now() - startedAt, FORGETTING * this.#flushMs);
      this.#settle(batch);
    };
    this.#journal.append(batch.frame, onDurable).catch((error) => this.#failed(batch, error));
  }

  /** What is durable and cannot be taken in is no failure of the journal, but the end all the same. */
  #settle(batch: CommitBatch): void {
    this.#writing = undefined;
    try {
      this.#done(batch);
    } catch (error) {
      const failure = failedError("Cannot take in what was written", error);
      batch.fail(failure);
      this.#host.failed(failure);
      if (this.#writing === undefined) this.#next(0);
    }
  }

  /** A batch is durable: now the disk is to be at the next one as soon as possible. */
  #done(batch: CommitBatch): void {
    const answered = batch.writes.length;
    const isNextUnderWay = this.#mayOverlap();
    if (isNextUnderWay) this.#begin(this.#takeBatch(answered));
    this.#apply(batch);
    if (this.#failure === undefined) {
      if (!isNextUnderWay) this.#sealIfDue();
      this.#host.committed();
      this.release();
    }
    if (!isNextUnderWay) this.#next(answered);
    // The answers go out while the disk is at the next batch.
    batch.acknowledge();
    this.#recycle(batch);
  }

  /** Whether the next batch may be written before the one that is durable becomes visible. */
  #mayOverlap(): boolean {
    const { writes, hasConditions } = this.#filling;
    return writes.length > 0 && !hasConditions && this.#sealing === undefined &&
      !this.#host.isSegmentFull();
  }

  #failed(batch: CommitBatch, error: unknown): void {
    this.#writing = undefined;
    const failure = error instanceof WriteRefusedError
      ? error
      : failedError("Cannot write the journal", error);
    if (failure instanceof StorageFullError && batch.writes.some(isDelete)) {
      return void this.#repeatDeletes(batch, failure);
    }
    this.#refused(batch, failure);
  }

  /** Writes the deletes of a batch once more, with the room that is kept for them; the rest of it is refused. */
  async #repeatDeletes(batch: CommitBatch, full: StorageFullError): Promise<void> {
    const isMore = await this.#host.giveRoomToDeletes();
    if (this.#failure !== undefined || !isMore) return this.#refused(batch, this.#failure ?? full);
    // What came meanwhile must not take that room either.
    const writes = [...batch.writes, ...this.#filling.writes];
    const waiting = this.#takeWaiting();
    batch.clear();
    this.#filling.clear();
    for (const write of writes) {
      write.failure = undefined;
      if (isDelete(write)) batch.add(write);
      else write.fail(full);
    }
    this.#free.push(this.#filling);
    this.#filling = batch;
    for (const write of waiting) {
      if (isDelete(write)) this.#waiting.push(write);
      else write.fail(full);
    }
    this.#next(0);
  }

  #refused(batch: CommitBatch, failure: WriteRefusedError | StorageFailedError): void {
    batch.fail(failure);
    this.#recycle(batch);
    if (failure instanceof StorageFailedError) {
      this.#host.failed(failure);
    } else {
      this.#sealIfDue();
      this.#host.full();
      this.release();
    }
    this.#next(0);
  }

  #recycle(batch: CommitBatch): void {
    batch.clear();
    this.#free.push(batch);
  }

  /**
   * Returns the batch to be written now, `answered` writes being about to be answered. Whoever made those
   * may come back while it is written. Where a flush takes no longer than the event loop needs for half of them
   * all, one batch of all would leave the event loop idle while it is written, and the disk while it is
   * answered; so the two parts are made of one size, and take turns. It costs a write one quick flush at most.
   */
  #takeBatch(answered: number): CommitBatch {
    const batch = this.#filling;
    const next = this.#free.pop() ?? new CommitBatch();
    const waiting = batch.writes.length;
    const half = Math.ceil((waiting + answered) / 2);
    const { leastWrites, writeMs } = this.#parting;
    const isSplit = waiting > half && half >= leastWrites && this.#flushMs < half * writeMs;
    if (isSplit) batch.moveRest(half, next);
    this.#filling = next;
    return batch;
  }

  /** Only where nothing is being written. */
  #sealIfDue(): void {
    if (this.#sealing === undefined && !this.#host.isSegmentFull()) return;
    this.#journal.seal();
    this.#sealing?.resolve();
    this.#sealing = undefined;
  }

  /** Makes the writes of a durable batch visible. */
  #apply({ writes }: CommitBatch): void {
    const segment = this.#journal.activeSegment;
    for (const write of writes) {
      if (write.failure === undefined) write.existed = this.#host.apply(write, segment);
    }
  }

  /** Decides on the writes of a batch, and writes what is left of it. */
  async #decide(batch: CommitBatch): Promise<void> {
    const { writes, frame } = batch;
    try {
      await this.#host.decide(writes);
    } catch (error) {
      return this.#failed(batch, error);
    }
    let isAny = false;
    for (const write of writes) {
      if (write.failure === undefined) isAny = true;
      else frame.void(write.position);
    }
    if (isAny) this.#append(batch);
    else this.#settle(batch);
  }
}

function isDelete({ state }: PendingWrite): boolean {
  return state === undefined;
}
