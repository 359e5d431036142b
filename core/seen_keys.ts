/** Which keys were asked for not long ago, of very many, in little memory. */
import { hash31 } from "./placement.ts";

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
