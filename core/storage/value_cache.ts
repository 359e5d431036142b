/** The cache: values in memory that are in key files as well. */
import { hash31 } from "../placement.ts";
import { type Value } from "../value.ts";

// About the memory of an entry of a map (bytes).
const PLACE_BYTES = 80;

// About the memory of the smallest value (bytes).
const LEAST_BYTES = 256;

/** About how many bytes of memory `value` takes, with its text, under `key`. */
export function memoryOf(key: string, value: Value): number {
  return PLACE_BYTES + key.length + value.memoryBytes;
}

/**
 * Keeps the values that were used last, up to a number of bytes. Two generations stand in for an exact order of use.
 * A value of the old generation that is used moves to the young one. When the young one has half of the bytes, the old
 * one is dropped and the young one becomes the old one. A hit in the young one changes nothing.
 *
 * Once values had to be dropped, a value that was read is kept only if its key is read twice within some time (as in
 * 2Q, Johnson and Shasha 1994). So a client that reads very many keys once each does not drive out the values that
 * are used all the time.
 */
export class ValueCache {
  #young = new Map<string, Value>();
  #old = new Map<string, Value>();
  #youngBytes = 0;
  /** How many values there were when some were last dropped; 0 if none ever were. */
  #mostValues = 0;
  readonly #generationBytes: number;
  /** Keys whose values were read and not kept; made when it is first needed. */
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

  /** Keeps `value` in place of what is here. */
  set(key: string, value: Value): void {
    if (this.#generationBytes === 0) return;
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

const BITS_PER_KEY = 8;

/**
 * Remembers which keys were seen lately, with one bit a key: two Bloom filters with one hash each. When the younger
 * filter is full, the older one is cleared and becomes the younger one. A key that was seen lately is always known.
 * Of the other keys up to one in four is taken for known too, because it shares its bit with a key that was seen.
 */
export class SeenKeys {
  /** How far to shift a hash to get the number of a bit. */
  readonly #shift: number;
  readonly #mostKeys: number;
  #young: Uint32Array;
  #old: Uint32Array;
  #count = 0;

  /** @param keys How many keys to remember; they take two to four bytes each. */
  constructor(keys: number) {
    const bits = Math.min(Math.max(Math.ceil(Math.log2(keys * BITS_PER_KEY)), 10), 32);
    this.#shift = 32 - bits;
    this.#mostKeys = 2 ** bits / BITS_PER_KEY;
    this.#young = new Uint32Array(2 ** bits / 32);
    this.#old = new Uint32Array(2 ** bits / 32);
  }

  /**
   * Returns whether `key` was among the last keys that were passed in, and counts it as one of them. These are the
   * last `keys` keys, or up to twice as many; not more than the number that it was made for. Allocates nothing.
   */
  see(key: string, keys = this.#mostKeys): boolean {
    const bit = mixed(hash31(key)) >>> this.#shift;
    const word = bit >>> 5;
    const mask = 1 << (bit & 31);
    const young = this.#young[word] ?? 0;
    if ((young & mask) !== 0) return true;
    const isKnown = ((this.#old[word] ?? 0) & mask) !== 0;
    this.#young[word] = young | mask;
    if (++this.#count >= Math.min(keys, this.#mostKeys)) this.#turn();
    return isKnown;
  }

  #turn(): void {
    const oldest = this.#old;
    this.#old = this.#young;
    this.#young = oldest.fill(0);
    this.#count = 0;
  }
}

/**
 * Spreads hashes that lie close together, as those of keys that count up or belong to one shard. This is the last step
 * of MurmurHash3 (Appleby, public domain).
 */
function mixed(hash: number): number {
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return hash ^ (hash >>> 16);
}
