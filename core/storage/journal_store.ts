/**
 * The store of a shard: a journal in front of plain files. A save is appended to the journal and flushed, together
 * with all writes that came meanwhile. Then it becomes visible and is acknowledged, and later the checkpoint makes
 * a file of it. A large value goes to a file of its own first, which its record names and the checkpoint renames.
 * So the journal is the one order of all writes.
 */
import { PreconditionFailedError, ShuttingDownError, StorageFailedError } from "../errors.ts";
import { LARGE_VALUE_BYTES } from "../protocol.ts";
import type {
  Admit,
  Condition,
  IncomingValue,
  LargeValue,
  ListOptions,
  SetResult,
  Store,
  StoreMetrics,
} from "../store.ts";
import { removeIfThere } from "../system/file_steps.ts";
import { failedError } from "../system/files.ts";
import { Value } from "../value.ts";
import { Checkpointer, type CheckpointParts } from "./checkpoint.ts";
import { CommitQueue } from "./commit_queue.ts";
import { JournalBudget } from "./journal_budget.ts";
import type { KeyIndex } from "./key_index.ts";
import { KeyTurns } from "./key_turns.ts";
import { LargeWriter } from "./large_value.ts";
import { type KeyState, LargeValueFile } from "./overlay.ts";
import { PendingDelete, PendingSet, type PendingWrite } from "./pending_write.ts";
import type { ValueCache } from "./value_cache.ts";
import { ValueReader } from "./value_reader.ts";

/** What a {@link JournalStore} is made of. */
export interface JournalStoreParts extends Omit<CheckpointParts, "budget" | "failed"> {
  readonly index: KeyIndex;
  /** The bound of the journal's size and of the overlay's memory, each (bytes). */
  readonly journalBytes: number;
  /** The values in memory that are in key files as well. */
  readonly cache: ValueCache;
  /** How long `close` may wait for writes and write key files (milliseconds). */
  readonly closeTimeoutMs: number;
  readonly onFatal: (error: StorageFailedError) => void;
}

/** A write that is to be put in line. */
interface Submission {
  readonly key: string;
  readonly condition: Condition | undefined;
  readonly admit: Admit | undefined;
}

/**
 * A {@link Store} on a folder of plain files. Readers see durable writes only. After a failure of the disk every call
 * rejects.
 */
export class JournalStore implements Store {
  readonly #parts: JournalStoreParts;
  readonly #index: KeyIndex;
  readonly #queue: CommitQueue;
  readonly #checkpointer: Checkpointer;
  readonly #reader: ValueReader;
  readonly #largeWriter: LargeWriter;
  readonly #turns = new KeyTurns();
  /** Values that are still being received. */
  readonly #arrivals = new Set<Promise<unknown>>();
  /** Files of large values that were replaced, being removed. */
  readonly #removals = new Set<Promise<void>>();
  #failure: StorageFailedError | undefined;
  #writes = 0;
  #hits = 0;
  #misses = 0;

