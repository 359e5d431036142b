/**
 * XXH64, by a library. It is imported by its full name, since the client library has to run in projects whose import map
 * does not know it.
 *
 * @see https://github.com/Cyan4973/xxHash/blob/dev/doc/xxhash_spec.md
 */
import xxhash from "npm:xxhash-wasm@1.1.0";

/**
 * `h64` hashes the UTF-8 of a text, `h64Raw` bytes, `create64` begins a hash of bytes that come in chunks. The seed is 0n
 * unless one is given.
 */
export const { h64, h64Raw, create64 } = await xxhash();
