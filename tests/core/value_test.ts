import { assertEquals, assertGreater } from "@std/assert";
import fc from "fast-check";
import { Value } from "../../core/value.ts";

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
  fc.assert(fc.property(fc.uint8Array({ maxLength: 600 }), (bytes) => {
    const plain = new Value(bytes.slice());
    const values = [
      new Value(bytes.slice()),
      Value.copyOf(bytes.slice()),
    ];
    for (const value of values) {
      value.compact();
      assertEquals([value.bytes, value.text, value.size], [bytes, plain.text, bytes.length]);
      assertEquals(value.etag, plain.etag);
      const into = new Uint8Array(bytes.length + 1);
      value.copyTo(into);
      assertEquals(into.subarray(0, -1), bytes);
      assertEquals(typeof value.body === "string" ? encoder.encode(value.body) : value.body, bytes);
    }
  }));
});

Deno.test("Value tells text from what is none as a strict decoder does", () => {
  const strict = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
  const textOf = (bytes: Uint8Array): string | null => {
    try {
      return strict.decode(bytes);
    } catch {
      return null;
    }
  };
  // Valid UTF-8 with some bytes replaced: U+FFFD, byte order marks, surrogates, what is too long.
  const odd = fc.constantFrom("\ufffd", "\ufeff", "é", "字", "😀", "a");
  const damage = fc.array(
    fc.tuple(fc.nat(20), fc.constantFrom(0xed, 0xa0, 0x80, 0xc0, 0xf5, 0xef)),
    {
      maxLength: 3,
    },
  );
  fc.assert(fc.property(fc.array(odd, { maxLength: 8 }), damage, (parts, damage) => {
    const bytes = encoder.encode(parts.join(""));
    for (const [at, byte] of damage) if (at < bytes.length) bytes[at] = byte;
    assertEquals(new Value(bytes).text, textOf(bytes));
  }));
});

Deno.test("Value is the same on both sides of the sizes from which it is kept in another form", () => {
  for (const size of [255, 256, 511, 512, 513, 4095, 4096, 4097, 8192, 8193]) {
    for (const filler of [encoder.encode("a"), encoder.encode("é"), new Uint8Array([255])]) {
      const bytes = new Uint8Array(size).fill(97);
      bytes.set(filler, 5);
      const values = [
        new Value(bytes.slice()),
        Value.copyOf(bytes),
      ];
      for (const value of values) {
        value.compact();
        const { memoryBytes } = value;
        const { text, body } = value;
        value.compact();
        assertEquals(value.memoryBytes, memoryBytes);
        assertEquals([value.bytes, value.size], [bytes, size]);
        assertEquals(text, filler[0] === 255 ? null : new TextDecoder().decode(bytes));
        assertEquals(typeof body === "string" ? encoder.encode(body) : body, bytes);
      }
    }
  }
});

Deno.test("Value takes less memory after compact() where it is short, and says so", () => {
  for (
    const content of [encoder.encode("x".repeat(20)), "ж".repeat(50), new Uint8Array(99).fill(255)]
  ) {
    const value = new Value(content);
    const before = value.memoryBytes;
    value.compact();
    assertGreater(before, 3 * value.memoryBytes);
  }
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
