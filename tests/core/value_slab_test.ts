import { assert, assertEquals } from "@std/assert";
import { SLAB_BYTES, ValueSlabs } from "../../core/value_slab.ts";

/** Copies of arrays of these sizes, the first full of 0, the next of 1, ... */
function copies(slabs: ValueSlabs, sizes: readonly number[]): Uint8Array<ArrayBuffer>[] {
  return sizes.map((size, i) => {
    const copy = slabs.copy(new Uint8Array(size).fill(i));
    assert(copy !== undefined);
    return copy;
  });
}

Deno.test("ValueSlabs keeps each part as it was, whatever is copied next", () => {
  const sizes = Array.from({ length: 250 }, (_, i) => 256 + i * 6151 % (8192 - 255));
  const parts = copies(new ValueSlabs(), sizes);
  assert(new Set(parts.map(({ buffer }) => buffer)).size > 10);
  for (const [i, part] of parts.entries()) {
    assertEquals(part.length, sizes[i]);
    assert(part.every((byte) => byte === i));
  }
});

Deno.test("ValueSlabs fills an array to its last byte before the next one", () => {
  const parts = copies(new ValueSlabs(), new Array<number>(40).fill(4096));
  const each = SLAB_BYTES / 4096;
  for (const [i, { buffer, byteOffset }] of parts.entries()) {
    assertEquals(buffer === parts[0]?.buffer, i < each);
    assertEquals(byteOffset, i % each * 4096);
    assertEquals(buffer.byteLength, SLAB_BYTES);
  }
});

Deno.test("ValueSlabs leaves alone what is better off by itself", () => {
  const slabs = new ValueSlabs();
  const isTaken = (size: number) => slabs.copy(new Uint8Array(size)) !== undefined;
  assertEquals([0, 255, 256, 8192, 8193].map(isTaken), [false, false, true, true, false]);
});
