import { assertEquals, assertThrows } from "@std/assert";
import { parseServerList } from "../../../core/client/server_list.ts";
import { UsageError } from "../../../core/errors.ts";
import { namesOf } from "../../../core/scale/goal.ts";

function servers(text: string) {
  return parseServerList(text, "a list");
}

Deno.test("a number continues the names of the layout", () => {
  const two = servers("server-0.server,server-1.server");
  assertEquals(namesOf(3, two), ["server-0.server", "server-1.server", "server-2.server"]);
  assertEquals(namesOf(1, two), ["server-0.server"]);
  assertEquals(namesOf(2, servers("kvs-0:8000")), ["kvs-0:8000", "kvs-1:8000"]);
  assertEquals(namesOf(2, servers("my-0-kvs-0")), ["my-0-kvs-0", "my-0-kvs-1"]);
});

Deno.test("names without a pattern take a list to grow, and none to shrink", () => {
  const ports = servers("127.0.0.1:4000,127.0.0.1:4001");
  assertEquals(namesOf(1, ports), ["127.0.0.1:4000"]);
  assertThrows(() => namesOf(3, ports), UsageError, "pattern");
  assertThrows(() => namesOf(3, servers("a-0,b-1")), UsageError, "pattern");
});

Deno.test("a list keeps the names of the layout, and its anchor first", () => {
  const one = servers("server-0.server");
  const goal = servers("server-0.server:80,server-1.server");
  assertEquals(namesOf(goal, one), ["server-0.server", "server-1.server"]);
  assertThrows(() => namesOf(servers("b,server-0.server"), one), UsageError, "anchor");
});
