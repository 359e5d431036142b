/** Values in memory that are on the disk as well. */
import { SeenKeys } from "./seen_keys.ts";
import type { Value } from "./store.ts";

// What a place in a map takes, about.
const PLACE_BYTES = 80;

// What a small value takes at least.
const LEAST_BYTES = 256;

/** About how many bytes of memory `value` takes, with its text, under `key`. */
export function memoryOf(key: string, value: Value): number {
  return PLACE_BYTES + key.length + value.memoryBytes;
}

/**
 * The values used last, up to a number of bytes. Instead of an exact order of use there are two
 * generations: what is used in the old one moves to the young one, and when that has half of the
 * room the old one is dropped and the young one is the old. A hit in the young one changes nothing.
 *
 * Once values had to be dropped, one that was read has to be asked for twice, not too far apart, to be kept (as in 2Q,
 * Johnson and Shasha 1994): who reads very many keys once each must not drive out what is used all the time.
 */
export class ValueCache {
  #young = new Map<string, Value>();
  #old = new Map<string, Value>();
  #youngBytes = 0;
  /** How many values there were when some were last dropped for want of room; 0 before. */
  #mostValues = 0;
  readonly #generationBytes: number;
  /** Keys whose values were read and not kept. Made when it is first needed. */
  #seen: SeenKeys | undefined;

  /** Keeps values of about `maxBytes` bytes of memory; 0 keeps none. */
  constructor(maxBytes: number) {
    this.#generationBytes = maxBytes / 2;
  }

  /** Returns the value of `key` if it is here. */
  get(key: string): Value | undefined {
    const value = this.#young.get(key);
    if (value !== undefined) return value;
    const old = this.#old.get(key);
    if (old !== undefined) {
      this.#old.delete(key);
      this.#add(key, old);
    }
    return old;
  }

  /** Whether the value of `key`, which is not here and was read from its file, should be kept. */
  admits(key: string): boolean {
    if (this.#mostValues === 0) return true;
    this.#seen ??= new SeenKeys(2 * this.#generationBytes / LEAST_BYTES);
    return this.#seen.see(key, Math.max(this.#mostValues, this.#young.size + this.#old.size));
  }

  /** Keeps `value` in place of what is here; from now on it shares its memory with no other. */
  set(key: string, value: Value): void {
    if (this.#generationBytes === 0) return;
    value.leaveSlab();
    const previous = this.#young.get(key);
    if (previous !== undefined) this.#youngBytes -= memoryOf(key, previous);
    else this.#old.delete(key);
    this.#add(key, value);
  }

  /** Forgets the value of `key`. */
  delete(key: string): void {
    const value = this.#young.get(key);
    if (value === undefined) {
      this.#old.delete(key);
      return;
    }
    this.#youngBytes -= memoryOf(key, value);
    this.#young.delete(key);
  }

  #add(key: string, value: Value): void {
    const bytes = memoryOf(key, value);
    if (bytes > this.#generationBytes) {
      this.#young.delete(key);
      return;
    }
    if (this.#youngBytes + bytes > this.#generationBytes) {
      this.#young.delete(key);
      if (this.#old.size > 0) this.#mostValues = this.#old.size + this.#young.size;
      this.#old = this.#young;
      this.#young = new Map();
      this.#youngBytes = 0;
    }
    this.#young.set(key, value);
    this.#youngBytes += bytes;
  }
}
