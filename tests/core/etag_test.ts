/** The ETag of a value tells its bytes and its type from all others, and is the same everywhere. */
import { assertEquals, assertNotEquals } from "@std/assert";
import fc from "fast-check";
import { hashValue } from "../../core/etag.ts";
import { Value } from "../../core/value.ts";

const encoder = new TextEncoder();

Deno.test("hashValue() is XXH64 of the bytes", () => {
  // Test vectors of the reference implementation, seed 0.
  assertEquals(hashValue("", ""), "ef46db3751d8e999");
  assertEquals(hashValue("a", ""), "d24ec4f1a98c6e5b");
  assertEquals(hashValue("abc", ""), "44bc2cf5ad770999");
});

Deno.test("hashValue() always has 16 digits", () => {
  for (let i = 0; i < 2000; i++) assertEquals(hashValue(String(i), "").length, 16);
});

Deno.test("a value as text and as bytes has one hash", () => {
  fc.assert(fc.property(fc.string({ unit: "binary" }), fc.string(), (text, type) => {
    assertEquals(hashValue(text, type), hashValue(encoder.encode(text), type));
  }));
});

Deno.test("a value with another byte, length or content type has another ETag", () => {
  const etag = (bytes: Uint8Array, type?: string) => Value.copyOf(new Uint8Array(bytes), type).etag;
  const byteThere = fc.uint8Array({ minLength: 1, maxLength: 6000 });
  fc.assert(
    fc.property(byteThere, fc.nat(), fc.integer({ min: 1, max: 255 }), (bytes, at, bits) => {
      const other = bytes.slice();
      const index = at % bytes.length;
      other[index] = (bytes[index] ?? 0) ^ bits;
      assertNotEquals(etag(other), etag(bytes));
      assertNotEquals(etag(bytes.subarray(1)), etag(bytes));
      assertNotEquals(etag(bytes, "text/plain"), etag(bytes));
      assertNotEquals(etag(bytes, "text/plain"), etag(bytes, "text/html"));
      assertEquals(etag(bytes, "application/octet-stream"), etag(bytes));
    }),
  );
});