  constructor(parts: JournalStoreParts) {
    const { journal, overlay, journalBytes } = parts;
    const budget = new JournalBudget(journal, overlay, journalBytes);
    const failed = (error: StorageFailedError) => this.#fail(error);
    this.#parts = parts;
    this.#index = parts.index;
    this.#reader = new ValueReader(parts);
    this.#queue = new CommitQueue({ ...parts, budget, durable: this.#reader }, {
      apply: (write, segment) => this.#apply(write, segment),
      committed: () => this.#checkpointer.committed(),
      full: () => this.#checkpointer.hurry(),
      failed,
    });
    this.#checkpointer = new Checkpointer({ ...parts, budget, failed }, this.#queue);
    this.#largeWriter = new LargeWriter(parts.hiddenFolder, parts.files, {
      check: () => parts.reserve.checkSave(),
      make: () => parts.journal.removeSpares(),
    });
    this.#queue.release();
    this.#checkpointer.begin();
  }

  get size(): number {
    return this.#index.size;
  }

  get writes(): number {
    return this.#writes;
  }

  /** Its numbers, which cost nothing to ask for. */
  get metrics(): StoreMetrics {
    const { journal } = this.#parts;
    const { done, failures, lastMs } = this.#checkpointer.progress;
    return {
      keys: this.#index.size,
      cacheHits: this.#hits,
      cacheMisses: this.#misses,
      journalBytes: journal.bytes,
      journalSegments: journal.segments,
      flushes: journal.flushes,
      checkpoints: done,
      checkpointFailures: failures,
      lastCheckpointMs: lastMs,
    };
  }

  get(
    key: string,
  ): Value | LargeValue | undefined | Promise<Value | LargeValue | undefined> {
    if (this.#failure !== undefined) return Promise.reject(this.#failure);
    const value = this.#reader.inMemory(key);
    if (value !== undefined) {
      this.#hits++;
      return value;
    }
    this.#misses++;
    return this.#reader.get(key);
  }

  set(
    key: string,
    value: Value | IncomingValue,
    condition?: Condition,
    admit?: Admit,
  ): Promise<SetResult> {
    const write = { key, condition, admit };
    if (!(value instanceof Value)) return this.#setArriving(write, value);
    const isSmall = value.size <= LARGE_VALUE_BYTES;
    if (isSmall && !this.#turns.has(key)) return this.#submitSet(write, value);
    return this.#inTurn(
      key,
      isSmall ? Promise.resolve(value) : this.#largeWriter.take(value),
      (state) => this.#submitSet(write, state),
    );
  }

  delete(key: string, condition?: Condition, admit?: Admit): Promise<boolean> {
    const write = { key, condition, admit };
    if (this.#turns.has(key)) {
      return this.#inTurn(key, Promise.resolve(undefined), () => this.#submitDelete(write));
    }
    return this.#submitDelete(write);
  }

  async settled(): Promise<void> {
    // Its condition never holds, so it changes nothing. It goes through the line as each write does.
    const last = new PendingDelete("settled", { etags: [] });
    this.#queue.submit(last);
    try {
      await last.promise;
    } catch (error) {
      if (!(error instanceof PreconditionFailedError)) throw error;
    }
  }

  list(options?: ListOptions): string[] {
    if (this.#failure !== undefined) throw this.#failure;
    return this.#index.list(options);
  }

  /** Rejects writes that wait for room in the journal, and all new ones: the server ends. */
  refuseWaiting(): void {
    this.#queue.end(
      new ShuttingDownError("Shutting down: nothing was changed, the old value stands"),
    );
  }

  /**
   * Waits for all writes, also for writes that wait for room, and turns all of the journal into key files: then the
   * folder has plain files only. When time is up, writes that still have no room are rejected. Values that are no
   * files by then, or cannot be since the disk is full, stay in the journal for the next start.
   */
  async close(): Promise<void> {
    const { closeTimeoutMs } = this.#parts;
    const endMs = performance.now() + closeTimeoutMs;
    const limit = closeTimeoutMs < Infinity
      ? setTimeout(() => this.refuseWaiting(), closeTimeoutMs)
      : undefined;
    while (this.#arrivals.size > 0) await Promise.allSettled(this.#arrivals);
    await this.#turns.idle();
    await this.#queue.idle();
    clearTimeout(limit);
    this.refuseWaiting();
    if (this.#failure === undefined) {
      await this.#checkpointer.finish(Math.max(0, endMs - performance.now()));
    }
    if (this.#failure !== undefined) await this.#checkpointer.abandon();
    await Promise.all(this.#removals);
    if (this.#failure !== undefined) return await this.#parts.journal.abandon();
    try {
      await this.#parts.journal.close();
    } catch (error) {
      this.#fail(failedError("Cannot close the journal", error));
    }
  }

  #submitSet(write: Submission, state: Value | LargeValueFile): Promise<SetResult> {
    const { key, condition, admit } = write;
    try {
      const wait = admit?.();
      if (wait !== undefined) return wait.then(() => this.#submitSet(write, state));
      this.#parts.reserve.checkSave();
      this.#parts.keyFiles.checkFree(key);
    } catch (error) {
      return Promise.reject(error);
    }
    if (state instanceof Value) state.compact();
    const pending = new PendingSet(key, state, condition);
    this.#queue.submit(pending);
    return pending.promise;
  }

  #submitDelete(write: Submission): Promise<boolean> {
    const { key, condition, admit } = write;
    try {
      const wait = admit?.();
      if (wait !== undefined) return wait.then(() => this.#submitDelete(write));
    } catch (error) {
      return Promise.reject(error);
    }
    const pending = new PendingDelete(key, condition);
    // There is nothing to delete, and no write under way that could bring the key.
    if (!this.#queue.isBusy && condition === undefined && !this.#index.has(key)) {
      if (this.#failure !== undefined) pending.fail(this.#failure);
      else pending.succeed();
    } else {
      this.#queue.submit(pending);
    }
    return pending.promise;
  }

  /** Takes the turn of a value only when all of it is received: a slow sender holds up no other write. */
  async #setArriving(write: Submission, value: IncomingValue): Promise<SetResult> {
    const arriving = this.#largeWriter.take(value);
    this.#arrivals.add(arriving);
    let state: Value | LargeValueFile;
    try {
      state = await arriving;
    } catch (error) {
      if (error instanceof StorageFailedError) this.#fail(error);
      throw error;
    } finally {
      this.#arrivals.delete(arriving);
    }
    return await this.#inTurn(write.key, Promise.resolve(state), (here) => {
      return this.#submitSet(write, here);
    });
  }

  async #inTurn<S extends KeyState, R>(
    key: string,
    arriving: Promise<S>,
    submit: (state: S) => Promise<R>,
  ): Promise<R> {
    try {
      return await this.#turns.take(key, arriving, submit);
    } catch (error) {
      const state = await arriving.catch(() => undefined);
      if (error instanceof StorageFailedError) this.#fail(error);
      else if (state instanceof LargeValueFile) await this.#removeFile(state.path);
      throw error;
    }
  }

  #apply({ key, state }: PendingWrite, segment: number): boolean {
    this.#writes++;
    const replaced = this.#parts.overlay.put(key, state, segment);
    if (replaced instanceof LargeValueFile && replaced !== state) this.#removeReplaced(replaced);
    this.#reader.changed(key);
    if (state === undefined) return this.#index.delete(key);
    // A key with a state in the overlay is in the index, whose look-up is slow.
    return replaced !== undefined || !this.#index.add(key);
  }

  #removeReplaced(large: LargeValueFile): void {
    if (large.isPlaced) return;
    const removal = this.#removeFile(large.path).finally(() => this.#removals.delete(removal));
    this.#removals.add(removal);
  }

  async #removeFile(path: string): Promise<void> {
    try {
      await removeIfThere(this.#parts.files, path);
    } catch {
      // It is removed at the next start.
      this.#parts.log("warn", "cannot remove the file of a value that was replaced", {
        file: path,
      });
    }
  }

  #fail(error: StorageFailedError): void {
    if (this.#failure !== undefined) return;
    this.#failure = error;
    this.#queue.fail(error);
    void this.#checkpointer.abandon();
    this.#parts.onFatal(error);
  }
}
