import { assert, assertEquals, assertGreater } from "@std/assert";
import fc from "fast-check";
import { SLAB_BYTES, Value, ValueSlabs } from "../../core/value.ts";

const encoder = new TextEncoder();

/** A value that has left its slab, if it was in one. */
function left(value: Value): Value {
  value.leaveSlab();
  return value;
}

/** Bytes of the memory that its bytes are in. */
const extent = (value: Value) => value.bytes.buffer.byteLength;

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
      Value.inSlab(bytes, "text/plain"),
      left(Value.inSlab(bytes, "text/plain")),
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
      Value.inSlab(bytes),
      left(Value.inSlab(bytes)),
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
        Value.inSlab(bytes),
        left(Value.inSlab(bytes)),
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

Deno.test("Value.inSlab() shares memory with others until leaveSlab(), and is accounted as what it is", () => {
  for (const filler of [97, 255]) {
    for (const size of [256, 512, 4096, 8192]) {
      const bytes = new Uint8Array(size).fill(filler);
      const value = Value.inSlab(bytes);
      assertGreater(extent(value), 8192);
      const before = value.memoryBytes;
      assertEquals(before < 300 + size, true);
      assertEquals(value.text === null, filler === 255);
      assertEquals(value.memoryBytes, before);
      value.leaveSlab();
      assertEquals(extent(value), size);
      assertEquals(value.bytes, bytes);
      const compact = new Value(bytes.slice());
      compact.compact();
      assertEquals(value.memoryBytes, compact.memoryBytes);
    }
  }
});

Deno.test("Value.copyOf() and inSlab() hold what the bytes were when they are changed afterwards", () => {
  const long = encoder.encode("x".repeat(5000));
  for (
    const content of [encoder.encode("x"), encoder.encode("é"), new Uint8Array([255, 1]), long]
  ) {
    const before = content.slice();
    const values = [Value.copyOf(content), Value.inSlab(content)];
    content.fill(0);
    for (const value of values) assertEquals(value.bytes, before);
  }
});

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
