import { assertEquals } from "@std/assert";
import { modulo } from "../../../core/placement.ts";
import { formatHeader, formatRow } from "../../../core/client/rows.ts";

const indexLine = (servers: number) => formatHeader((letter) => modulo(letter, servers))[2]?.trim();

Deno.test("formatHeader() is alphabet, dashes, owners, dashes, behind 20 spaces", () => {
  assertEquals(formatHeader((letter) => modulo(letter, 3)), [
    "                    abcdefghijklmnopqrstuvwxyz",
    "                    --------------------------",
    "                    12012012012012012012012012",
    "                    --------------------------",
  ]);
});

Deno.test("formatHeader() goes on with letters behind the tenth server", () => {
  // The code point of "a" is 97: 97 % 37 is 23, and 36 is the last before the capitals.
  assertEquals(indexLine(37), "nopqrstuvwxyzA0123456789ab");
});

Deno.test("formatRow() shows local time, letters, hits and a whole percentage", () => {
  const time = new Date(2026, 10, 2, 3, 4, 5);
  const row = (statuses: string, hits: number) => formatRow({ time, statuses, hits });
  assertEquals(
    row("hhhhhhhhhhhhhhhhhhhhhhhhhh", 26),
    "2026-11-02 03:04:05 hhhhhhhhhhhhhhhhhhhhhhhhhh | hits = 26 (100%)",
  );
  assertEquals(row(".".repeat(26), 0).slice(-14), "| hits = 0 (0%)".slice(-14));
  assertEquals(row("h5.".padEnd(26, "h"), 9).slice(-16), "| hits = 9 (35%)");
});
