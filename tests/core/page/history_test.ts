import { assert, assertEquals } from "@std/assert";
import { HISTORY_MS, PageHistory } from "../../../core/page/history.ts";

const HITS = "h".repeat(26);

Deno.test("the history keeps ten minutes of rows and events", () => {
  const history = new PageHistory();
  for (let t = 0; t <= 2 * HISTORY_MS; t += 2000) {
    history.addRow({ t, s: HITS, v: "hhh" });
    if (t % 60_000 === 0) history.addEvent({ t, text: `at ${t}`, tone: "note" });
  }
  assertEquals(history.rows.length, HISTORY_MS / 2000);
  assertEquals(history.rows[0]?.t, HISTORY_MS + 2000);
  assertEquals(history.rows.at(-1)?.t, 2 * HISTORY_MS);
  assertEquals(history.events.map(({ id }) => id), [12, 13, 14, 15, 16, 17, 18, 19, 20, 21]);
});

Deno.test("the history of fast rows is thinned if nothing changes, never if something does", () => {
  const history = new PageHistory();
  for (let t = 0; t < 60_000; t += 10) {
    history.addRow({ t, s: HITS, v: t === 30_000 ? "h.h" : "hhh" });
  }
  assert(history.rows.length < 70, String(history.rows.length));
  assertEquals(history.rows.find(({ v }) => v === "h.h")?.t, 30_000);
  assertEquals(history.rows.at(-1)?.t, 59_990);
});

Deno.test("the history is bounded whatever comes", () => {
  const history = new PageHistory();
  for (let t = 0; t < 20_000; t++) {
    history.addRow({ t, s: HITS, v: t % 2 === 0 ? "hhh" : "h.h" });
    history.addEvent({ t, text: "flapping", tone: "bad" });
  }
  assertEquals([history.rows.length, history.events.length], [1500, 200]);
  assertEquals(history.rows.at(-1)?.t, 19_999);
  assertEquals(history.events.at(-1)?.id, 20_000);
});
