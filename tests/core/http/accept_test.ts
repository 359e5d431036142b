import { assertEquals } from "@std/assert";
import { serveHttp } from "../../../core/http/server.ts";
import { Authority } from "../../certificates.ts";
import { Client, GET, hello, RELAXED, withServer } from "./testing.ts";
import { resetConnections } from "./resets.ts";

/** Fewer than the system queues. */
const RESETS = 100;

Deno.test("connections that were reset before they are accepted are passed over and counted", async () => {
  await withServer(hello, {}, async ({ port, server, errors }) => {
    // Nothing is accepted before this returns.
    resetConnections(port, RESETS);
    using client = await Client.connect(port);
    await client.send(GET);
    assertEquals((await client.response())?.body, "hello");
    assertEquals(errors, []);
    assertEquals(server.abandoned, RESETS);
  });
});

Deno.test("a TLS listener passes over them too", async () => {
  const authority = await Authority.create();
  const { cert, key } = await authority.sign();
  const listener = Deno.listenTls({ hostname: "127.0.0.1", port: 0, cert, key });
  const errors: unknown[] = [];
  const server = serveHttp(listener, hello, { ...RELAXED, onError: (error) => errors.push(error) });
  using client = Deno.createHttpClient({ caCerts: [authority.cert] });
  try {
    resetConnections(server.addr.port, RESETS);
    const answer = await fetch(`https://127.0.0.1:${server.addr.port}/`, { client });
    assertEquals([await answer.text(), errors], ["hello", []]);
  } finally {
    server.close();
  }
});
