import { assertEquals, assertMatch, assertNotEquals } from "@std/assert";
import { fileSystemId } from "../../../core/system/disk.ts";

Deno.test({
  name: "fileSystemId() tells file systems apart, and knows one by each of its folders",
  ignore: Deno.build.os !== "linux",
  async fn() {
    const dir = await Deno.makeTempDir();
    try {
      const id = await fileSystemId(dir);
      assertMatch(id ?? "", /^[0-9a-f]{16}$/);
      const folder = `${dir}/folder`;
      await Deno.mkdir(folder);
      assertEquals(await fileSystemId(folder), id);
      assertNotEquals(await fileSystemId("/proc"), id);
    } finally {
      await Deno.remove(dir, { recursive: true });
    }
  },
});
