import { assertEquals, assertRejects, assertThrows } from "@std/assert";
import { expandServerList, hasUncounted, parseNameServer } from "../../../core/client/discovery.ts";
import { DiscoveryError, UsageError } from "../../../core/errors.ts";
import { type Scheme } from "../../../core/client/server_list.ts";

const RECORDS: Record<string, [string, number][]> = {
  late: [["server-1.s.", 80], ["server-2.s.", 80]],
  three: [["server-2.s.", 80], ["SERVER-0.s.", 8000], ["server-1.s.", 80]],
  eleven: Array.from({ length: 11 }, (_, n) => [`a-b-${10 - n}.s.`, 80]),
  gap: [["server-0.s.", 80], ["server-2.s.", 80]],
  ports: [["server-0.s.", 80], ["server-0.s.", 9090], ["server-1.s.", 80]],
  plain: [["b.test.", 80], ["a.test.", 81], ["a.test.", 80]],
  "two-sets": [["b-0.s.", 80], ["a-1.s.", 80], ["a-0.s.", 80]],
  nothing: [[".", 1]],
  tls: [["server-0.s.", 443], ["server-1.s.", 80]],
};

function expand(text: string, scheme?: Scheme): Promise<string> {
  const lookup = (name: string) => {
    const record = RECORDS[name];
    if (record === undefined) return Promise.reject(new DiscoveryError(`no ${name}`));
    return Promise.resolve(record.map(([target, port]) => ({ target, port })));
  };
  return expandServerList(text, "LIST", lookup, scheme);
}

Deno.test("expandServerList() leaves a plain list as it is, but for blanks", async () => {
  for (const list of ["a", "a,b:80", "[::1]:8000,a", "", "a,,b"]) {
    assertEquals(await expand(list), list);
  }
  assertEquals(await expand(" a , b:1 "), "a,b:1");
});

Deno.test("expandServerList() expands braces as a shell does", async () => {
  const cases = [
    ["server-{0..2}.server", "server-0.server,server-1.server,server-2.server"],
    ["s{0..1}:80{8..9}", "s0:808,s0:809,s1:808,s1:809"],
    ["s{2..0}", "s2,s1,s0"],
    ["s{08..11}", "s08,s09,s10,s11"],
    ["s{9..010}", "s009,s010"],
    ["s{5..5},t", "s5,t"],
    ["{a,b}.x", "a.x,b.x"],
    ["s-{a,b}:8000,t", "s-a:8000,s-b:8000,t"],
  ];
  for (const [text = "", list] of cases) assertEquals([text, await expand(text)], [text, list]);
  // As a shell does with what is no sequence: left as it is, for the list's own rules to refuse.
  for (const text of ["s{0..}", "s{a..c}", "s{0}", "s{}"]) assertEquals(await expand(text), text);
  await assertRejects(() => expand("s{0..10000}"), UsageError, "Too many servers in LIST");
  await assertRejects(() => expand("s{0..999}{0..999}"), UsageError, "Too many servers in LIST");
});

Deno.test("expandServerList() puts targets in the order of their ordinals, with their ports", async () => {
  const cases = [
    ["srv:three", "server-0.s:8000,server-1.s,server-2.s"],
    ["srv:three/3", "server-0.s:8000,server-1.s,server-2.s"],
    ["x,srv:three,y", "x,server-0.s:8000,server-1.s,server-2.s,y"],
    ["srv:eleven", Array.from({ length: 11 }, (_, n) => `a-b-${n}.s`).join(",")],
    ["srv:plain", "a.test,a.test:81,b.test"],
    ["srv:two-sets", "a-0.s,a-1.s,b-0.s"],
  ];
  for (const [text = "", list] of cases) assertEquals([text, await expand(text)], [text, list]);
});

Deno.test("expandServerList() gives targets the scheme of their item, and never another port", async () => {
  const cases: [string, Scheme | undefined, string][] = [
    ["srv:tls", undefined, "server-0.s:443,server-1.s"],
    ["srv:tls", "https", "server-0.s,server-1.s:80"],
    ["https://srv:tls/2", undefined, "https://server-0.s,https://server-1.s:80"],
    ["http://srv:tls", "https", "http://server-0.s:443,http://server-1.s"],
  ];
  for (const [text, scheme, list] of cases) assertEquals(await expand(text, scheme), list);
});

Deno.test("expandServerList() refuses a record that would send keys to the wrong servers", async () => {
  const cases = [
    ["srv:gap", "srv:gap names server-2.s, but no ordinal 1: "],
    ["srv:ports", "srv:ports names server-0.s with several ports: "],
    ["srv:nothing", "srv:nothing names no server"],
    ["srv:three/4", "srv:three names 3 servers, not 4"],
    ["srv:late", "but no ordinal 0"],
    ["srv:unknown", "no unknown"],
  ];
  for (const [text = "", message = ""] of cases) {
    await assertRejects(() => expand(text), DiscoveryError, message);
  }
  for (const text of ["srv:", "srv:a b", "srv:a/b", "srv:/3"]) {
    await assertRejects(() => expand(text), UsageError, "expected srv:NAME or srv:NAME/COUNT");
  }
});

Deno.test("hasUncounted() finds the items that do not say how many they stand for", () => {
  const cases: [string, boolean][] = [["a,b", false], ["srv:a/3,b", false], ["b, srv:a", true], [
    "https://srv:a",
    true,
  ]];
  for (const [text, found] of cases) assertEquals([text, hasUncounted(text)], [text, found]);
});

Deno.test("parseNameServer() takes an address with or without port", () => {
  const cases: [string, string, number][] = [
    ["10.0.0.10", "10.0.0.10", 53],
    ["127.0.0.1:5353", "127.0.0.1", 5353],
    ["::1", "::1", 53],
    ["[fd00::a]:5353", "fd00::a", 5353],
  ];
  for (const [text, ipAddr, port] of cases) assertEquals(parseNameServer(text), { ipAddr, port });
  for (const text of ["dns", "1.2.3.4:0", "1.2.3.4:99999", "[::1", "1.2.3.4:"]) {
    assertThrows(() => parseNameServer(text), UsageError, "expected an IP address");
  }
});
