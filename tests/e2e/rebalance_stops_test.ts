/** A rebalance that ends before its time. */
import { assert, assertEquals, assertMatch } from "@std/assert";
import { ForeignServer } from "./foreign_server.ts";
import { kvs, Running } from "./program.ts";
import { LETTERS, listOf, write } from "./rebalance_servers.ts";

/** 78 keys, of which a half is on either of two servers. */
const MANY = new Map(LETTERS.flatMap((key) => ["", "1", "2"].map((digit) => [key + digit, key])));

/** A run from two foreign servers to one, whose sixth save waits for what `act` resolves to. */
async function atSixthSave(
  act: (run: Running) => Promise<number | undefined>,
  check: (run: Running, target: ForeignServer, source: ForeignServer) => Promise<void>,
): Promise<void> {
  await using source = new ForeignServer();
  let victim: Running | undefined;
  await using target = new ForeignServer({
    onSave(saves) {
      if (saves !== 5 || victim === undefined) return undefined;
      const run = victim;
      // Only once: a further run is left alone.
      victim = undefined;
      return act(run);
    },
  });
  await write([target, source], MANY);
  target.saves = 0;
  await using run = new Running(["rebalance", listOf([target, source]), target.address]);
  victim = run;
  await check(run, target, source);
}

Deno.test("killed half-way, it is completed by running it again", async () => {
  await atSixthSave(async (run) => {
    run.kill("SIGKILL");
    await run.exit();
    return 500;
  }, async (run, target, source) => {
    assertEquals(await run.exit(), 137);
    const moved = target.values.size - MANY.size + source.values.size;
    assert(moved >= 5 && moved < source.values.size, `${moved}`);
    const again = await kvs(["rebalance", listOf([target, source]), target.address]);
    assertEquals(again.code, 0, again.stderr);
    assertMatch(again.stderr, new RegExp(`, ${source.values.size - moved} moved, `));
    assertEquals(new Map([...target.values].sort()), MANY);
  });
});

Deno.test("a failure in the middle says what is done and that running again is safe", async () => {
  await atSixthSave(() => Promise.resolve(500), async (run, target, source) => {
    assertEquals(await run.exit(), 1);
    assertMatch(
      run.stderr.join("\n"),
      /127\.0\.0\.1:\d+ answered 500: <h1>Failed<\/h1>; \d+ of 39 keys are on their new servers, nothing is lost: run it again to complete it$/,
    );
    const again = await kvs(["rebalance", listOf([target, source]), target.address]);
    assertEquals([again.code, new Map([...target.values].sort())], [0, MANY]);
  });
});

Deno.test("Ctrl-C stops between keys, with a summary and 130", async () => {
  await atSixthSave(async (run) => {
    run.kill("SIGINT");
    await run.line(/^Stopping/);
    return undefined;
  }, async (run, target, source) => {
    assertEquals(await run.exit(), 130);
    assertMatch(
      run.stderr.at(-1) ?? "",
      /^Interrupted: \d+ keys have yet to be moved; run it again/,
    );
    assertMatch(run.stderr.at(-2) ?? "", /^78 keys seen, \d+ moved, /);
    const again = await kvs(["rebalance", listOf([target, source]), target.address]);
    assertEquals([again.code, new Map([...target.values].sort())], [0, MANY]);
  });
});

Deno.test("a second signal ends it at once", async () => {
  await atSixthSave(async (run) => {
    run.kill("SIGINT");
    await run.line(/^Stopping/);
    run.kill("SIGINT");
    // The save that holds it up is answered only when it has gone.
    await run.exit();
    return undefined;
  }, async (run) => assertEquals(await run.exit(), 130));
});
