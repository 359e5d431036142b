/**
 * Placement: which server of a list owns a key. It is a pure function of the key and the length of the list. Every role
 * has the same one, so no server needs to know of another.
 *
 *     a b c d   on 3 servers: 1 2 0 1      on 2 servers: 1 0 1 0      (modulo)
 */
import { h64 } from "./xxh64.ts";

/** Returns the index, from 0 to `servers` - 1, of the server that owns `key`. */
export type Placement = (key: string, servers: number) => number;

/** The placements by the name that `--placement` takes. */
export const PLACEMENTS: Readonly<Record<PlacementName, Placement>> = { modulo, jump };

/** A name that `--placement` takes. */
export type PlacementName = "modulo" | "jump";

/**
 * Polynomial hash with base 31 over the code points of `key`, unsigned 32 bit. The hash of a single character is its
 * code point.
 */
export function hash31(key: string): number {
  let hash = 0;
  for (let i = 0; i < key.length; i++) {
    const codePoint = key.codePointAt(i) ?? 0;
    if (codePoint > 0xffff) i++;
    hash = (Math.imul(hash, 31) + codePoint) >>> 0;
  }
  return hash;
}

/** {@link hash31} modulo the number of servers. Adding a server moves almost every key. */
export function modulo(key: string, servers: number): number {
  return hash31(key) % servers;
}

/**
 * Jump consistent hash over XXH64 of the key's UTF-8. When a list of N servers grows by one, 1/(N + 1) of the keys move,
 * all to the new server.
 * Source: Lamping and Veach, "A Fast, Minimal Memory, Consistent Hash Algorithm", 2014.
 */
export function jump(key: string, servers: number): number {
  // While keys move, each key is asked for twice, for both lists, and the hash costs most.
  if (key !== lastKey) {
    lastHash.setBigUint64(0, h64(key));
    lastKey = key;
  }
  return jumpHash(lastHash.getUint32(0), lastHash.getUint32(4), servers);
}

let lastKey: string | undefined;
const lastHash = new DataView(new ArrayBuffer(8));

/**
 * The function of the paper: maps a 64-bit number to a bucket from 0 to `buckets` - 1. The number comes in two halves,
 * unsigned, since arithmetic with a BigInt allocates at each step.
 */
export function jumpHash(high: number, low: number, buckets: number): number {
  let bucket = 0;
  let next = 0;
  while (next < buckets) {
    bucket = next;
    // number = number * 2862933555777941757 + 1, modulo 2 ** 64. Sums of 48 bits are exact.
    const upper = (low >>> 16) * FACTOR_LOW;
    const lower = (low & 0xffff) * FACTOR_LOW + (upper % 0x10000) * 0x10000 + 1;
    const carry = Math.floor(upper / 0x10000) + Math.floor(lower / 2 ** 32);
    high = (Math.imul(high, FACTOR_LOW) + Math.imul(low, FACTOR_HIGH) + carry) >>> 0;
    low = lower >>> 0;
    next = Math.floor((bucket + 1) * (2 ** 31 / ((high >>> 1) + 1)));
  }
  return bucket;
}

/** The halves of 2862933555777941757. */
const FACTOR_HIGH = 0x27bb2ee6;
const FACTOR_LOW = 0x87b0b0fd;
