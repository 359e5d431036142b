/** Answers that are streams, and bodies that are as long. */
import {
  assert,
  assertEquals,
  assertGreater,
  assertMatch,
  assertStringIncludes,
} from "@std/assert";
import { type HttpHandler } from "../../../core/http/types.ts";
import { Client, GET, talk, text, until, withServer } from "./testing.ts";

Deno.test("serveHttp() streams large bodies up and down at the pace of the slower side", async () => {
  const size = 64 << 20;
  let received = 0;
  let pulled = 0;
  let largest = 0;
  const gate = Promise.withResolvers<void>();
  const handler: HttpHandler = async ({ method, body }) => {
    if (method === "PUT") {
      for await (const piece of body?.chunks(size) ?? []) {
        largest = Math.max(largest, piece.length);
        received += piece.length;
        if (received > 1 << 20) await gate.promise;
      }
      return text(`${received}`);
    }
    const source = new ReadableStream<Uint8Array>({
      pull(controller) {
        if (pulled === size) return controller.close();
        controller.enqueue(new Uint8Array(65_536));
        pulled += 65_536;
      },
    });
    return { status: 200, body: source };
  };
  await withServer(handler, {}, async ({ port }) => {
    using client = await Client.connect(port);
    let sent = 0;
    const sending = (async () => {
      await client.send("PUT / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n");
      const piece = new Uint8Array(100_000);
      while (sent + piece.length <= size) {
        await client.send("186a0\r\n");
        await client.send(piece);
        await client.send("\r\n");
        sent += piece.length;
      }
      await client.send("0\r\n\r\n");
    })();
    await until(() => received > 1 << 20, "the first mebibyte");
    let before = -1;
    await until(() => {
      const stands = sent === before;
      before = sent;
      return stands;
    }, "the sender to be held up");
    assert(sent < size / 2, `${sent} bytes went into a reader that stands`);
    gate.resolve();
    await sending;
    assertEquals((await client.response())?.body, String(sent));
    assert(largest <= 65_536);

    await client.send(GET);
    await client.readTo("\r\n\r\n");
    await until(() => {
      const stands = pulled === before;
      before = pulled;
      return stands;
    }, "the source to be held up");
    assert(pulled < size / 2, `${pulled} bytes were taken for a client that does not read`);
  });
});

Deno.test("serveHttp() sends streams with a length as they are, without one in chunks", async () => {
  const handler: HttpHandler = ({ query }) => ({
    status: 200,
    headers: query === "" ? {} : { "content-length": query },
    body: new ReadableStream({
      start(controller) {
        for (const size of [0, 1, 20_000, 0, 5]) controller.enqueue(new Uint8Array(size).fill(97));
        controller.close();
      },
    }),
  });
  await withServer(handler, {}, async ({ port, errors }) => {
    using client = await Client.connect(port);
    for (const query of ["", "20006"]) {
      await client.send(`GET /?${query} HTTP/1.1\r\nHost: x\r\n\r\n`);
      const answer = await client.response();
      assertEquals(answer?.headers.get("transfer-encoding"), query === "" ? "chunked" : undefined);
      assert(answer?.body === "a".repeat(20_006));
    }
    // 1.0 knows no chunks: the end of the connection is that of the body.
    const old = await talk(port, "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    assertMatch(old, /connection: close\r\n(?!.*transfer-encoding)[^]*\r\n\r\na{20006}$/);
    assertEquals(errors, []);
    for (const query of ["20005", "20007"]) {
      const cut = await talk(port, `GET /?${query} HTTP/1.1\r\nHost: x\r\n\r\n`);
      assertGreater(Number(query), cut.length - cut.indexOf("\r\n\r\n") - 4 - 1);
      assertEquals(errors.splice(0).length, 1);
    }
  });
});

Deno.test("serveHttp() cuts a stream that fails on the way, so that it cannot pass for whole", async () => {
  let pulls = 0;
  const handler: HttpHandler = () => ({
    status: 200,
    body: new ReadableStream({
      pull(controller) {
        if (pulls++ > 2) throw new Error("disk");
        controller.enqueue(new Uint8Array(1000));
      },
    }),
  });
  await withServer(handler, {}, async ({ port, errors }) => {
    const answer = await talk(port, GET);
    assertStringIncludes(answer, "transfer-encoding: chunked");
    assert(!answer.endsWith("0\r\n\r\n"));
    assertEquals(errors.splice(0).length, 1);
  });
});

Deno.test("serveHttp() cancels a stream whose client goes", async () => {
  let cancelled = 0;
  const handler: HttpHandler = () => ({
    status: 200,
    body: new ReadableStream<Uint8Array>({
      pull: (controller) => controller.enqueue(new Uint8Array(65_536)),
      cancel() {
        cancelled++;
      },
    }),
  });
  await withServer(handler, {}, async ({ port, server }) => {
    for (let i = 0; i < 10; i++) {
      using client = await Client.connect(port);
      await client.send(GET);
      await client.readTo("\r\n\r\n");
    }
    await until(() => server.connections === 0, "the connections to end");
  });
  assertEquals(cancelled, 10);
});
