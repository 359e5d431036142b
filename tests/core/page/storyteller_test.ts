import { assertEquals } from "@std/assert";
import { type Observation, Storyteller } from "../../../core/page/storyteller.ts";
import { modulo } from "../../../core/placement.ts";
import { LETTERS } from "../../../core/client/probe.ts";

const NAMES = ["server-0", "server-1", "server-2"];

/** The rows of a client with the first `count` servers, each given by one status a server. */
function row(statuses: string, count = statuses.length): Observation[] {
  return NAMES.slice(0, count).map((name, index) => {
    const letters = LETTERS.filter((letter) => modulo(letter, count) === index).join("");
    return { name, letters, statuses: statuses.charAt(index).repeat(letters.length), polled: "?" };
  });
}

/** What is told of each of `rows`, as one text a row. */
function tell(rows: readonly (string | Observation[])[], story = new Storyteller()): string[] {
  return rows.map((seen) =>
    story.tell(typeof seen === "string" ? row(seen) : seen).map(({ text }) => text).join("; ")
  );
}

Deno.test("servers that come up in order are told of one by one", () => {
  assertEquals(tell(["...", "...", "w..", "hw.", "hh5", "hhw", "hhh"]), [
    "No server reached yet",
    "",
    "server-0 is up, empty: 8 letters written",
    "server-1 is up, empty: 9 letters written",
    "server-2 is starting, or shutting down",
    "server-2 is up, empty: 9 letters written",
    "",
  ]);
});

Deno.test("a client that starts later says what it finds", () => {
  assertEquals(tell(["hhh", "hhh"]), [
    "server-0 is up, 8 letters found; server-1 is up, 9 letters found; server-2 is up, 9 letters found",
    "",
  ]);
  assertEquals(tell(["h.h"])[0]?.split("; ")[1], "server-1 cannot be reached");
});

Deno.test("a rolling restart on disks loses nothing, server by server", () => {
  const rows = ["hhh", "hh5", "hh.", "hhh", "h5h", "h.h", "h5h", "hhh", "5hh", "hhh"];
  assertEquals(tell(rows).slice(1), [
    "server-2 shutting down",
    "server-2 has gone",
    "server-2 back, nothing lost",
    "server-1 shutting down",
    "server-1 has gone",
    "server-1 is starting, or shutting down",
    "server-1 back, nothing lost",
    "server-0 shutting down",
    "server-0 back, nothing lost",
  ]);
});

Deno.test("a memory volume comes back empty and is written again, which is told once", () => {
  assertEquals(tell(["hhh", "h5h", "h.h", "hwh", "hhh"]).slice(1), [
    "server-1 shutting down",
    "server-1 has gone",
    "server-1 back, empty: 9 letters written again",
    "",
  ]);
});

Deno.test("a readonly client says what is missing", () => {
  assertEquals(tell(["hhh", "h.h", "hmh", "hhh"]).slice(1), [
    "server-1 cannot be reached",
    "server-1 back, empty: 9 letters missing",
    "server-1 now has 9 letters",
  ]);
});

Deno.test("a node that is lost without a word cannot be reached", () => {
  assertEquals(tell(["hhh", "h.h", "h.h", "h.h"]).slice(1), ["server-1 cannot be reached", "", ""]);
});

Deno.test("a loss between two rows is noticed although the server never was away", () => {
  assertEquals(tell(["hhh", "hwh", "hhh"]).slice(1), [
    "server-1 had lost 9 of 9 letters: written again",
    "",
  ]);
  assertEquals(tell(["hhh", "hmh", "hhh"]).slice(1), [
    "server-1 lost 9 letters",
    "server-1 now has 9 letters",
  ]);
});

Deno.test("a row that falls into the moment of coming back does not hide a loss", () => {
  const [, one] = row("hhh");
  if (one === undefined) throw new Error("No such server");
  const half = (statuses: string) => row("hhh").with(1, { ...one, statuses });
  // Four letters were written while five still got no answer, and hit in the next row.
  assertEquals(tell(["hhh", "h.h", half("wwww....."), half("hhhhwwwww"), "hhh"]).slice(1), [
    "server-1 cannot be reached",
    "",
    "server-1 back, empty: 9 letters written again",
    "",
  ]);
  // A part that is lost is told as a part.
  assertEquals(
    tell(["hhh", "h.h", half("hhhhhhhww")]).at(-1),
    "server-1 back: 2 of 9 letters missing and written again",
  );
  assertEquals(
    tell(["hhh", "h.h", half("hhhhhhhxm")]).at(-1),
    "server-1 back: 1 of 9 letters missing, 1 of 9 letters with another value",
  );
});

