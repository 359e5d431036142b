import { assertEquals, assertThrows } from "@std/assert";
import fc from "fast-check";
import { ChunkedDecoder } from "../../../core/http/chunked.ts";
import { MalformedBodyError } from "../../../core/errors.ts";
import { fromLatin1, latin1 } from "./testing.ts";

/** Decodes text that comes in pieces; what is behind the end is `rest`. */
function decode(pieces: readonly string[], maxExtraBytes = 1000) {
  const decoder = new ChunkedDecoder(maxExtraBytes);
  let data = "";
  let rest = "";
  for (const piece of pieces) {
    const bytes = latin1(piece);
    let at = 0;
    while (at < bytes.length && !decoder.done) {
      at = decoder.next(bytes, at, bytes.length);
      data += fromLatin1(bytes.subarray(decoder.dataStart, decoder.dataEnd));
    }
    rest += fromLatin1(bytes.subarray(at));
  }
  return { data, rest, done: decoder.done };
}

const GOOD: Record<string, [string, string]> = {
  "nothing": ["0\r\n\r\n", ""],
  "many zeros": ["0000000000000\r\n\r\n", ""],
  "two chunks": ["3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n", "abcde"],
  "hexadecimal in any case": [
    "A\r\n0123456789\r\nb\r\n0123456789a\r\n0\r\n\r\n",
    "01234567890123456789a",
  ],
  "line ends as data": ["4\r\n\r\n\r\n\r\n0\r\n\r\n", "\r\n\r\n"],
  "extensions": ['1;a\r\nx\r\n1 ; a="b c" ;d=\xff\r\ny\r\n0;e\r\n\r\n', "xy"],
  "trailers": ["1\r\nx\r\n0\r\nA: b\r\nC:\r\n\r\n", "x"],
};

for (const [name, [body, data]] of Object.entries(GOOD)) {
  Deno.test(`ChunkedDecoder takes: ${name}`, () => {
    assertEquals(decode([body + "GET"]), { data, rest: "GET", done: true });
    assertEquals(decode([...body, "G"]), { data, rest: "G", done: true });
    for (let size = 0; size < body.length; size++) {
      assertEquals(decode([body.slice(0, size)]).done, false);
      assertEquals(decode([body.slice(0, size), body.slice(size)]).data, data);
    }
  });
}

const BAD: Record<string, string> = {
  "no size": "\r\n",
  "no hexadecimal": "g\r\n",
  "minus": "-1\r\n",
  "plus": "+1\r\n",
  "0x": "0x1\r\nx\r\n",
  "blank before size": " 1\r\nx\r\n",
  "too many digits": "00000000000001\r\nx\r\n",
  "bare LF behind size": "1\nx\r\n",
  "bare CR behind size": "1\rx\r\n",
  "data too long": "1\r\nxy\r\n",
  "data too short": "2\r\nx\r\n0\r\n",
  "bare LF behind data": "1\r\nx\n0\r\n",
  "bare CR behind data": "1\r\nx\r0\r\n",
  "control character in extension": "1;a\0\r\nx\r\n",
  "bare LF in extension": "1;a\nx\r\n0\r\n\r\n",
  "extension without semicolon": "1 a\r\nx\r\n",
  "bare LF at the end": "0\r\n\n",
  "bare CR at the end": "0\r\n\rx",
  "trailer without name": "0\r\n: b\r\n\r\n",
  "trailer without colon": "0\r\nab\r\n\r\n",
  "trailer folded": "0\r\na: b\r\n c\r\n\r\n",
  "blank before colon in trailer": "0\r\na : b\r\n\r\n",
  "control character in trailer": "0\r\na: \x01\r\n\r\n",
  "extensions without end": "1;" + "a".repeat(1001),
  "trailers without end": "0\r\n" + "a: b\r\n".repeat(300),
  "an extension on every byte": "1;aaaaaaaaa\r\nx\r\n".repeat(101),
};

for (const [name, body] of Object.entries(BAD)) {
  Deno.test(`ChunkedDecoder refuses: ${name}`, () => {
    assertThrows(() => decode([body]), MalformedBodyError);
    assertThrows(() => decode([...body]), MalformedBodyError);
  });
}

Deno.test("ChunkedDecoder gives back any data, however it is chunked and cut", () => {
  const chunk = fc.string({ unit: fc.constantFrom("\r", "\n", "0", "a", "\xff"), minLength: 1 });
  fc.assert(
    fc.property(fc.array(chunk), fc.array(fc.integer({ min: 1, max: 40 })), (chunks, cuts) => {
      const body = chunks.map((it) => `${it.length.toString(16)}\r\n${it}\r\n`).join("") +
        "0\r\n\r\n";
      const pieces = [];
      let at = 0;
      for (const cut of cuts) pieces.push(body.slice(at, at += cut));
      pieces.push(body.slice(at) + "rest");
      const { data, done } = decode(pieces);
      assertEquals(data, chunks.join(""));
      assertEquals(done, true);
    }),
    { numRuns: 1000 },
  );
});
