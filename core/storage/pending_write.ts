/** Writes on their way into the journal: a save, a delete, or a write that is repeated in a younger segment. */
import type { Condition, SetResult } from "../store.ts";
import type { Value } from "../value.ts";
import type { KeyState, LargeValueFile, OverlayEntry } from "./overlay.ts";

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
  readonly #resolve: (result: SetResult) => void;
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
 * The newest write of a key once more, into a younger segment, because the key's file cannot be made for now. It
 * does not take place if a newer write of the key has come, and then it resolves all the same.
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

/** Hashes the value only if its ETag is asked for, which the book routes never do. */
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
