/** How much of the journal is in use. `--journal` bounds its bytes on the disk and the overlay's memory, each. */
import type { Journal } from "../journal/journal.ts";
import type { Overlay } from "./overlay.ts";

// A segment is dropped as a whole, so a full journal has to consist of several.
const MOST_SEGMENTS = 8;
// From here on files are made at once; the rest of the segments is left to the writers meanwhile.
const PRESSING_SEGMENTS = 6;

/** Tells how much may be written before a checkpoint has made progress. */
export class JournalBudget {
  readonly #journal: Journal;
  readonly #overlay: Overlay;
  readonly #limitBytes: number;

  constructor(journal: Journal, overlay: Overlay, limitBytes: number) {
    this.#journal = journal;
    this.#overlay = overlay;
    this.#limitBytes = limitBytes;
  }

  /** Bytes that may still be written; at most 0 if the journal is full. */
  get allowance(): number {
    const used = this.#usedBytes;
    // A checkpoint of nothing makes no room, so then a write of any size has to get through.
    return used === 0 ? Math.max(this.#limitBytes, 1) : this.#limitBytes - used;
  }

  /** Whether writers would soon have to wait. */
  get isPressing(): boolean {
    return this.#usedBytes >= this.#limitBytes * PRESSING_SEGMENTS / MOST_SEGMENTS;
  }

  /** Whether a delete may be written although the journal is full: only deletes may make room then. */
  get hasRoomForDeletes(): boolean {
    return this.#usedBytes < 2 * this.#limitBytes;
  }

  /** Whether entries of so many bytes are too many to stay in the journal. */
  isTooMuchToKeep(bytes: number): boolean {
    return bytes >= this.#limitBytes / 2;
  }

  /** Whether the next write should go into another segment. */
  get isSegmentFull(): boolean {
    const { activeBytes, activeSegment } = this.#journal;
    // Small values take much more memory than journal.
    const bytes = Math.max(activeBytes, this.#overlay.segmentBytes(activeSegment));
    return bytes >= this.#limitBytes / MOST_SEGMENTS;
  }

  get #usedBytes(): number {
    return Math.max(this.#journal.bytes, this.#overlay.bytes);
  }
}
