/** Small files at once: whether one is there, and what is in it. */
import { assertEquals } from "@std/assert";
import { join } from "@std/path";
import { existenceOf, readAtOnce } from "../../core/quick_files.ts";

async function inFolder(run: (folder: string) => Promise<void>): Promise<void> {
  const folder = await Deno.makeTempDir();
  try {
    await run(folder);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

Deno.test("existenceOf() sees at once whether a file, a folder or a link is there", () => {
  return inFolder(async (folder) => {
    const path = join(folder, "märker");
    const exists = existenceOf(path);
    assertEquals(exists(), false);
    await Deno.writeTextFile(path, "");
    assertEquals(exists(), true);
    await Deno.remove(path);
    assertEquals(exists(), false);
    await Deno.mkdir(path);
    assertEquals(exists(), true);
    await Deno.remove(path);
    await Deno.symlink(join(folder, "nowhere"), path);
    assertEquals(exists(), false);
    assertEquals(existenceOf(join(folder, "none", "at", "all"))(), false);
  });
});

Deno.test("readAtOnce() reads from 1 to as many bytes as are asked for, of files only", () => {
  return inFolder(async (folder) => {
    const path = join(folder, "k");
    await Deno.writeTextFile(path, "12345");
    assertEquals(new TextDecoder().decode(readAtOnce(path, 5)), "12345");
    assertEquals(readAtOnce(path, 4), undefined);
    await Deno.writeTextFile(path, "");
    assertEquals(readAtOnce(path, 5), undefined);
    assertEquals(readAtOnce(folder, 5), undefined);
    assertEquals(readAtOnce(join(folder, "none"), 5), undefined);
  });
});
