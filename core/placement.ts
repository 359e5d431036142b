/**
 * Placement: which server of a list owns a key. It is a pure function of the key and the length of the list. Every role
 * has the same one, so no server needs to know of another.
 *
 *     a b c d   on 3 servers: 1 2 0 1      on 2 servers: 1 0 1 0      (modulo)
 */
import { createHash } from "node:crypto";

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
 * Jump consistent hash. When a list of N servers grows by one, 1/(N + 1) of the keys move, all to the new server.
 * Source: Lamping and Veach, "A Fast, Minimal Memory, Consistent Hash Algorithm", 2014.
 */
export function jump(key: string, servers: number): number {
  // A rebalance asks twice for each key, for both lists, and the hash costs most.
  if (key !== lastKey) {
    lastHash = hash64(key);
    lastKey = key;
  }
  return jumpHash(lastHash, servers);
}

let lastKey: string | undefined;
let lastHash = 0n;

/** The 64-bit hash of {@link jump}: the first 8 bytes of SHA-256 over the UTF-8, big endian. */
export function hash64(key: string): bigint {
  return createHash("sha256").update(key).digest().readBigUInt64BE(0);
}

/** The function of the paper: maps a 64-bit number to a bucket from 0 to `buckets` - 1. */
export function jumpHash(hash: bigint, buckets: number): number {
  let key = hash;
  let bucket = 0;
  let next = 0;
  while (next < buckets) {
    bucket = next;
    key = BigInt.asUintN(64, key * 2862933555777941757n + 1n);
    next = Math.floor((bucket + 1) * (2 ** 31 / (Number(key >> 33n) + 1)));
  }
  return bucket;
}
