/** What is durable in the journal and not yet in key files. */
import { Value } from "./store.ts";
import { memoryOf } from "./value_cache.ts";

/** A large value in a file of its own, on its way to the key's file. */
export class LargeFile {
  /** Where it is now; changes once, when it is renamed to the key's file. */
  path: string;
  /** Whether the rename has begun: from then on the file is the key's. */
  isPlaced = false;
  readonly size: number;
  readonly contentType: string;
  readonly etag: string;

  constructor(path: string, size: number, contentType: string, etag: string) {
    this.path = path;
    this.size = size;
    this.contentType = contentType;
    this.etag = etag;
  }
}

/** What a key holds; `undefined` where it was deleted. */
export type State = Value | LargeFile | undefined;

/** The newest durable write of a key. */
export interface OverlayEntry {
  readonly key: string;
  state: State;
  /** Number of the journal segment that holds the write. */
  readonly segment: number;
  /** Whether the checkpoint has brought it into the key's file. */
  isFile: boolean;
}

const ENTRY_BYTES = 200;

/** The newest durable write of each key that the journal holds. */
export class Overlay {
  readonly #entries = new Map<string, OverlayEntry>();
  /** By segment, what it holds; entries that a later segment replaced stay until it is dropped. */
  readonly #bySegment = new Map<number, OverlayEntry[]>();
  #bytes = 0;
  #current: OverlayEntry[] = [];
  #currentSegment = -1;

  /** About how many bytes of memory it takes. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Returns the newest write of `key`, if the journal holds one. */
  get(key: string): OverlayEntry | undefined {
    return this.#entries.get(key);
  }

  /** Records a write in `segment`, which must not be less than in the call before. */
  put(key: string, state: State, segment: number): State {
    const previous = this.#entries.get(key);
    const replaced = previous?.state;
    this.#bytes += bytesOf(key, state);
    if (previous !== undefined) this.#bytes -= bytesOf(key, replaced);
    if (previous !== undefined && previous.segment === segment) {
      previous.state = state;
      return replaced;
    }
    // The checkpoint of the older segment sees that this one is not the newest any more.
    if (previous !== undefined) previous.state = undefined;
    const entry = { key, state, segment, isFile: false };
    this.#entries.set(key, entry);
    if (segment !== this.#currentSegment) this.#begin(segment);
    this.#current.push(entry);
    return replaced;
  }

  /** Returns all entries of `segment`, also those that were replaced meanwhile. */
  entriesOf(segment: number): readonly OverlayEntry[] {
    return this.#bySegment.get(segment) ?? [];
  }

  /** Number of entries of `segment`. */
  countOf(segment: number): number {
    return this.#bySegment.get(segment)?.length ?? 0;
  }

  /** Whether `entry` is still the newest write of its key. */
  isNewest(entry: OverlayEntry): boolean {
    return this.#entries.get(entry.key) === entry;
  }

  /** Takes out one key: its file is up to date already. */
  remove(key: string): void {
    const entry = this.#entries.get(key);
    if (entry === undefined) return;
    this.#bytes -= bytesOf(key, entry.state);
    this.#entries.delete(key);
  }

  /** Forgets a segment that was dropped. */
  forget(segment: number): void {
    for (const entry of this.entriesOf(segment)) {
      if (this.isNewest(entry)) this.remove(entry.key);
    }
    this.#bySegment.delete(segment);
    if (segment === this.#currentSegment) this.#currentSegment = -1;
  }

  #begin(segment: number): void {
    this.#current = [];
    this.#currentSegment = segment;
    this.#bySegment.set(segment, this.#current);
  }
}

function bytesOf(key: string, state: State): number {
  return ENTRY_BYTES + (state instanceof Value ? memoryOf(key, state) : key.length);
}
