/** All keys of a shard, in order. */
import { compareKeys } from "../key.ts";
import type { ListOptions } from "../store.ts";

const MOST_IN_CHUNK = 1024;
const LOADED_IN_CHUNK = 768;

// Without these characters the language's order of strings, by UTF-16 units, is the order of code points.
const SURROGATE_OR_ABOVE = /[\ud800-\uffff]/;

/**
 * A set of keys that lists them in the order of `compareKeys`. Sorted chunks of a bounded number of keys keep the
 * order. So each new or deleted key costs a short search and a short move, however many keys there are.
 */
export class KeyIndex {
  #keys: Set<string>;
  #chunks: string[][] = [];
  /** Whether the language's own comparison, which is much faster, gives the right order. */
  #isPlain = true;

  /** Takes `keys`, in any order, without duplicates; the array is used up. */
  constructor(keys: string[] = []) {
    this.#keys = new Set(keys);
    this.#isPlain = !keys.some((key) => SURROGATE_OR_ABOVE.test(key));
    if (this.#isPlain) keys.sort();
    else keys.sort(compareKeys);
    for (let i = 0; i < keys.length; i += LOADED_IN_CHUNK) {
      this.#chunks.push(keys.slice(i, i + LOADED_IN_CHUNK));
    }
  }

  /** Number of keys. */
  get size(): number {
    return this.#keys.size;
  }

  /** Whether `key` is in the set. */
  has(key: string): boolean {
    return this.#keys.has(key);
  }

  /** Adds `key`; returns whether it is new. */
  add(key: string): boolean {
    if (this.#keys.has(key)) return false;
    this.#keys.add(key);
    if (this.#isPlain && SURROGATE_OR_ABOVE.test(key)) this.#isPlain = false;
    if (this.#chunks.length === 0) {
      this.#chunks.push([key]);
      return true;
    }
    const at = this.#chunkOf(key);
    const chunk = this.#chunks[at] ?? [];
    chunk.splice(this.#position(chunk, key), 0, key);
    if (chunk.length > MOST_IN_CHUNK) {
      // Keys often come in order: then this leaves full chunks behind, instead of half full ones.
      const rest = chunk.splice(
        at === this.#chunks.length - 1 ? LOADED_IN_CHUNK : chunk.length / 2,
      );
      this.#chunks.splice(at + 1, 0, rest);
    }
    return true;
  }

  /** Deletes `key`; returns whether it was there. */
  delete(key: string): boolean {
    if (!this.#keys.delete(key)) return false;
    const at = this.#chunkOf(key);
    const chunk = this.#chunks[at] ?? [];
    chunk.splice(this.#position(chunk, key), 1);
    if (chunk.length === 0) this.#chunks.splice(at, 1);
    return true;
  }

  /** As `Store.list`. */
  list({ prefix = "", after, limit = Infinity }: ListOptions = {}): string[] {
    const found: string[] = [];
    const skips = after !== undefined && !this.#precedes(after, prefix);
    const from = skips ? after : prefix;
    for (let at = this.#chunkOf(from); at < this.#chunks.length; at++) {
      const chunk = this.#chunks[at] ?? [];
      let i = found.length === 0 ? this.#position(chunk, from) : 0;
      if (skips && chunk[i] === from) i++;
      for (; i < chunk.length; i++) {
        const key = chunk[i] ?? "";
        if (found.length >= limit || !key.startsWith(prefix)) return found;
        found.push(key);
      }
    }
    return found;
  }

  #precedes(a: string, b: string): boolean {
    return this.#isPlain ? a < b : compareKeys(a, b) < 0;
  }

  /** Returns the position of the last chunk whose first key is not behind `key`; 0 if there is none. */
  #chunkOf(key: string): number {
    let low = 0;
    let high = this.#chunks.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >>> 1;
      if (this.#precedes(key, this.#chunks[middle]?.[0] ?? "")) high = middle - 1;
      else low = middle;
    }
    return low;
  }

  /** Returns the position that `key` has in `chunk`, or has to get. */
  #position(chunk: string[], key: string): number {
    let low = 0;
    let high = chunk.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#precedes(chunk[middle] ?? "", key)) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}
