import { assertEquals } from "@std/assert";
import { fromFileUrl } from "@std/path";

const LIBRARY = fromFileUrl(new URL("../../../core/client/kvs.ts", import.meta.url));

Deno.test("the library exports every type that its users can meet, each documented", async () => {
  const { success, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["doc", "--lint", LIBRARY],
    env: { NO_COLOR: "1" },
  }).output();
  assertEquals([success, success ? "" : new TextDecoder().decode(stderr)], [true, ""]);
});
