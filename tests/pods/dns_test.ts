import { assertEquals } from "@std/assert";
import { answerTo } from "./dns.ts";

const TYPE_A = 1;
const TYPE_AAAA = 28;
const ADDRESSES = ["10.0.0.7", "10.0.0.8"];

/** A query as a resolver sends it: id 0x1234, recursion desired, one question. */
function query(name: string, type: number): Uint8Array {
  const labels = name.split(".").flatMap((label) => [
    label.length,
    ...new TextEncoder().encode(label),
  ]);
  return Uint8Array.of(0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, ...labels, 0, 0, type, 0, 1);
}

function ask(name: string, type: number) {
  const sent = query(name, type);
  const answer = answerTo(sent, (asked) => asked === "server.local" ? ADDRESSES : undefined);
  if (answer === undefined) return undefined;
  return {
    id: [...answer.subarray(0, 2)],
    code: (answer[3] ?? 0) & 15,
    count: answer[7],
    // Each record is 16 bytes: a pointer to the name, type, class, TTL, length, and the address.
    addresses: Array.from(
      { length: (answer.length - sent.length) / 16 },
      (_, at) => answer.subarray(sent.length + at * 16 + 12, sent.length + at * 16 + 16).join("."),
    ),
  };
}

Deno.test("answerTo() gives the addresses of a name, in any case of its letters", () => {
  const found = { id: [0x12, 0x34], code: 0, count: 2, addresses: ADDRESSES };
  assertEquals(ask("server.local", TYPE_A), found);
  assertEquals(ask("SERVER.Local", TYPE_A), found);
});

Deno.test("answerTo() tells a name without such an address from one that is not there", () => {
  const nothing = { id: [0x12, 0x34], count: 0, addresses: [] };
  assertEquals(ask("server.local", TYPE_AAAA), { ...nothing, code: 0 });
  assertEquals(ask("other.local", TYPE_A), { ...nothing, code: 3 });
});

Deno.test("answerTo() does not answer what is no query", () => {
  const cut = query("server.local", TYPE_A).subarray(0, 20);
  assertEquals(answerTo(cut, () => ADDRESSES), undefined);
  assertEquals(answerTo(new Uint8Array(5), () => ADDRESSES), undefined);
});
