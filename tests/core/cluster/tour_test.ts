import { assertEquals, assertMatch } from "@std/assert";
import { PLACEMENTS } from "../../../core/placement.ts";
import { tourActs } from "../../../core/cluster/tour_acts.ts";
import { Gate } from "../../../core/cluster/tour.ts";
import { Histories } from "../../../core/cluster/tour_histories.ts";

const row = (status: string) => status.repeat(26);

Deno.test("Histories takes rows that are caught in the middle of a change", () => {
  const histories = new Histories(() => ["h5.h"]);
  const halfway = row("h").slice(0, 13) + row("5").slice(13);
  for (const statuses of [row("h"), halfway, row("5"), row("5"), row("."), row("h")]) {
    assertEquals(histories.add(statuses), undefined);
  }
  assertEquals(histories.missing(), undefined);
});

Deno.test("Histories names the letter that goes another way", () => {
  const histories = new Histories((letter) => letter === "c" ? ["h5.h", "h5.5h"] : ["h"]);
  assertEquals(histories.add(row("h")), undefined);
  assertEquals(
    histories.add("hhx" + row("h").slice(3)),
    "letter c went h -> x, allowed is h -> 5 -> . -> h or h -> 5 -> . -> 5 -> h",
  );
});

Deno.test("Histories refuses a first row that does not begin as it should", () => {
  assertMatch(new Histories(() => [".wh"]).add(row("h")) ?? "", /^letter a went h, allowed is \./);
});

Deno.test("Histories says what never came", () => {
  const histories = new Histories(() => [".wh"]);
  assertMatch(histories.missing() ?? "", /^letter a went/);
  for (const status of ".w") assertEquals(histories.add(row(status)), undefined);
  assertEquals(histories.missing(), "letter a went . -> w, expected was . -> w -> h");
  assertEquals(histories.add(row("h")), undefined);
  assertEquals(histories.missing(), undefined);
});

Deno.test("Gate lets pass as many as were admitted, before or after they came", async () => {
  const gate = new Gate();
  let passed = 0;
  gate.admit();
  await gate.pass().then(() => passed++);
  assertEquals(passed, 1);
  const second = gate.pass().then(() => passed++);
  await Promise.resolve();
  assertEquals(passed, 1);
  gate.admit();
  await second;
  assertEquals(passed, 2);
});

for (const [name, placement] of Object.entries(PLACEMENTS)) {
  Deno.test(`tourActs() can be fulfilled with placement ${name}: every step fits its histories`, () => {
    for (const act of tourActs(placement)) {
      const histories = new Histories(act.allowed);
      let before = "";
      for (const { shows } of act.steps) {
        assertEquals(shows.length, 26, act.title);
        // A letter that was never written is seen as w before it hits; no step waits for that.
        const written = [...shows].map((status, i) =>
          before[i] === "." ? status.replace("h", "w") : status
        );
        if (act.title === "the servers come up in order") histories.add(written.join(""));
        assertEquals(histories.add(shows), undefined, act.title);
        before = shows;
      }
      assertEquals(histories.missing(), undefined, act.title);
    }
  });
}

Deno.test("tourActs() shows the thirds and the misses that people know", () => {
  const shown = tourActs(PLACEMENTS.modulo).flatMap(({ steps }) => steps.map((step) => step.shows));
  for (
    const statuses of [
      "..h..h..h..h..h..h..h..h..",
      "h.hh.hh.hh.hh.hh.hh.hh.hh.",
      "5hh5hh5hh5hh5hh5hh5hh5hh5h",
      "hmmmmhhmmmmhhmmmmhhmmmmhhm",
      "h.mm.hh.mm.hh.mm.hh.mm.hh.",
    ]
  ) assertEquals(shown.includes(statuses), true, statuses);
});
