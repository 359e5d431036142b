/** What is durable in the journal and not yet in key files. */
import { Value } from "../value.ts";
import { memoryOf, type ValueCache } from "./value_cache.ts";

/** What is known of a large value. */
export interface LargeFacts {
  readonly size: number;
  readonly contentType: string;
  readonly etag: string;
  /** XXH64 of the content. */
  readonly hash: bigint;
}

/** A large value in a file of its own, on its way to the key's file. */
export class LargeValueFile {
  /** Where it is now; changes once, when it is renamed to the key's file. */
  path: string;
  /** Whether the rename has begun: from then on the file is the key's. */
  isPlaced = false;
  readonly size: number;
  readonly contentType: string;
  readonly etag: string;
  /** XXH64 of the content. */
  readonly hash: bigint;

  constructor(path: string, facts: LargeFacts) {
    this.path = path;
    this.size = facts.size;
    this.contentType = facts.contentType;
    this.etag = facts.etag;
    this.hash = facts.hash;
  }
}

/** What a key holds; `undefined` where it was deleted. */
export type KeyState = Value | LargeValueFile | undefined;

/** The newest durable write of a key. */
export interface OverlayEntry {
  readonly key: string;
  state: KeyState;
  /** Number of the journal segment that holds the write. */
  readonly segment: number;
  /** Whether it is still the newest write of its key, and not in the key's file. */
  isPending: boolean;
  /** About how many bytes of memory it takes with its value: to ask that costs a look at it. */
  bytes: number;
}

// An entry with its place in the map and in its segment, measured with both runtimes; and what stays
// of it until the segment is dropped, once it is a file or was replaced.
const ENTRY_BYTES = 200;
const REST_BYTES = 80;

/** About how many bytes of memory the overlay takes for this write. */
export function entryBytes(key: string, state: KeyState): number {
  return ENTRY_BYTES + (state instanceof Value ? memoryOf(key, state) : key.length);
}

/**
 * The newest durable write of each key that the journal holds. What it has of a key is newer than what
 * the cache has; when it is in the key's file it moves to the cache.
 */
export class Overlay {
  readonly #cache: ValueCache;
  readonly #entries = new Map<string, OverlayEntry>();
  /** By segment, what it holds; entries that a later segment replaced stay until it is dropped. */
  readonly #bySegment = new Map<number, OverlayEntry[]>();
  #bytes = 0;
  #puts = 0;
  #current: OverlayEntry[] = [];
  #currentSegment = -1;
  #currentBytes = 0;
  /** The slab that was counted last, and by segment the bytes of all of them. */
  #slab: ArrayBuffer | undefined;
  readonly #slabBytes = new Map<number, number>();

  constructor(cache: ValueCache) {
    this.#cache = cache;
  }

  /** About how many bytes of memory it takes. */
  get bytes(): number {
    return this.#bytes;
  }

  /** How many writes were put here since it was made. */
  get puts(): number {
    return this.#puts;
  }

  /** About how many bytes of memory the entries of `segment` take, if it is the one put to last. */
  segmentBytes(segment: number): number {
    return segment === this.#currentSegment ? this.#currentBytes : 0;
  }

  /** Returns the newest write of `key`, if the journal holds one. */
  get(key: string): OverlayEntry | undefined {
    return this.#entries.get(key);
  }

  /**
   * Records a write in `segment`, which must not be less than in the calls before, but for a key whose
   * newest write is in it already.
   */
  put(key: string, state: KeyState, segment: number): KeyState {
    this.#puts++;
    if (segment > this.#currentSegment) this.#begin(segment);
    const previous = this.#entries.get(key);
    const replaced = previous?.state;
    const bytes = entryBytes(key, state) - this.#share(state, segment);
    if (previous !== undefined && previous.segment === segment) {
      const more = bytes - previous.bytes;
      this.#bytes += more;
      if (segment === this.#currentSegment) this.#currentBytes += more;
      previous.state = state;
      previous.bytes = bytes;
      return replaced;
    }
    // The checkpoint of the older segment sees that this one is not the newest any more.
    if (previous !== undefined) this.#strip(previous);
    this.#bytes += bytes;
    this.#currentBytes += bytes;
    const entry = { key, state, segment, isPending: true, bytes };
    this.#entries.set(key, entry);
    this.#current.push(entry);
    return replaced;
  }

  /** Returns all entries of `segment`, also those that were replaced meanwhile. */
  entriesOf(segment: number): readonly OverlayEntry[] {
    return this.#bySegment.get(segment) ?? [];
  }

  /** Returns the newest writes that are deletes and not in files yet: a look at all there is. */
  deletes(): readonly OverlayEntry[] {
    return [...this.#entries.values()].filter(({ state }) => state === undefined);
  }

  /** Number of entries of `segment`. */
  countOf(segment: number): number {
    return this.#bySegment.get(segment)?.length ?? 0;
  }

  /**
   * Records that the key's file holds what `entry` does: readers find it there from now on, and its
   * memory, but for a part of a slab, is free long before the whole segment is dropped.
   */
  placed(entry: OverlayEntry): void {
    if (!entry.isPending) return;
    const { key, state } = entry;
    this.#strip(entry);
    this.#entries.delete(key);
    if (state instanceof Value) this.#cache.set(key, state);
    else this.#cache.delete(key);
  }

  /** Forgets a segment that was dropped. */
  forget(segment: number): void {
    for (const entry of this.entriesOf(segment)) {
      this.placed(entry);
      this.#bytes -= REST_BYTES;
    }
    this.#bySegment.delete(segment);
    this.#bytes -= this.#slabBytes.get(segment) ?? 0;
    this.#slabBytes.delete(segment);
    if (segment === this.#currentSegment) this.#begin(-1);
  }

  #strip(entry: OverlayEntry): void {
    this.#bytes -= entry.bytes - REST_BYTES;
    entry.isPending = false;
    entry.state = undefined;
  }

  /**
   * Counts the slab of a value, as a whole and until the segment is dropped: what else was in it, replaced or refused,
   * is in memory as long as this is. Returns what of the value's own bytes that covers.
   */
  #share(state: KeyState, segment: number): number {
    if (!(state instanceof Value)) return 0;
    const { slab, size } = state;
    if (slab === undefined) return 0;
    if (slab !== this.#slab) {
      this.#slab = slab;
      this.#bytes += slab.byteLength;
      this.#currentBytes += slab.byteLength;
      this.#slabBytes.set(segment, (this.#slabBytes.get(segment) ?? 0) + slab.byteLength);
    }
    return size;
  }

  #begin(segment: number): void {
    this.#slab = undefined;
    this.#current = [];
    this.#currentSegment = segment;
    this.#currentBytes = 0;
    if (segment >= 0) this.#bySegment.set(segment, this.#current);
  }
}
