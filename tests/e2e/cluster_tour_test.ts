import { assertEquals, assertMatch } from "@std/assert";
import { deadline } from "@std/async/deadline";
import { Running, TempDir, until } from "./program.ts";

/** A tour takes half a minute; a slow machine gets six. */
const TOUR_PATIENCE_MS = 180_000;

const ACTS = [
  "a client and no servers",
  "the servers come up in order",
  "everything hits",
  "a server is deleted and comes back",
  "rebalance from 3 to 2 servers, then scale down",
  "scale up to 3 servers, then rebalance",
  "the whole set is deleted and comes back from disk",
];

function startTour(temp: TempDir, args: readonly string[] = []): Running {
  return new Running(["cluster", "--tour", "--port", "0", ...args], {
    env: { TMPDIR: temp.path },
  });
}

/** The statuses of the rows of an act, number from 1. */
function rowsOf(tour: Running, act: number): string[] {
  const from = tour.stdout.findIndex((line) => line.startsWith(`Act ${act} of `));
  const to = tour.stdout.findIndex((line) => line.startsWith(`Act ${act + 1} of `));
  return tour.stdout.slice(from, to < 0 ? undefined : to).flatMap((line) =>
    /^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d (\S{26}) \| hits = \d+ \(\d+%\)$/.exec(line)?.[1] ?? []
  );
}

async function untilPrinted(tour: Running, pattern: RegExp): Promise<void> {
  await until(
    `${pattern} is printed`,
    () => tour.stdout.some((line) => pattern.test(line)) || undefined,
  );
}

/** Processes that have `dir` in their command line; looked for on Linux only. */
async function processesOn(dir: string): Promise<number[]> {
  if (Deno.build.os !== "linux") return [];
  const found: number[] = [];
  for await (const entry of Deno.readDir("/proc")) {
    if (!/^\d+$/.test(entry.name)) continue;
    const commandLine = await Deno.readTextFile(`/proc/${entry.name}/cmdline`).catch(() => "");
    if (commandLine.includes(dir)) found.push(Number(entry.name));
  }
  return found;
}

Deno.test("kvs cluster --tour plays every act as it should", async () => {
  await using temp = new TempDir();
  await using tour = startTour(temp);
  const code = await deadline(tour.exit(), TOUR_PATIENCE_MS);
  assertEquals(tour.stderr, []);
  assertEquals(code, 0);
  assertMatch(tour.stdout.at(-1) ?? "", /^All 7 acts came out as they should, in \d+ seconds\.$/);

  assertEquals(
    tour.stdout.filter((line) => line.startsWith("Act ")),
    ACTS.map((title, index) => `Act ${index + 1} of 7: ${title}`),
  );
  assertEquals(tour.stdout.filter((line) => line.endsWith("came out as it should.")).length, 7);
  assertEquals(new Set(rowsOf(tour, 1)), new Set([".".repeat(26)]));
  assertMatch(
    rowsOf(tour, 2).join(" "),
    /\.{26} .*(\.\.h){8}\.\. .*(h\.h){8}h\. .*h{26}$/,
  );
  assertEquals(new Set(rowsOf(tour, 3)), new Set(["h".repeat(26)]));
  assertMatch(rowsOf(tour, 4).join(" "), /^h{26} .*(5hh){8}5h .*(\.hh){8}\.h .*h{26}$/);
  assertMatch(rowsOf(tour, 5).join(" "), /^(hmmmmh){4}hm .*h{26}$/);
  assertMatch(rowsOf(tour, 6).join(" "), /^(h\.mm\.h){4}h\. .*(hmmmmh){4}hm .*h{26}$/);
  assertMatch(
    rowsOf(tour, 7).join(" "),
    /^h{26} .*5{26} .*\.{26} .*(\.\.h){8}\.\. .*(h\.h){8}h\. .*h{26}$/,
  );
  for (const act of [4, 7]) assertEquals(rowsOf(tour, act).join("").replaceAll(/[h5.]/g, ""), "");
  assertEquals(tour.stdout.filter((line) => line.startsWith("$ kvs rebalance ")).length, 2);
  assertEquals([...Deno.readDirSync(temp.path)], []);
  assertEquals(await processesOn(temp.path), []);
});

Deno.test("kvs cluster --tour fails, and says where, when an act does not come out", async () => {
  await using temp = new TempDir();
  await using tour = startTour(temp, ["--drain", "0"]);
  await untilPrinted(tour, /^Act 3 /);
  const [, owner] = /^\$ kvs client \S+?,(\S+?),/m.exec(tour.stdout.join("\n")) ?? [];
  // From now on the client finds another value than the letter: x, which no act allows.
  await (await fetch(`http://${owner}/save/a/wrong`)).text();
  assertEquals(await deadline(tour.exit(), TOUR_PATIENCE_MS), 1);
  const [what = "", expected = "", ...rows] = tour.stderr;
  assertMatch(
    what,
    /^The tour failed in the act "(everything hits|a server .*)": letter a went .*x, /,
  );
  assertMatch(expected, /^ {2}expected \d rows of h{26}, the last rows were$/);
  assertEquals(rows.at(-1)?.trim(), "x" + "h".repeat(25));
  assertEquals([...Deno.readDirSync(temp.path)], []);
  assertEquals(await processesOn(temp.path), []);
});

Deno.test("kvs cluster --tour ends at a signal, and leaves nothing behind", async () => {
  await using temp = new TempDir();
  await using tour = startTour(temp, ["--drain", "0"]);
  await untilPrinted(tour, /^server-1 is ready/);
  tour.kill("SIGINT");
  assertEquals(await deadline(tour.exit(), TOUR_PATIENCE_MS), 1);
  assertEquals(tour.stderr, ["The tour was ended before its end: SIGINT"]);
  assertEquals([...Deno.readDirSync(temp.path)], []);
  assertEquals(await processesOn(temp.path), []);
});
