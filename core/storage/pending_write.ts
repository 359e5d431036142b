/** Writes on their way into the journal. */
import { FrameBuffer } from "../journal/frame_buffer.ts";
import { type Condition, type SetResult } from "../store.ts";
import { type Value } from "../value.ts";
import { entryBytes, type KeyState, LargeValueFile, type OverlayEntry } from "./overlay.ts";

/** A write that was called and is not settled yet. */
export interface PendingWrite {
  readonly key: string;
  /** What the key will hold; `undefined` deletes it. */
  readonly state: KeyState;
  readonly condition: Condition | undefined;
  /** Where its record is in the frame. */
  position: number;
  /** Why it will not take place. */
  failure: Error | undefined;
  /** Whether the key existed before; known once it is durable. */
  existed: boolean;
  /** Resolves it. */
  succeed(): void;
  /** Rejects it. */
  fail(error: Error): void;
}

/** A save that is not settled yet. */
export class PendingSet implements PendingWrite {
  readonly key: string;
  readonly state: Value | LargeValueFile;
  readonly condition: Condition | undefined;
  position = 0;
  failure: Error | undefined = undefined;
  existed = false;
  readonly promise: Promise<SetResult>;
  #resolve: (result: SetResult) => void;
  readonly fail: (error: Error) => void;

  constructor(key: string, state: Value | LargeValueFile, condition: Condition | undefined) {
    this.key = key;
    this.state = state;
    this.condition = condition;
    const { promise, resolve, reject } = Promise.withResolvers<SetResult>();
    this.promise = promise;
    this.#resolve = resolve;
    this.fail = reject;
  }

  succeed(): void {
    this.#resolve(new LazySetResult(!this.existed, this.state));
  }
}

/** A delete that is not settled yet. */
export class PendingDelete implements PendingWrite {
  readonly key: string;
  readonly state = undefined;
  readonly condition: Condition | undefined;
  position = 0;
  failure: Error | undefined = undefined;
  existed = false;
  readonly promise: Promise<boolean>;
  readonly #resolve: (existed: boolean) => void;
  readonly fail: (error: Error) => void;

  constructor(key: string, condition: Condition | undefined) {
    this.key = key;
    this.condition = condition;
    const { promise, resolve, reject } = Promise.withResolvers<boolean>();
    this.promise = promise;
    this.#resolve = resolve;
    this.fail = reject;
  }

  succeed(): void {
    this.#resolve(this.existed);
  }
}

/**
 * A write once more, into a younger segment, because its key's file cannot be made for now. Only if
 * it is still the newest of its key; it resolves all the same if it is not.
 */
export class PendingCarry implements PendingWrite {
  readonly key: string;
  readonly state: KeyState;
  readonly condition = undefined;
  readonly entry: OverlayEntry;
  position = 0;
  failure: Error | undefined = undefined;
  existed = false;
  readonly promise: Promise<void>;
  readonly succeed: () => void;
  readonly fail: (error: Error) => void;

  constructor(entry: OverlayEntry) {
    this.key = entry.key;
    this.state = entry.state;
    this.entry = entry;
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    this.promise = promise;
    this.succeed = resolve;
    this.fail = (error) => error instanceof SupersededError ? resolve() : reject(error);
  }
}

/** Why a {@link PendingCarry} does not take place. */
export class SupersededError extends Error {}

/** Hashes the value only for those who ask for its ETag: the book routes never do. */
class LazySetResult implements SetResult {
  readonly created: boolean;
  readonly #state: Value | LargeValueFile;

  constructor(created: boolean, state: Value | LargeValueFile) {
    this.created = created;
    this.#state = state;
  }

  get etag(): string {
    return this.#state.etag;
  }
}

/** Writes that go to the disk together; of their own they have one frame, used again and again. */
export class CommitBatch {
  readonly frame = new FrameBuffer();
  writes: PendingWrite[] = [];
  /** Whether there is to be decided on any. */
  hasConditions = false;
  /** What its writes will take in the overlay, bytes; more than their records in the journal. */
  bytes = 0;

  /** Adds a write, and its record to the frame. */
  add(write: PendingWrite): void {
    const { key, state } = write;
    write.position = state === undefined
      ? this.frame.putDelete(key)
      : state instanceof LargeValueFile
      ? this.frame.putLarge(
        key,
        state.contentType,
        {
          fileName: state.path.slice(state.path.lastIndexOf("/") + 1),
          size: state.size,
          hash: state.hash,
        },
      )
      : this.frame.putValue(key, state);
    this.bytes += entryBytes(key, state);
    if (write.condition !== undefined) this.hasConditions = true;
    this.writes.push(write);
  }

  /** Moves all writes but the first `count` to `next`, which is empty. */
  moveRest(count: number, next: CommitBatch): void {
    const rest = this.writes.splice(count);
    const [first] = rest;
    if (first === undefined) return;
    const moved = this.frame.moveRest(first.position, next.frame);
    for (const write of rest) {
      const bytes = entryBytes(write.key, write.state);
      this.bytes -= bytes;
      next.bytes += bytes;
      write.position += moved;
    }
    next.writes = rest;
    next.hasConditions = this.hasConditions;
  }

  /** Tells who waits for its writes, which are durable, or were refused. */
  acknowledge(): void {
    for (const write of this.writes) {
      if (write.failure === undefined) write.succeed();
      else write.fail(write.failure);
    }
  }

  /**
   * Rejects all of its writes, also those whose condition did not hold: that may have been for others of
   * them.
   */
  fail(failure: Error): void {
    for (const write of this.writes) write.fail(failure);
  }

  clear(): void {
    this.frame.clear();
    this.writes = [];
    this.bytes = 0;
    this.hasConditions = false;
  }
}
