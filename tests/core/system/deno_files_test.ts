/** Files that are written and flushed in one step, on the real file system. */
import { assertEquals } from "@std/assert";
import { join } from "@std/path";
import { openDurable } from "../../../core/system/deno_files.ts";

const HELLO = new TextEncoder().encode("hello");

Deno.test("openDurable() writes where it is told, over what is there and behind it", async () => {
  const folder = await Deno.makeTempDir();
  try {
    const path = join(folder, "journal é");
    await Deno.writeTextFile(path, "0123456789");
    const file = openDurable(path);
    try {
      assertEquals(await file?.write(HELLO, 2), 5n);
      assertEquals(await Deno.readTextFile(path), "01hello789");
      assertEquals(await file?.write(HELLO.subarray(1, 4), 10), 3n);
      assertEquals(await Deno.readTextFile(path), "01hello789ell");
    } finally {
      file?.close();
    }
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test("openDurable() opens nothing that is not there", async () => {
  const folder = await Deno.makeTempDir();
  try {
    assertEquals(openDurable(join(folder, "none")), undefined);
    assertEquals([...Deno.readDirSync(folder)], []);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test("DurableFile.write() tells by -1 that there is no room", async () => {
  // A device that is always full.
  const file = openDurable("/dev/full");
  try {
    assertEquals(await file?.write(HELLO, 0), -1n);
  } finally {
    file?.close();
  }
});