Deno.test("single time-outs are told as what they are", () => {
  const [, one] = row("hhh");
  if (one === undefined) throw new Error("No such server");
  const some = row("hhh").with(1, { ...one, statuses: "h.hhhhhhh" });
  assertEquals(tell(["hhh", some, some, "hhh"]).slice(1), [
    "server-1 did not answer for some of its letters",
    "",
    "server-1 answers for all its letters again",
  ]);
  assertEquals(tell(["hhh", some, "h.h"]).at(-1), "server-1 cannot be reached");
  const lost = row("hhh").with(1, { ...one, statuses: "w.wwwwwww" });
  assertEquals(
    tell(["hhh", lost, "hhh"]).at(-1),
    "server-1 answers for all its letters again; server-1 had lost 8 of 9 letters: written again",
  );
});

Deno.test("other values and other errors are told", () => {
  const [zero] = row("hhh");
  if (zero === undefined) throw new Error("No such server");
  const other = row("hhh").with(0, { ...zero, statuses: "hxhhhhxh" });
  assertEquals(tell(["hhh", other, other, "hhh"]).slice(1), [
    "server-0 has another value for f, u",
    "",
    "server-0 has the right value again for f, u",
  ]);
  assertEquals(tell(["hhh", "4hh", "4hh", "hhh"]).slice(1), [
    "server-0 answers with errors (4xx)",
    "",
    "server-0 back, nothing lost",
  ]);
});

Deno.test("scaling down: letters that are on their way are awaited, not lost", () => {
  const two = (a: string, b: string) => {
    const [zero, one] = row("hh");
    if (zero === undefined || one === undefined) throw new Error("No such server");
    return [{ ...zero, statuses: a }, { ...one, statuses: b }];
  };
  // bdfhjlnprtvxz and acegikmoqsuwy: what was on the server before is a hit at once.
  assertEquals(tell(["hhh", two("mmhmmhmmhmmhm", "hmmhmmhmmhmmh"), "hh", "hh"]).slice(1), [
    "server-0 does not have 9 letters yet; server-1 does not have 8 letters yet",
    "server-0 now has 9 letters; server-1 now has 8 letters",
    "",
  ]);
});

Deno.test("scaling up: the new server is up and empty, then has its letters", () => {
  assertEquals(tell(["hh", row("hh.", 3), row("hhm", 3), row("hhh", 3)]).slice(1), [
    "server-2 cannot be reached",
    "server-2 is up, empty: 9 letters missing",
    "server-2 now has 9 letters",
  ]);
});

Deno.test("a server that owns no letter is told of by what it answers", () => {
  const beside = (polled: string) => [
    ...row("hh"),
    { name: "server-2", letters: "", statuses: "", polled },
  ];
  assertEquals(
    tell(["hh", beside("?"), beside("u"), beside("5"), beside("."), beside("u")]).slice(1),
    [
      "",
      "server-2 is up",
      "server-2 shutting down",
      "server-2 has gone",
      "server-2 back",
    ],
  );
});

Deno.test("what happens to many servers at the same time is one event", () => {
  const many = (status: string) =>
    Array.from({ length: 62 }, (_, index) => ({
      name: `server-${index}`,
      letters: index < 26 ? LETTERS[index] ?? "" : "",
      statuses: index < 26 ? status : "",
      polled: status === "h" ? "u" : status,
    }));
  assertEquals(tell([many("h"), many("5"), many("."), many("h")]), [
    "server-0, server-1 and 24 more: is up, 1 letter found; server-26, server-27 and 34 more: is up",
    "server-0, server-1 and 60 more: shutting down",
    "server-0, server-1 and 60 more: has gone",
    "server-0, server-1 and 24 more: back, nothing lost; server-26, server-27 and 34 more: back",
  ]);
});
