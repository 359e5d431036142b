/** Connections that send noise: each gets an error or the end, and the server goes on. */
import { assert, assertEquals } from "@std/assert";
import { pooledMap } from "@std/async/pool";
import { type HttpRequest } from "../../../core/http/types.ts";
import { Client, fromLatin1, latin1, text, withServer } from "./testing.ts";

/** Noise that looks like HTTP more or less. */
function garbage(random: () => number): Uint8Array<ArrayBuffer> {
  const pieces = [
    "GET ",
    "PUT / HTTP/1.1\r\n",
    "GET / HTTP/1.1\r\nHost: x\r\n",
    " HTTP/1.1\r\n",
    "Host: x\r\n",
    "Content-Length: 5\r\n",
    "Content-Length: -1\r\n",
    "Transfer-Encoding: chunked\r\n",
    "Transfer-Encoding: gzip\r\n",
    "Expect: 100-continue\r\n",
    "\r\n",
    "\r\n\r\n",
    "\n",
    "\r",
    "\0",
    ":",
    " ",
    "0\r\n\r\n",
    "ffffffff\r\n",
    "5\r\nhello\r\n",
    "/".repeat(5000),
    "A: " + "b".repeat(9000) + "\r\n",
    "A: b\r\n".repeat(101),
    "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
  ];
  let text = "";
  const count = Math.floor(random() * 8);
  for (let i = 0; i < count; i++) {
    if (random() < 0.7) {
      text += pieces[Math.floor(random() * pieces.length)] ?? "";
    } else {
      const size = Math.floor(random() * 50);
      for (let j = 0; j < size; j++) text += String.fromCharCode(Math.floor(random() * 256));
    }
  }
  return latin1(text);
}

Deno.test("10,000 connections of noise get an error or the end, and the server lives on", async () => {
  const handler = async ({ body }: HttpRequest) => {
    try {
      await body?.bytes(1000);
    } catch {
      return text("bad body", 400);
    }
    return text("ok");
  };
  let answered = 0;
  let refused = 0;
  await withServer(handler, { bodyTimeoutMs: 2000 }, async ({ port }) => {
    const noise = async () => {
      using client = await Client.connect(port);
      const bytes = garbage(Math.random);
      await client.trySend(bytes);
      await client.conn.closeWrite().catch(() => {});
      const got = await client.rest();
      const statuses = [...got.matchAll(/(?:^|\n|ok|body)HTTP\/1\.1 (\d\d\d)/g)].map((it) => it[1]);
      // After an error there is nothing more.
      for (const [i, status = ""] of statuses.entries()) {
        if (status === "200" || status === "100") continue;
        assert(/^[45]/.test(status), status);
        if (fromLatin1(bytes).includes("Content-Length") || status === "400") continue;
        assertEquals(i, statuses.length - 1, got);
      }
      if (got !== "") answered++;
      if (statuses.some((status = "") => /^[45]/.test(status))) refused++;
    };
    for await (const _ of pooledMap(50, Array.from({ length: 10_000 }, (_, i) => i), noise));
    using client = await Client.connect(port);
    await client.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    assertEquals((await client.response())?.body, "ok");
  });
  assert(answered > 5000 && refused > 4000, `${answered} answered, ${refused} refused`);
});
