import { assertEquals } from "@std/assert";
import { StorageBusyError } from "../../../core/errors.ts";
import { PendingDelete } from "../../../core/storage/pending_write.ts";
import { decideConditions } from "../../../core/storage/write_conditions.ts";

Deno.test("a condition that cannot be decided for now is refused because of what stops the read", async () => {
  const busy = new StorageBusyError("Busy");
  const write = new PendingDelete("key", { etags: ['"x"'] });
  await decideConditions([write], { has: () => true, etagOf: () => Promise.reject(busy) });
  assertEquals(write.failure, busy);
});
