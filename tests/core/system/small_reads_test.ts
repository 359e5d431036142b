/** Small files at once: whether one is there, and what is in it. */
import { assertEquals } from "@std/assert";
import { join } from "@std/path";
import { existenceOf, readAtOnce } from "../../../core/system/small_reads.ts";

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

Deno.test("readAtOnce() leaves the time of access, which would be written to the disk", () => {
  return inFolder(async (folder) => {
    const path = join(folder, "k");
    await Deno.writeTextFile(path, "1");
    await Deno.utime(path, new Date(1_000_000), new Date(2_000_000));
    assertEquals(readAtOnce(path, 5)?.length, 1);
    assertEquals((await Deno.stat(path)).atime?.getTime(), 1_000_000);
  });
});

Deno.test("readAtOnce() reads files that belong to somebody else", () => {
  return inFolder(async (folder) => {
    const path = join(folder, "k");
    await Deno.writeTextFile(path, "1");
    await Deno.chmod(folder, 0o755);
    // For this thread's files only; who is no root stays who it is, and reads its own.
    const libc = Deno.dlopen("libc.so.6", { setfsuid: { parameters: ["u32"], result: "i32" } });
    const NOBODY = 65_534;
    const before = libc.symbols.setfsuid(NOBODY);
    try {
      assertEquals(readAtOnce(path, 5)?.length, 1);
    } finally {
      libc.symbols.setfsuid(before);
      libc.close();
    }
  });
});
