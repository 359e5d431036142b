/**
 * The overlay holds, by key, the newest write that is durable in the journal and not yet in the key's file.
 * Readers look here first.
 */
import { Value } from "../value.ts";
import { memoryOf, type ValueCache } from "./value_cache.ts";

/** The facts of a large value. */
export interface LargeFacts {
  readonly size: number;
  readonly contentType: string;
  readonly etag: string;
  /** XXH64 of the content. */
  readonly hash: bigint;
}

/** A large value in a file of its own, on its way to the key's file. */
export class LargeValueFile {
  /** The path of the file now; changes once, when the file is renamed to the key's file. */
  path: string;
  /** Whether the rename has begun and not failed: then the file is the key's, and nobody else removes it. */
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

/** The state of a key; `undefined` if the key was deleted. */
export type KeyState = Value | LargeValueFile | undefined;

/** The newest durable write of a key. */
export interface OverlayEntry {
  readonly key: string;
  state: KeyState;
  /** Number of the journal segment that holds the write. */
  readonly segment: number;
  /** Whether the write is still the newest of its key, and not in the key's file. */
  isPending: boolean;
  /** About how many bytes of memory the entry takes with its value, as counted when it was put. */
  bytes: number;
}

// About the memory of an entry without key and value (bytes), with its places in the map and in the list.
const ENTRY_BYTES = 200;
// The part of that memory which stays until the segment is dropped, after the entry became a file or was replaced.
const REST_BYTES = 80;

/** About how many bytes of memory the overlay takes for this write. */
export function entryBytes(key: string, state: KeyState): number {
  return ENTRY_BYTES + (state instanceof Value ? memoryOf(key, state) : key.length);
}

/**
 * One entry a key, and for each segment a list of the entries that it brought. An entry ends in one of two ways: the
 * key's file is made (`placed`), and the value moves to the cache; or a newer write of the key replaces the entry. Then
 * the entry stays in the list of its segment, without its value, until the segment is dropped (`forget`). The entry of
 * a key is always newer than the value of that key in the cache or in its file.
 */
export class Overlay {
  readonly #cache: ValueCache;
  readonly #entries = new Map<string, OverlayEntry>();
  /** By segment, the entries that it brought. */
  readonly #bySegment = new Map<number, OverlayEntry[]>();
  #bytes = 0;
  #puts = 0;
  /** The segment of the newest writes, -1 if it was dropped: its number, its entries and their bytes. */
  #currentSegment = -1;
  #current: OverlayEntry[] = [];
  #currentBytes = 0;

  constructor(cache: ValueCache) {
    this.#cache = cache;
  }

  /** About how many bytes of memory the overlay takes. */
  get bytes(): number {
    return this.#bytes;
  }

  /** How many writes were put since the start. */
  get puts(): number {
    return this.#puts;
  }

  /** About how many bytes of memory the entries of `segment` took when put; 0 unless it has the newest writes. */
  segmentBytes(segment: number): number {
    return segment === this.#currentSegment ? this.#currentBytes : 0;
  }

  /** Returns the newest write of `key`, if the journal holds one. */
  get(key: string): OverlayEntry | undefined {
    return this.#entries.get(key);
  }

  /**
   * Records a durable write and returns the state that it replaces, if there is one here. `segment` must not be less
   * than in the calls before, unless the newest write of `key` is in that segment already.
   */
  put(key: string, state: KeyState, segment: number): KeyState {
    this.#puts++;
    if (segment > this.#currentSegment) this.#begin(segment);
    const previous = this.#entries.get(key);
    const replaced = previous?.state;
    const bytes = entryBytes(key, state);
    if (previous !== undefined && previous.segment === segment) {
      const more = bytes - previous.bytes;
      this.#bytes += more;
      if (segment === this.#currentSegment) this.#currentBytes += more;
      previous.state = state;
      previous.bytes = bytes;
      return replaced;
    }
    // The checkpoint of the older segment passes this entry over from now on.
    if (previous !== undefined) this.#strip(previous);
    this.#bytes += bytes;
    this.#currentBytes += bytes;
    const entry = { key, state, segment, isPending: true, bytes };
    this.#entries.set(key, entry);
    this.#current.push(entry);
    return replaced;
  }

  /** Returns all entries of `segment`, also entries that were replaced meanwhile. */
  entriesOf(segment: number): readonly OverlayEntry[] {
    return this.#bySegment.get(segment) ?? [];
  }

  /** Returns the entries that are deletes. Looks at all entries. */
  deletes(): readonly OverlayEntry[] {
    return [...this.#entries.values()].filter(({ state }) => state === undefined);
  }

  /** Number of entries of `segment`. */
  countOf(segment: number): number {
    return this.#bySegment.get(segment)?.length ?? 0;
  }

  /**
   * Records that the key's file holds the state of `entry`. From now on readers look into the cache and the file.
   * So the memory of the entry is free before the whole segment is dropped.
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
    if (segment === this.#currentSegment) this.#begin(-1);
  }

  #strip(entry: OverlayEntry): void {
    this.#bytes -= entry.bytes - REST_BYTES;
    entry.isPending = false;
    entry.state = undefined;
  }

  #begin(segment: number): void {
    this.#current = [];
    this.#currentSegment = segment;
    this.#currentBytes = 0;
    if (segment >= 0) this.#bySegment.set(segment, this.#current);
  }
}
