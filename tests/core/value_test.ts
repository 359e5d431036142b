import { assertEquals, assertGreater } from "@std/assert";
import fc from "fast-check";
import { Value } from "../../core/store.ts";

const encoder = new TextEncoder();

Deno.test("Value holds the same after compact(), from bytes and from text", () => {
  const text = fc.oneof(
    fc.string({ unit: "grapheme", maxLength: 600 }),
    fc.string({ unit: "binary-ascii", maxLength: 600 }),
  );
  fc.assert(fc.property(text, (text) => {
    const bytes = encoder.encode(text);
    const plain = new Value(bytes, "text/plain");
    const values = [
      new Value(bytes, "text/plain"),
      new Value(text, "text/plain"),
      Value.copyOf(bytes, "text/plain"),
    ];
    for (const value of values) {
      value.compact();
      assertEquals(value.bytes, bytes);
      assertEquals(value.size, bytes.length);
      assertEquals(value.text, text);
      assertEquals(value.etag, plain.etag);
      const { body } = value;
      assertEquals(typeof body === "string" ? encoder.encode(body) : body, bytes);
    }
  }));
});

Deno.test("Value holds the same after compact() where the bytes are no text", () => {
  const bytes = new Uint8Array([0xff, 0, 0xc3]);
  const value = new Value(bytes);
  value.compact();
  assertEquals([value.bytes, value.text, value.size], [bytes, null, 3]);
});

Deno.test("Value takes less memory after compact() where it is short ASCII, and says so", () => {
  const value = new Value(encoder.encode("x".repeat(20)));
  const before = value.memoryBytes;
  value.compact();
  assertGreater(before, 3 * value.memoryBytes);
});

Deno.test("Value.copyOf() holds what the bytes were when they are changed afterwards", () => {
  const long = encoder.encode("x".repeat(5000));
  for (
    const content of [encoder.encode("x"), encoder.encode("é"), new Uint8Array([255, 1]), long]
  ) {
    const before = content.slice();
    const value = Value.copyOf(content);
    content.fill(0);
    assertEquals(value.bytes, before);
  }
});
