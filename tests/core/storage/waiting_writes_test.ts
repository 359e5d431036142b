import { assertEquals } from "@std/assert";
import { PendingDelete } from "../../../core/storage/pending_write.ts";
import { WaitingWrites } from "../../../core/storage/waiting_writes.ts";

Deno.test("WaitingWrites gives back what it took, in order, however many came and went", () => {
  const waiting = new WaitingWrites();
  const push = (from: number, to: number) => {
    for (let i = from; i < to; i++) waiting.push(new PendingDelete(`k${i}`, undefined));
  };
  assertEquals([waiting.isEmpty, waiting.shift(), waiting.takeAll()], [true, undefined, []]);
  push(0, 10_000);
  for (let i = 0; i < 9000; i++) assertEquals(waiting.shift()?.key, `k${i}`);
  push(10_000, 10_010);
  assertEquals(waiting.isEmpty, false);
  const rest = waiting.takeAll().map(({ key }) => key);
  assertEquals(rest, Array.from({ length: 1010 }, (_, i) => `k${9000 + i}`));
  assertEquals(waiting.isEmpty, true);
  push(0, 1);
  assertEquals([waiting.shift()?.key, waiting.shift()], ["k0", undefined]);
});
