/** Values in memory that are on the disk as well. */
import { hash31 } from "../placement.ts";
import { type Value } from "../value.ts";

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

const BITS_PER_KEY = 8;

/**
 * Remembers keys for about as many others as it is made for. Two Bloom filters with one hash each: the older
 * one is forgotten when the younger one is full. What was seen it knows; of other keys, whose hashes
 * differ, it takes one in six for one that it has seen, one in four at worst.
 */
export class SeenKeys {
  /** How far a hash is shifted to be the number of a bit. */
  readonly #shift: number;
  readonly #mostKeys: number;
  #young: Uint32Array;
  #old: Uint32Array;
  #count = 0;

  /** Takes two to four bytes a key. */
  constructor(keys: number) {
    const bits = Math.min(Math.max(Math.ceil(Math.log2(keys * BITS_PER_KEY)), 10), 32);
    this.#shift = 32 - bits;
    this.#mostKeys = 2 ** bits / BITS_PER_KEY;
    this.#young = new Uint32Array(2 ** bits / 32);
    this.#old = new Uint32Array(2 ** bits / 32);
  }

  /**
   * Tells whether `key` was among those that were passed in last, `keys` or up to twice as many, and counts it
   * as one of them. Fewer than the number it was made for may be asked for. No allocation.
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
 * Spreads what is alike: the plain hashes of keys that count up, or are all of one shard, lie close together. The
 * last step of MurmurHash3 (Appleby, public domain).
 */
function mixed(hash: number): number {
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return hash ^ (hash >>> 16);
}
