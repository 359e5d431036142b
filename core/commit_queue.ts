/** Group commit: all writes that arrive while a flush is under way go out in the next one. */
import { type ShuttingDownError, StorageFailedError, StorageFullError } from "./errors.ts";
import { failedError, type Journal } from "./journal.ts";
import { FrameBuffer } from "./journal_record.ts";
import { bytesOf, LargeFile } from "./overlay.ts";
import type { PendingCarry, PendingWrite } from "./pending_write.ts";

/** What the queue needs of the store. Nothing here may call back into the queue but `release`. */
export interface CommitHost {
  /** How many bytes of memory may be written before the checkpoint has made progress. */
  room(): number;
  /** Decides the writes of a batch that have a condition: sets `failure` where it does not hold. */
  decide(writes: readonly PendingWrite[]): Promise<void>;
  /** Makes a durable write visible; returns whether the key existed before. */
  apply(write: PendingWrite, segment: number): boolean;
  /** Called when a batch is done; nothing is being written to the journal then. */
  committed(): void;
  /** Called when a write has to wait for the checkpoint, or the disk had no room for it. */
  full(): void;
  /** Called when the disk failed. */
  failed(error: StorageFailedError): void;
}

// So many writes that were let in stay in the array before it is made anew.
const MOST_GONE = 4096;

// Where a flush takes less than this (milliseconds), the event loop's work for a batch takes as long.
const QUICK_FLUSH_MS = 1;

class Batch {
  readonly frame = new FrameBuffer();
  writes: PendingWrite[] = [];
  hasConditions = false;
  /** What its writes will take in the overlay, bytes; more than their records in the journal. */
  bytes = 0;

  add(write: PendingWrite): void {
    const { key, state } = write;
    write.position = state === undefined
      ? this.frame.putDelete(key)
      : state instanceof LargeFile
      ? this.frame.putLarge(
        key,
        state.contentType,
        state.path.slice(state.path.lastIndexOf("/") + 1),
      )
      : this.frame.putValue(key, state);
    this.bytes += bytesOf(key, state);
    if (write.condition !== undefined) this.hasConditions = true;
    this.writes.push(write);
  }

  /** Moves all writes but the first `count` to `next`, which is empty. */
  moveRest(count: number, next: Batch): void {
    const rest = this.writes.splice(count);
    const [first] = rest;
    if (first === undefined) return;
    const moved = this.frame.moveRest(first.position, next.frame);
    for (const write of rest) {
      const bytes = bytesOf(write.key, write.state);
      this.bytes -= bytes;
      next.bytes += bytes;
      write.position += moved;
    }
    next.writes = rest;
    next.hasConditions = this.hasConditions;
  }

  clear(): void {
    this.frame.clear();
    this.writes = [];
    this.bytes = 0;
    this.hasConditions = false;
  }
}

/** Takes writes in order, makes them durable batch by batch, and settles them. */
export class CommitQueue {
  readonly #journal: Journal;
  readonly #host: CommitHost;
  #filling = new Batch();
  #resting = new Batch();
  #room = 0;
  /** Writes that the journal has no room for, in order; those before `#nextWaiting` are gone. */
  #waiting: PendingWrite[] = [];
  #nextWaiting = 0;
  #refusal: StorageFullError | undefined;
  #failure: StorageFailedError | undefined;
  /** Why nothing is taken any more. */
  #end: StorageFailedError | ShuttingDownError | undefined;
  /** Called when a write that waited does not any more. */
  #onRelease: (() => void) | undefined;
  #running: Promise<void> | undefined;
  /** How long the last flush took (milliseconds). */
  #flushMs = 0;
  /** Whoever waits for the segment to be sealed. */
  #sealing: PromiseWithResolvers<void> | undefined;

  constructor(journal: Journal, host: CommitHost) {
    this.#journal = journal;
    this.#host = host;
  }

  /** Whether writes wait for the checkpoint. */
  get hasWaiting(): boolean {
    return this.#waiting.length > 0;
  }

  /** Whether writes are under way or wait. */
  get isBusy(): boolean {
    return this.#running !== undefined || this.#waiting.length > 0;
  }

