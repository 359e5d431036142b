/** One batch of a group commit. */
import { FrameBuffer } from "./journal_record.ts";
import { bytesOf, LargeFile } from "./overlay.ts";
import type { PendingWrite } from "./pending_write.ts";

/** Writes that go to the disk together; of their own they have one frame, used again and again. */
export class Batch {
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
      : state instanceof LargeFile
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
