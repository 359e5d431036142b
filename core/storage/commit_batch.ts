/** Writes that go to the disk together, as one frame of the journal. */
import { FrameBuffer } from "../journal/frame_buffer.ts";
import { entryBytes, LargeValueFile } from "./overlay.ts";
import { PendingCarry, type PendingWrite } from "./pending_write.ts";

/** A commit batch. After `clear` the memory of its frame is used again. */
export class CommitBatch {
  readonly frame = new FrameBuffer();
  writes: PendingWrite[] = [];
  /** Whether `decideConditions` has to say which of the writes take place. */
  hasConditions = false;
  /** Bytes that the writes will take in the overlay: more than their records take in the journal. */
  bytes = 0;

  /** Adds a write, and its record to the frame. */
  add(write: PendingWrite): void {
    write.position = this.#putRecord(write);
    this.bytes += entryBytes(write.key, write.state);
    if (write.condition !== undefined || write instanceof PendingCarry) this.hasConditions = true;
    this.writes.push(write);
  }

  #putRecord({ key, state }: PendingWrite): number {
    if (state === undefined) return this.frame.putDelete(key);
    if (!(state instanceof LargeValueFile)) return this.frame.putValue(key, state);
    const { path, contentType, size, hash } = state;
    const fileName = path.slice(path.lastIndexOf("/") + 1);
    return this.frame.putLarge(key, contentType, { fileName, size, hash });
  }

  /** Voids the records of writes that do not take place; returns whether other writes are left. */
  voidFailed(): boolean {
    let isAny = false;
    for (const write of this.writes) {
      if (write.failure === undefined) isAny = true;
      else this.frame.void(write.position);
    }
    return isAny;
  }

  /** Settles all writes of a durable batch, each as it was decided. */
  acknowledge(): void {
    for (const write of this.writes) {
      if (write.failure === undefined) write.succeed();
      else write.fail(write.failure);
    }
  }

  /**
   * Rejects all writes with `failure`, also writes whose condition did not hold. The reason may have been another write
   * of the batch, which does not take place either.
   */
  fail(failure: Error): void {
    for (const write of this.writes) write.fail(failure);
  }

  /** Makes the batch empty. */
  clear(): void {
    this.frame.clear();
    this.writes = [];
    this.bytes = 0;
    this.hasConditions = false;
  }
}
