import { assert, assertEquals, assertThrows } from "@std/assert";
import fc from "fast-check";
import { InvalidKeyError } from "../../core/errors.ts";
import {
  bytesToSegment,
  checkKey,
  compareKeys,
  decodeSegment,
  displayJson,
  displayKey,
  fileNameToKey,
  keyFromSegment,
  keyToFileName,
  toSegment,
} from "../../core/key.ts";

const encoder = new TextEncoder();
const anyText = fc.string({ unit: "binary", minLength: 1, maxLength: 300 });
const oddText = fc.string({
  unit: fc.constantFrom("a", ".", "/", "%", "\n", "\0", "ä", "😀", ",", "'", " ", "2", "F"),
  minLength: 1,
});
const keys = fc.oneof(anyText, oddText).filter((text) => {
  try {
    return checkKey(text) === text;
  } catch {
    return false;
  }
});

Deno.test("keyToFileName() escapes what a file name cannot hold, and nothing else", () => {
  const table: [string, string][] = [
    ["a", "a"],
    ["a/b", "a%2Fb"],
    ["100%", "100%25"],
    [".", "%2E"],
    ["..", "%2E."],
    [".hidden", "%2Ehidden"],
    ["a.b", "a.b"],
    ["a\nb\0", "a%0Ab%00"],
    ["\x7f\x9f", "%7F%C2%9F"],
    ["ä ü, 'x' 😀", "ä ü, 'x' 😀"],
  ];
  for (const [key, name] of table) {
    assertEquals(keyToFileName(key), name);
    assertEquals(fileNameToKey(name), key);
  }
});

Deno.test("fileNameToKey() undoes keyToFileName() for every key, and no two keys share a file", () => {
  fc.assert(fc.property(keys, keys, (a, b) => {
    const name = keyToFileName(a);
    assertEquals(fileNameToKey(name), a);
    assertEquals(name === keyToFileName(b), a === b);
    assert(!name.includes("/") && !name.startsWith(".") && encoder.encode(name).length <= 255);
  }));
});

Deno.test("fileNameToKey() takes an older server's odd names for what they say", () => {
  assertEquals(fileNameToKey("100%"), "100%");
  assertEquals(fileNameToKey("a%41"), "a%41");
  assertEquals(fileNameToKey(".kvs"), undefined);
  assertEquals(fileNameToKey("_shutting_down_"), undefined);
});

Deno.test("a key survives the way through a URL", () => {
  fc.assert(fc.property(keys, (key) => {
    const segment = toSegment(key);
    assert(/^[A-Za-z0-9._~%-]+$/.test(segment));
    assertEquals(keyFromSegment(segment), key);
    assertEquals(bytesToSegment(encoder.encode(key)), segment);
  }));
});

Deno.test("bytesToSegment() escapes bytes that are no text", () => {
  assertEquals(bytesToSegment(new Uint8Array([0, 0x41, 0xff])), "%00A%FF");
});

Deno.test("checkKey() refuses what no key may be, with both numbers where it is too long", () => {
  for (const key of ["", "_shutting_down_", "\ud800", "a".repeat(256), "/".repeat(86)]) {
    assertThrows(() => checkKey(key), InvalidKeyError);
  }
  assertThrows(() => checkKey("ä".repeat(128)), InvalidKeyError, "256 bytes, at most 255");
  for (
    const key of ["a".repeat(255), "ä".repeat(127), "/".repeat(85), "_shutting_down", "\ufeff"]
  ) {
    assertEquals(checkKey(key), key);
  }
});

Deno.test("decodeSegment() refuses a bad escape and bytes that are not UTF-8", () => {
  for (const segment of ["%", "%4", "%zz", "%ff", "%c3%28", "%ed%a0%80"]) {
    assertThrows(() => decodeSegment(segment), InvalidKeyError);
  }
  assertEquals(decodeSegment("a%2Fb+c"), "a/b+c");
});

Deno.test("compareKeys() is the order of the UTF-8 bytes", () => {
  const bytesOrder = (a: string, b: string) => {
    const [x, y] = [encoder.encode(a), encoder.encode(b)];
    for (let i = 0; i < Math.min(x.length, y.length); i++) {
      const difference = (x[i] ?? 0) - (y[i] ?? 0);
      if (difference !== 0) return difference;
    }
    return x.length - y.length;
  };
  const text = fc.oneof(
    fc.string({ unit: "binary" }),
    fc.string({ unit: fc.constantFrom("a", "\ue000", "\uffff", "😀", "\ud7ff", "𐀀") }),
  );
  fc.assert(fc.property(text, text, (a, b) => {
    assertEquals(Math.sign(compareKeys(a, b)), Math.sign(bytesOrder(a, b)));
  }));
});

Deno.test("displayKey() and displayJson() tell a terminal nothing and keep to one line", () => {
  assertEquals(displayKey("a b=%é😀"), "a b=%é😀");
  assertEquals(displayKey("a\nb\r\0\x85\u2028"), "a%0Ab%0D%00%C2%85%E2%80%A8");
  assertEquals(displayKey("a\u202eb\u2066c"), "a%E2%80%AEb%E2%81%A6c");
  assertEquals(displayKey("\x1b[2J\x9b2J\x7f"), "%1B[2J%C2%9B2J%7F");
  const odd = { key: "a\n\x1b[2J\x9b2J\x7f\u2028é😀" };
  const shown = displayJson(odd);
  assertEquals(shown, '{"key":"a\\n\\u001b[2J\\u009b2J\\u007f\\u2028é😀"}');
  assertEquals(JSON.parse(shown), odd);
});
