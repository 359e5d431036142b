import { assertEquals, assertThrows } from "@std/assert";
import { OutputError } from "../../core/errors.ts";
import { displayValue, Printer, pythonRepr } from "../../cmd/rebalance_text.ts";

Deno.test("pythonRepr() writes strings as Python 3 does", () => {
  const table: [string, string][] = [
    ["", "''"],
    ["a", "'a'"],
    ["it's", '"it\'s"'],
    ['say "x"', "'say \"x\"'"],
    ["both ' and \"", "'both \\' and \"'"],
    ["back\\slash", "'back\\\\slash'"],
    ["a\n\r\tb", "'a\\n\\r\\tb'"],
    ["\0\x1b\x7f", "'\\x00\\x1b\\x7f'"],
    ["\x85\xa0\xad", "'\\x85\\xa0\\xad'"],
    ["é 日本 😀", "'é 日本 😀'"],
    ["\u2028\u3000\ufeff\ue000", "'\\u2028\\u3000\\ufeff\\ue000'"],
    ["\u{e0001}\u{10ffff}", "'\\U000e0001\\U0010ffff'"],
    [" ,%/", "' ,%/'"],
  ];
  for (const [text, repr] of table) assertEquals(pythonRepr(text), repr);
});

Deno.test("displayValue() keeps everything on one line", () => {
  assertEquals(displayValue(new TextEncoder().encode("\ufeffé\t")), "\ufeffé%09");
  assertEquals(displayValue(new Uint8Array([0x61, 0xff, 0x0a, 0xc3, 0x28])), "a%FF%0A%C3(");
  assertEquals(displayValue(new Uint8Array()), "");
});

Deno.test("Printer writes everything, and tells once that its reader has gone", () => {
  let written = "";
  const printer = new Printer({
    writeSync(bytes) {
      // As a pipe does: not all at once.
      const part = bytes.subarray(0, 1000);
      written += new TextDecoder().decode(part);
      return part.length;
    },
  });
  const line = "0123456789".repeat(10) + "\n";
  for (let i = 0; i < 500; i++) printer.print(line);
  printer.flush();
  assertEquals(written, line.repeat(500));

  let calls = 0;
  const broken = new Printer({
    writeSync() {
      calls++;
      throw new Deno.errors.BrokenPipe();
    },
  });
  broken.print("x");
  assertThrows(() => broken.flush(), OutputError, "Cannot write the output: its reader has gone");
  for (let i = 0; i < 3; i++) {
    broken.print("x");
    broken.flush();
  }
  assertEquals(calls, 1);
});
