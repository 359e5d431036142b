/** The header and the rows of `kvs client` as text. A contract: people read them, and scripts compare them. */
import { LETTERS, type Row } from "./probe.ts";

const INDENT = " ".repeat(20);
const LINE = INDENT + "-".repeat(LETTERS.length);

/** The characters that stand for the indices of servers, one each. */
const INDEX_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";

/** The most servers whose index the header can show. */
export const MAX_SHOWN_SERVERS = INDEX_DIGITS.length;

/** The four header lines: alphabet, dashes, the index of each letter's server, dashes. */
export function formatHeader(ownerOf: (letter: string) => number): readonly string[] {
  const owners = LETTERS.map((letter) => INDEX_DIGITS.charAt(ownerOf(letter))).join("");
  return [INDENT + LETTERS.join(""), LINE, INDENT + owners, LINE];
}

/** A row, for example `2026-11-22 20:07:47 hhhhhhhhhhhhhhhhhhhhhhhhhh | hits = 26 (100%)`. */
export function formatRow(row: Row, paint: (statuses: string) => string = (text) => text): string {
  const percent = Math.round(row.hits / LETTERS.length * 100);
  return `${localTime(row.time)} ${paint(row.statuses)} | hits = ${row.hits} (${percent}%)`;
}

/** Local time to the second, as `2026-11-22 20:07:47`. */
function localTime(time: Date): string {
  const pad = (part: number) => String(part).padStart(2, "0");
  const date = [time.getFullYear(), pad(time.getMonth() + 1), pad(time.getDate())].join("-");
  return `${date} ${[time.getHours(), time.getMinutes(), time.getSeconds()].map(pad).join(":")}`;
}
