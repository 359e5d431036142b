import { assert, assertEquals } from "@std/assert";
import { DataDir } from "../../../core/storage/data_dir.ts";
import { TempDir } from "../../e2e/program.ts";

Deno.test("DataDir.open() flushes the folders that it makes a name in, also where they exist", async () => {
  await using temp = new TempDir();
  for (let round = 0; round < 2; round++) {
    const flushed: string[] = [];
    const files = {
      syncFolder: (path: string) => {
        flushed.push(path);
        return Promise.resolve();
      },
    };
    const dir = await DataDir.open(temp.join("a", "b"), files);
    dir.close();
    assertEquals(flushed.slice(0, 2), [temp.join("a"), temp.path]);
  }
});

Deno.test("DataDir.open() says so when the folder cannot be made durable", async () => {
  await using temp = new TempDir();
  const files = { syncFolder: () => Promise.reject(new Error("broken")) };
  let message = "";
  try {
    await DataDir.open(temp.join("a"), files);
  } catch (error) {
    message = String(error);
  }
  assert(message.includes("Cannot use data directory") && message.includes("broken"), message);
});
