import { assertEquals, assertMatch } from "@std/assert";
import { ScaleReport } from "../../cmd/scale_output.ts";
import { type OutputForm } from "../../cmd/rebalance_output.ts";
import { type Layout } from "../../core/layout/layout.ts";
import { type ScaleEvent, type ScaleSummary } from "../../core/scale/events.ts";

const LAYOUT: Layout = {
  ...{ cluster: "0b7d0000-0000-4000-8000-000000000000", epoch: 2, since: 2, placement: "jump" },
  ...{ servers: ["a"], next: ["a", "b"], nextPlacement: "jump", lost: [], stores: {} },
};

const SUMMARY: ScaleSummary = {
  ...{ keys: 3, bytes: 30, seconds: 0.5, layout: LAYOUT, otherGoal: false, interrupted: false },
};

const EVENTS: readonly ScaleEvent[] = [
  { kind: "layout", layout: LAYOUT },
  { kind: "range", source: "a", keys: 3, bytes: 30, upto: "k\n" },
  { kind: "progress", done: 3, total: 4, bytes: 30 },
  { kind: "note", message: "something" },
];

/** What a report prints, and what it says on stderr. */
function printed(form: OutputForm, use: (report: ScaleReport) => void): [string[], string[]] {
  let stdout = "";
  const stderr: string[] = [];
  const report = new ScaleReport(form, {
    stdout: {
      isTerminal: () => false,
      writeSync(bytes) {
        stdout += new TextDecoder().decode(bytes);
        return bytes.length;
      },
    },
    printError: (line) => stderr.push(line),
    now: () => 0,
  });
  use(report);
  report.close();
  return [stdout.split("\n").slice(0, -1), stderr];
}

function run(form: OutputForm, summary = SUMMARY) {
  return printed(form, (report) => {
    for (const event of EVENTS) report.event(event);
    report.summary(summary, false);
  });
}

Deno.test("--output lines prints a line a range; a key stays on its line", () => {
  const [lines, notes] = run("lines");
  assertEquals(lines, [
    "Epoch 2: moving from 1 server (jump) to 2 servers (jump): a,b",
    "a: 3 keys, 30 bytes, up to k%0A",
    "3 keys moved, 30 bytes, 0.50 seconds, 6 keys per second",
  ]);
  assertEquals(notes, ["something"]);
});

Deno.test("--output progress prints layouts and the summary", () => {
  const [lines] = run("progress", { ...SUMMARY, interrupted: true });
  assertEquals(lines.length, 3);
  assertMatch(lines[2] ?? "", /^Interrupted: .*run it again/);
});

Deno.test("--output json prints an object a line", () => {
  const [lines] = run("json", { ...SUMMARY, otherGoal: true });
  const events = lines.map((line) => JSON.parse(line));
  assertEquals(events.map(({ event }) => event), [
    "layout",
    "range",
    "progress",
    "note",
    "summary",
  ]);
  assertEquals(events[4].otherGoal, true);
});

Deno.test("the status has a line a server", () => {
  const differs = ["has epoch 1"];
  const [lines] = printed("lines", (report) =>
    report.status({
      layout: LAYOUT,
      servers: [
        { name: "a", role: "both", keys: 5, mark: { key: "k", end: false }, differs: [] },
        { name: "b", role: "target", keys: 0, mark: undefined, differs },
      ],
    }));
  assertEquals(lines.slice(1), [
    "  a: 5 keys, hands over and gets keys, handed over up to k",
    "  b: 0 keys, gets keys, has epoch 1",
  ]);
});
