/** The steps on a file system that several parts of the program share. */
import { assert, assertEquals, assertRejects } from "@std/assert";
import { StorageBusyError, StorageFailedError } from "../../../core/errors.ts";
import {
  flushFolder,
  openIfThere,
  readAll,
  removeIfThere,
  replaceFile,
} from "../../../core/system/file_steps.ts";
import { Random } from "./random.ts";
import { type Fault, SimulatedDisk } from "./simulated_disk.ts";

const bytesOf = (text: string) => new TextEncoder().encode(text);
const OLD = bytesOf("old");
const NEW = bytesOf("new content");
const replacement = { folder: "/h", name: "note", bytes: NEW };

/** A disk with the file `/h/note`. */
function diskWithNote(seed = 1): SimulatedDisk {
  const disk = new SimulatedDisk(new Random(seed));
  disk.put("/h/note", OLD);
  return disk;
}

Deno.test("readAll() reads from the position to the end, and no more than it is told", async () => {
  const file = await diskWithNote().open("/h/note");
  assertEquals(await readAll(file, 2), bytesOf("ol"));
  assertEquals(await readAll(file), bytesOf("d"));
  assertEquals(await readAll(file), new Uint8Array());
});

Deno.test("openIfThere() and removeIfThere() take a missing file for none, and pass all else on", async () => {
  const disk = diskWithNote();
  assertEquals(await openIfThere(disk, "/h/none"), undefined);
  await removeIfThere(disk, "/h/none");
  disk.fault = () => "broken";
  await assertRejects(() => openIfThere(disk, "/h/note"));
  await assertRejects(() => removeIfThere(disk, "/h/note"));
  disk.fault = () => undefined;
  await removeIfThere(disk, "/h/note");
  assertEquals(disk.contents().size, 0);
});

Deno.test("A power cut at any step of replaceFile() leaves the old file or the new one, and the new one behind it", async () => {
  let cases = 0;
  for (let seed = 0; seed < 20; seed++) {
    for (let cutAt = 0;; cutAt++) {
      const disk = diskWithNote(seed);
      // Of a replacement that was cut short.
      disk.put("/h/note.new", bytesOf("new"));
      let cut: SimulatedDisk | undefined;
      let operations = 0;
      disk.fault = () => {
        if (operations++ === cutAt) cut = disk.afterPowerCut("some survives");
        return undefined;
      };
      await replaceFile(disk, replacement);
      const after = disk.afterPowerCut("nothing survives");
      assertEquals(after.contents().get("/h/note"), NEW);
      if (cut === undefined) break;
      const found = cut.contents().get("/h/note");
      assert(found?.length === OLD.length || found?.length === NEW.length);
      assertEquals(found, found.length === OLD.length ? OLD : NEW);
      cases++;
    }
  }
  assert(cases > 0);
});

Deno.test("replaceFile() that fails before the rename leaves the old file and nothing else", async () => {
  for (const kind of ["create", "write", "flush", "rename"] as const) {
    const disk = diskWithNote();
    disk.fault = (operation) => operation.kind === kind ? "broken" : undefined;
    await assertRejects(() => replaceFile(disk, replacement));
    assertEquals(disk.contents(), new Map([["/h/note", OLD]]), kind);
    assertEquals(disk.openFiles, 0, kind);
  }
});

Deno.test("flushFolder() tells a flush that was not begun from one that failed", async () => {
  const disk = diskWithNote();
  const flushWith = (fault: Fault) => {
    disk.fault = () => fault;
    return flushFolder(disk, "/h", "Cannot flush the folder");
  };
  await assertRejects(() => flushWith("exhausted"), StorageBusyError);
  await assertRejects(() => flushWith("broken"), StorageFailedError, "Cannot flush the folder");
});