  /** Takes a write; its promise settles when it is durable, or refused. */
  submit(write: PendingWrite): void {
    if (this.#end !== undefined) {
      write.fail(this.#end);
    } else if (this.#waiting.length === 0 && this.#filling.bytes < this.#room) {
      this.#filling.add(write);
      this.#running ??= this.#run();
    } else {
      this.#submitSlowly(write);
    }
  }

  /** Takes a write that makes room for others: it never waits. */
  carry(write: PendingCarry): void {
    if (this.#failure !== undefined) return write.fail(this.#failure);
    this.#filling.add(write);
    this.#filling.hasConditions = true;
    this.#running ??= this.#run();
  }

  /** Lets in what waits, as far as there is room now. To be called whenever there is more. */
  release(): void {
    this.#room = this.#host.room();
    while (this.#nextWaiting < this.#waiting.length && this.#filling.bytes < this.#room) {
      const write = this.#waiting[this.#nextWaiting++];
      if (write !== undefined) this.#filling.add(write);
    }
    if (this.#nextWaiting >= MOST_GONE || this.#nextWaiting === this.#waiting.length) {
      this.#waiting = this.#takeWaiting();
    }
    if (this.#filling.writes.length > 0) this.#running ??= this.#run();
    this.#onRelease?.();
  }

  /**
   * While there is a refusal, no write waits: those that would are rejected with it. For the time in
   * which the journal is full and the disk as well.
   */
  refuse(refusal: StorageFullError | undefined): void {
    this.#refusal = refusal;
    if (refusal === undefined) return;
    for (const write of this.#takeWaiting()) write.fail(refusal);
  }

  /** Seals the journal's segment as soon as no flush is under way; resolves when that is done. */
  async seal(): Promise<void> {
    if (this.#running === undefined) return this.#journal.seal();
    this.#sealing ??= Promise.withResolvers<void>();
    await this.#sealing.promise;
  }

  /** Resolves when nothing is under way and nothing waits. */
  async idle(): Promise<void> {
    while (this.isBusy) {
      await (this.#running ?? new Promise<void>((resolve) => this.#onRelease = resolve));
    }
    this.#onRelease = undefined;
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
    for (const write of this.#filling.writes) write.fail(error);
    this.#filling.clear();
    for (const write of this.#takeWaiting()) write.fail(error);
  }

  #submitSlowly(write: PendingWrite): void {
    this.release();
    if (this.#waiting.length === 0 && this.#filling.bytes < this.#room) {
      this.#filling.add(write);
      this.#running ??= this.#run();
    } else if (this.#refusal !== undefined) {
      write.fail(this.#refusal);
    } else {
      this.#waiting.push(write);
      this.#host.full();
    }
  }

  #takeWaiting(): PendingWrite[] {
    const waiting = this.#waiting.slice(this.#nextWaiting);
    this.#waiting = [];
    this.#nextWaiting = 0;
    this.#onRelease?.();
    return waiting;
  }

  async #run(): Promise<void> {
    let durable: readonly PendingWrite[] = [];
    try {
      // Whoever is about to call in this turn of the event loop comes along.
      await null;
      while (this.#filling.writes.length > 0) {
        const batch = this.#takeBatch(durable.length);
        this.#room = this.#host.room() - batch.bytes;
        const writing = this.#write(batch);
        // The answers go out while the disk is at the next batch.
        acknowledge(durable);
        durable = [];
        const isWritten = await writing;
        if (isWritten) durable = this.#apply(batch);
        batch.clear();
        if (this.#failure !== undefined) break;
        this.#sealIfAsked();
        if (isWritten) this.#host.committed();
        else this.#host.full();
        this.release();
      }
    } finally {
      acknowledge(durable);
      this.#running = undefined;
      this.#sealIfAsked();
    }
  }

  /**
   * Returns the batch to be written now, `answered` writes being about to be answered. Whoever made those
   * may come back while it is written. Where a flush is quick, one batch of all would leave the event loop
   * idle while it is written, and the disk while it is answered; so the two parts are made of one size,
   * and take turns. It costs a write one quick flush at most.
   */
  #takeBatch(answered: number): Batch {
    const batch = this.#filling;
    const next = this.#resting;
    const waiting = batch.writes.length;
    const isSplit = answered > 0 && waiting > answered + 1 && this.#flushMs < QUICK_FLUSH_MS;
    if (isSplit) batch.moveRest(Math.ceil((waiting + answered) / 2), next);
    this.#filling = next;
    this.#resting = batch;
    return batch;
  }

  #sealIfAsked(): void {
    if (this.#sealing === undefined) return;
    this.#journal.seal();
    this.#sealing.resolve();
    this.#sealing = undefined;
  }

  /** Makes a batch durable; resolves to whether it is. Where not, its writes have failed. */
  async #write(batch: Batch): Promise<boolean> {
    const { writes, frame } = batch;
    try {
      if (batch.hasConditions) await this.#decide(batch);
      if (!batch.hasConditions || writes.some((write) => write.failure === undefined)) {
        const startedAt = performance.now();
        await this.#journal.append(frame);
        this.#flushMs = performance.now() - startedAt;
      }
      return true;
    } catch (error) {
      const failure = error instanceof StorageFullError
        ? error
        : failedError("Cannot write the journal", error);
      for (const write of writes) write.fail(write.failure ?? failure);
      if (failure instanceof StorageFailedError) this.#host.failed(failure);
      return false;
    }
  }

  /** Makes the writes of a durable batch visible, and returns them. */
  #apply({ writes }: Batch): readonly PendingWrite[] {
    const segment = this.#journal.activeSegment;
    for (const write of writes) {
      if (write.failure === undefined) write.existed = this.#host.apply(write, segment);
    }
    return writes;
  }

  async #decide({ writes, frame }: Batch): Promise<void> {
    await this.#host.decide(writes);
    for (const write of writes) {
      if (write.failure !== undefined) frame.void(write.position);
    }
  }
}

/** Tells who waits for writes that are durable, or were refused. */
function acknowledge(writes: readonly PendingWrite[]): void {
  for (const write of writes) {
    if (write.failure === undefined) write.succeed();
    else write.fail(write.failure);
  }
}
