/** The hash in the ETags of values, and of the content of large values: XXH64. */
import { create64, h64, h64Raw } from "./xxh64.ts";

/** Begins a hash of bytes that come in chunks: `update` with each chunk, then `digest`. */
export function startHash(): { update(bytes: Uint8Array): unknown; digest(): bigint } {
  return create64();
}

/**
 * Hashes a value, as bytes or as text whose UTF-8 is meant, together with its content type: 16 hex digits. The same value
 * has the same hash on every server. The hash tells versions apart; it protects against nobody who seeks two values with
 * the same hash.
 *
 * @param contentType Empty for the default one.
 */
export function hashValue(content: Uint8Array | string, contentType: string): string {
  const seed = contentType === "" ? 0n : h64(contentType);
  const hash = typeof content === "string" ? h64(content, seed) : h64Raw(content, seed);
  return hash.toString(16).padStart(16, "0");
}
