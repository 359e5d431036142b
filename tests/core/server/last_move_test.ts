import { assertEquals, assertRejects, assertThrows } from "@std/assert";
import { AnotherMoveError } from "../../../core/errors.ts";
import { LastMove } from "../../../core/server/last_move.ts";
import { denoFiles } from "../../../core/system/deno_files.ts";
import { TempDir } from "../../e2e/program.ts";

const FIRST = { name: "modulo 0/2 0/3", run: "1" };
const SECOND = { name: "modulo 0/3 0/2", run: "2" };

Deno.test("the note of the last run is durable, and refuses earlier runs", async () => {
  await using dir = new TempDir();
  const open = () => LastMove.open(dir.path, denoFiles, () => {});
  let last = await open();
  assertEquals(last.note, undefined);
  last.checkRun("any");
  await last.take(FIRST, "begin");
  assertEquals((await open()).note, { ...FIRST, complete: false });
  await last.take(FIRST, "complete");
  last = await open();
  assertEquals(last.note, { ...FIRST, complete: true });
  last.checkRun(FIRST.run);
  await last.take(SECOND, "begin");
  assertThrows(() => last.checkRun(FIRST.run), AnotherMoveError, SECOND.name);
  await assertRejects(() => last.take(FIRST, "complete"), AnotherMoveError);
  assertEquals((await open()).note, { ...SECOND, complete: false });
});

Deno.test("a server without a note takes what a run has to complete", async () => {
  await using dir = new TempDir();
  const last = await LastMove.open(dir.path, denoFiles, () => {});
  await last.take(FIRST, "complete");
  assertEquals(last.note, { ...FIRST, complete: true });
});

Deno.test("two runs that begin at once leave the note of one of them", async () => {
  await using dir = new TempDir();
  const last = await LastMove.open(dir.path, denoFiles, () => {});
  await Promise.all([last.take(FIRST, "begin"), last.take(SECOND, "begin")]);
  assertEquals((await LastMove.open(dir.path, denoFiles, () => {})).note, last.note);
});

for (const text of ["", '{"move":', '{"move":"a","complete":true}', "x".repeat(5000)]) {
  Deno.test(`a damaged note counts as a move that is not complete: ${text.slice(0, 30)}`, async () => {
    await using dir = new TempDir();
    await Deno.writeTextFile(dir.join("move"), text);
    // What a server that was killed while it wrote the note leaves.
    await Deno.writeTextFile(dir.join("move.new"), "");
    const logged: string[] = [];
    const log = (level: string, message: string) => logged.push(`${level} ${message}`);
    const last = await LastMove.open(dir.path, denoFiles, log);
    assertEquals(logged, ["warn the note of the last move is damaged"]);
    assertEquals([last.note?.name, last.note?.complete], ["unknown", false]);
    assertThrows(() => last.checkRun(FIRST.run), AnotherMoveError);
    await last.take(FIRST, "begin");
    assertEquals(
      await Deno.readTextFile(dir.join("move")),
      '{"move":"modulo 0/2 0/3","run":"1","complete":false}\n',
    );
  });
}
