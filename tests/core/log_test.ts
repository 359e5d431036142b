import { assertEquals } from "@std/assert";
import { formatJson, formatText } from "../../core/log.ts";

Deno.test("log lines hold no control characters, whatever is in keys and messages", () => {
  const time = new Date(0);
  assertEquals(
    formatText(time, "warn", "a\x1b[2J\nb", {
      key: "k\x1b]0;x\x07",
      other: "\x9b2J \n",
      plain: "é",
    }),
    '1970-01-01T00:00:00.000Z warn a%1B[2J; b key="k\\u001b]0;x\\u0007" other="\\u009b2J \\n" plain=é',
  );
  assertEquals(
    formatJson(time, "info", "m", { key: "\x1b\x9b" }),
    '{"time":"1970-01-01T00:00:00.000Z","level":"info","message":"m","key":"\\u001b\\u009b"}',
  );
});
