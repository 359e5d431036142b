import { assertEquals, assertThrows } from "@std/assert";
import { UsageError } from "../../../core/errors.ts";
import { parseServerList, placeOf } from "../../../core/client/server_list.ts";

Deno.test("parseServerList() notices one server in two spellings", () => {
  const table: readonly [string, string][] = [
    ["a,b,a", "Duplicate server in LIST: a"],
    ["a,a:80", "a:80 is a"],
    ["http://a:443,https://a", "a is a:443"],
    ["server-0.server,Server-0.server.", "Server-0.server. is server-0.server"],
    ["127.0.0.1:8000,127.1:8000", "127.1:8000 is 127.0.0.1:8000"],
    ["127.0.0.1,0x7f.1", "0x7f.1 is 127.0.0.1"],
    ["127.0.0.1,127.0.0.1.", "127.0.0.1. is 127.0.0.1"],
    ["[::1]:8000,[0:0:0:0:0:0:0:1]:8000", "[0:0:0:0:0:0:0:1]:8000 is [::1]:8000"],
    ["[FE80::A],[fe80:0::a]", "[fe80:0::a] is [FE80::A]"],
    ["10.1.2.3,[::ffff:10.1.2.3]", "[::ffff:10.1.2.3] is 10.1.2.3"],
  ];
  for (const [list, message] of table) {
    assertThrows(() => parseServerList(list, "LIST"), UsageError, message);
  }
});

Deno.test("parseServerList() leaves servers two that may be two", () => {
  for (const list of ["a,a:81", "localhost,127.0.0.1", "a,a.b", "[::1],127.0.0.1", "a_b,a-b"]) {
    assertEquals(parseServerList(list, "LIST").map(({ name }) => name), list.split(","));
  }
});

Deno.test("parseServerList() refuses what looks like an address and is none", () => {
  for (const item of ["999.1.1.1", "1.2.3.4.5", "[::1::2]"]) {
    assertThrows(
      () => parseServerList(item, "LIST"),
      UsageError,
      `LIST: no such address: "${item}"`,
    );
  }
});

Deno.test("placeOf() is one text for an address, and requests keep the dot at the end", () => {
  const [server] = parseServerList("Server-0.Server.:8080", "LIST");
  assertEquals(server?.origin, "http://server-0.server.:8080");
  assertEquals(server && placeOf(server), "server-0.server:8080");
});
