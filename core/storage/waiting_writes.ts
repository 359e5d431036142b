/** Writes that wait until the journal has room for them, first in, first out. */
import type { PendingWrite } from "./pending_write.ts";

// The array is made anew when so many at its front are gone.
const MOST_GONE = 4096;

/** A queue of writes. */
export class WaitingWrites {
  #writes: PendingWrite[] = [];
  /** Position of the first write that is still here. */
  #first = 0;

  /** Whether no write waits. */
  get isEmpty(): boolean {
    return this.#first === this.#writes.length;
  }

  /** Adds a write at the end. */
  push(write: PendingWrite): void {
    this.#writes.push(write);
  }

  /** Removes the first write and returns it; `undefined` if there is none. */
  shift(): PendingWrite | undefined {
    if (this.isEmpty) return undefined;
    const write = this.#writes[this.#first++];
    if (this.isEmpty || this.#first >= MOST_GONE) this.#writes = this.takeAll();
    return write;
  }

  /** Removes all writes and returns them in order. */
  takeAll(): PendingWrite[] {
    const writes = this.#writes.slice(this.#first);
    this.#writes = [];
    this.#first = 0;
    return writes;
  }
}
