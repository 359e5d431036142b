import { assert, assertEquals, assertMatch } from "@std/assert";
import { helpText } from "../../cmd/args.ts";
import { rebalance } from "../../cmd/rebalance.ts";
import { createReport, type OutputForm } from "../../cmd/rebalance_output.ts";
import { type RebalanceEvent } from "../../core/rebalance/events.ts";

/** A report whose output is kept, outside of any terminal, on a clock that the test turns. */
class Kept {
  readonly stderr: string[] = [];
  seconds = 0;
  #stdout = "";
  readonly #report;

  constructor(form: OutputForm, secure: readonly string[] = []) {
    const options = { dryRun: false, prune: false, secure: new Set(secure) };
    this.#report = createReport(form, options, {
      stdout: {
        isTerminal: () => false,
        writeSync: (bytes) => {
          this.#stdout += new TextDecoder().decode(bytes);
          return bytes.length;
        },
      },
      printError: (line) => this.stderr.push(line),
      now: () => 1000 * this.seconds,
    });
  }

  /** Tells how many of 1000 keys have been moved, after so many seconds in all. */
  moved(seconds: number, done: number): void {
    this.seconds = seconds;
    this.event({ kind: "progress", phase: "move", done, total: 1000 });
  }

  event(event: RebalanceEvent): void {
    this.#report.event(event);
  }

  get stdout(): string {
    this.#report.close();
    return this.#stdout;
  }
}

for (const form of ["lines", "progress"] as const) {
  Deno.test(`in a log, --output ${form} tells every ten seconds how far it is`, () => {
    const kept = new Kept(form);
    // The lines of the book have stdout for themselves.
    const told = () => form === "lines" ? kept.stderr : kept.stdout.split("\n").slice(0, -1);
    for (let second = 0; second < 10; second++) kept.moved(second, 10 * second);
    assertEquals(told(), []);
    kept.moved(10, 100);
    const first = "Moving  [##----------------------] 10%  100/1000 keys, 10 keys/s, 1:30 left";
    assertEquals(told(), [first]);
    for (let second = 11; second < 20; second++) kept.moved(second, 10 * second);
    assertEquals(told().length, 1);
    kept.moved(20.5, 205);
    assertEquals(told().length, 2);
    assertMatch(told()[1] ?? "", / 20% {2}205\/1000 keys, /);
    assert(form === "progress" || kept.stdout === "");
  });
}

Deno.test("the line of a save has the scheme that was spoken", () => {
  const kept = new Kept("lines", ["safe:443"]);
  const copy = {
    bytes: new TextEncoder().encode("x"),
    contentType: undefined,
    etag: undefined,
  };
  const moved = { kind: "moved", key: "k", copy, bytes: 1, from: "a", answer: undefined } as const;
  kept.event({ ...moved, to: "safe:443" });
  kept.event({ ...moved, to: "open:80" });
  assertEquals(kept.stdout, "https://safe:443/save/k/x x\nhttp://open:80/save/k/x x\n");
});

Deno.test("--help tells the exit codes of rebalance", () => {
  assertMatch(helpText(rebalance), /Exit codes: 0 .* 1 .*\n2 .* 3 .*\n.*\n129, 130 and 143 /);
});
