import { assertEquals } from "@std/assert";
import { messageOf } from "../../core/errors.ts";

Deno.test("messageOf() says in our words where the runtime refuses a permission", () => {
  const { NotCapable } = Deno.errors;
  const table: [thrown: unknown, message: string][] = [
    ["plain", "plain"],
    [new Error("as it is"), "as it is"],
    [
      new NotCapable('Requires all access to "/dev/shm/a", run again with the --allow-all flag'),
      '"/dev/shm/a" is below /dev, /proc or /sys, where kvs opens no files',
    ],
    [
      new NotCapable(
        'Requires all access to "/proc/1/x", specify the required permissions during compilation using `deno compile --allow-all`',
      ),
      '"/proc/1/x" is below /dev, /proc or /sys, where kvs opens no files',
    ],
    [
      new NotCapable('Requires env access to "HOME", run again with the --allow-env flag'),
      'kvs has no permission of its own for env access to "HOME"',
    ],
    [
      new NotCapable("Requires run access, run again with the --allow-run flag"),
      "kvs has no permission of its own for run access",
    ],
    [new NotCapable("other words"), "kvs has no permission of its own for this"],
  ];
  for (const [thrown, message] of table) assertEquals(messageOf(thrown), message);
});
