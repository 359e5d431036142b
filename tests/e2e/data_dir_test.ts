import { assertEquals, assertMatch } from "@std/assert";
import { exists } from "@std/fs/exists";
import { join } from "@std/path";
import { kvs, TempDir } from "./kvs.ts";

/** A file system in memory that the runtime opens no files of. */
const SHARED_MEMORY = "/dev/shm";
const hasSharedMemory = await exists(SHARED_MEMORY);

Deno.test({
  name: "a folder below /dev is refused in one honest line, and nothing is made in it",
  ignore: !hasSharedMemory,
  async fn() {
    await using temp = new TempDir();
    const name = `kvs-test-${crypto.randomUUID()}`;
    await using stack = new AsyncDisposableStack();
    stack.defer(() => Deno.remove(join(SHARED_MEMORY, name), { recursive: true }).catch(() => {}));
    const link = temp.join("link");
    await Deno.symlink(SHARED_MEMORY, link);
    const refusal = /^[^\n]*"\/dev\/shm[^"]*" is below \/dev, \/proc or \/sys[^\n]*\n$/;
    for (const folder of [join(SHARED_MEMORY, name), join(link, name)]) {
      const { code, stderr } = await kvs(["server", "0", folder, "--host", "127.0.0.1"]);
      assertEquals([code, await exists(folder)], [1, false]);
      assertMatch(stderr, refusal);
    }
    const marked = await kvs(["lifecycle", "prestop", SHARED_MEMORY]);
    assertEquals(marked.code, 1);
    assertMatch(marked.stderr, refusal);
  },
});
