import { assertEquals } from "@std/assert";
import { backoffMs, parseRetryAfter } from "../../../core/client/retry.ts";

Deno.test("backoffMs() doubles up to two seconds, the upper half of it by chance", () => {
  const attempts = [0, 1, 2, 3, 4, 5, 50];
  assertEquals(attempts.map((n) => backoffMs(n, () => 1)), [100, 200, 400, 800, 1600, 2000, 2000]);
  assertEquals(attempts.map((n) => backoffMs(n, () => 0)), [50, 100, 200, 400, 800, 1000, 1000]);
});

Deno.test("parseRetryAfter() takes seconds and dates, and nothing else", () => {
  const now = Date.parse("2026-11-22T20:00:00Z");
  const cases: [string | null, number | undefined][] = [
    ["1", 1000],
    [" 120 ", 120_000],
    ["0", 0],
    ["Sun, 22 Nov 2026 20:00:07 GMT", 7000],
    ["Sun, 22 Nov 2026 19:00:00 GMT", 0],
    [null, undefined],
    ["", undefined],
    ["soon", undefined],
    ["-1", undefined],
    ["1.5", undefined],
    ["9999999999", undefined],
  ];
  for (const [header, ms] of cases) {
    assertEquals([header, parseRetryAfter(header, now)], [header, ms]);
  }
});
