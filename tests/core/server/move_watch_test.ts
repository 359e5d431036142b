import { assertEquals, assertRejects } from "@std/assert";
import { denoFiles } from "../../../core/system/deno_files.ts";
import { AnotherMoveError, PreconditionFailedError } from "../../../core/errors.ts";
import { type JournalStore } from "../../../core/storage/journal_store.ts";
import { MoveWatch } from "../../../core/server/move_watch.ts";
import { openJournalStore } from "../../../core/storage/open_journal_store.ts";
import { Value } from "../../../core/value.ts";
import { TempDir } from "../../e2e/program.ts";

/** A store, and what opens its watch as a start of the server does. */
async function withStore(
  test: (open: () => Promise<MoveWatch>, dir: TempDir, logged: string[]) => Promise<void>,
): Promise<void> {
  await using dir = new TempDir();
  const logged: string[] = [];
  const store: JournalStore = await openJournalStore(dir.path, {
    log: () => {},
    onFatal: (error) => logged.push(error.message),
  });
  const log = (_level: string, message: string) => logged.push(message);
  try {
    await test(() => MoveWatch.open(store, dir.join(".kvs"), denoFiles, log), dir, logged);
  } finally {
    await store.close();
  }
}

const WORD = new Value("word");

Deno.test("a move writes what no client has written or deleted since it began", async () => {
  await withStore(async (open) => {
    const watch = await open();
    await watch.clients.set("early", WORD);
    await watch.take("a", "begin");
    await watch.clients.set("late", WORD);
    await watch.clients.delete("deleted");
    const chunks = async function* () {
      yield await Promise.resolve(new Uint8Array(100_000));
    };
    await watch.clients.set("large", { chunks: chunks(), contentType: "text/plain" });
    const mover = watch.movers("a");
    await mover.set("early", WORD);
    for (const key of ["late", "deleted", "large"]) {
      await assertRejects(() => mover.set(key, WORD), PreconditionFailedError);
    }
    // It goes on where it was stopped, and its own writes are no client's.
    await watch.take("a", "begin");
    await mover.set("early", WORD);
    await assertRejects(() => mover.set("late", WORD), PreconditionFailedError);
    await watch.take("a", "restart");
    await mover.set("late", WORD);
  });
});

Deno.test("a move that another one has followed writes and deletes nothing", async () => {
  await withStore(async (open) => {
    const watch = await open();
    await watch.take("a", "begin");
    const first = watch.movers("a");
    await first.set("k", WORD);
    await watch.take("b", "begin");
    await assertRejects(() => first.set("k", WORD), AnotherMoveError, "since: b, not a");
    await assertRejects(() => first.delete("k"), AnotherMoveError);
    await assertRejects(() => watch.take("a", "complete"), AnotherMoveError);
    await watch.movers("b").delete("k");
    assertEquals(watch.clients.size, 0);
  });
});

Deno.test("after another start any key may have been written, once the move was complete", async () => {
  await withStore(async (open) => {
    const watch = await open();
    await watch.take("a", "begin");
    await watch.clients.set("k", WORD);
    const again = await open();
    await again.movers("a").set("k", WORD);
    await assertRejects(() => again.movers("b").set("k", WORD), AnotherMoveError);
    await again.take("a", "complete");
    await again.movers("a").set("k", WORD);
    const complete = await open();
    await complete.take("a", "begin");
    await assertRejects(() => complete.movers("a").set("new", WORD), PreconditionFailedError);
    await complete.take("b", "begin");
    await complete.movers("b").set("k", WORD);
  });
});

Deno.test("with very many keys written, any may have been", async () => {
  await withStore(async (open) => {
    const watch = await open();
    await watch.take("a", "begin");
    // Nothing to delete costs no write.
    for (let index = 0; index <= 100_000; index++) await watch.clients.delete(`key-${index}`);
    await assertRejects(() => watch.movers("a").set("other", WORD), PreconditionFailedError);
  });
});

Deno.test("a note of a move that is damaged is told, and counts as none", async () => {
  await withStore(async (open, dir, logged) => {
    await Deno.writeTextFile(dir.join(".kvs", "move"), '{"move":');
    // What a server that was killed while it wrote it leaves.
    await Deno.writeTextFile(dir.join(".kvs", "move.new"), "");
    const watch = await open();
    assertEquals(logged.splice(0), ["ignored the note of the last move"]);
    await watch.movers("a").set("k", WORD);
    await watch.take("a", "begin");
    assertEquals(
      await Deno.readTextFile(dir.join(".kvs", "move")),
      '{"move":"a","complete":false}\n',
    );
  });
});
