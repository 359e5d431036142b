import { assert, assertEquals, assertNotStrictEquals } from "@std/assert";
import fc from "fast-check";
import { copyToSlab, fitsSlab } from "../../core/value_slab.ts";

Deno.test("copyToSlab() keeps each of its parts as it was, whatever is copied next", () => {
  const size = fc.integer({ min: 1, max: 8192 }).filter(fitsSlab);
  fc.assert(fc.property(fc.array(size, { minLength: 1, maxLength: 60 }), (sizes) => {
    const source = new Uint8Array(8192);
    const parts = sizes.map((size, i) => {
      source.fill(i);
      return copyToSlab(source.subarray(0, size));
    });
    for (const [i, part] of parts.entries()) {
      assertEquals(part.length, sizes[i]);
      assert(part.every((byte) => byte === i));
    }
  }));
});

Deno.test("copyToSlab() copies to one array until that is full", () => {
  const bytes = new Uint8Array(4096);
  const arrays = Array.from({ length: 40 }, () => copyToSlab(bytes).buffer);
  assertEquals(new Set(arrays).size, 1 + Math.ceil(40 / 16));
  assertNotStrictEquals(arrays[0], bytes.buffer);
});
