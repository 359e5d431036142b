import { assert, assertEquals, assertRejects } from "@std/assert";
import { Kvs, RemoteError, UnknownOutcomeError } from "../../../core/client/kvs.ts";
import { Remote } from "../../../core/client/remote.ts";
import { parseServerList } from "../../../core/client/server_list.ts";

/** How a connection ends: in order, or as that of a process that was killed. */
const CUTS = ["FIN", "RST"] as const;

/** The key whose requests are cut. */
const CUT_KEY = "cut";

/**
 * Keeps its connections and answers. The connection of a request for {@link CUT_KEY}, or of a batch, is cut when
 * the whole request is here, as often as the test says.
 */
class CuttingServer implements AsyncDisposable {
  /** Requests that may not be sent twice, as often as they came. */
  arrivals = 0;
  connections = 0;
  readonly #cut: (typeof CUTS)[number];
  readonly #cuts: number;
  readonly #listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  readonly #open = new Set<Deno.Conn>();
  readonly #serving: Promise<void>;

  /** @param cuts How many arrivals are cut; those that follow are answered 412. */
  constructor(cut: (typeof CUTS)[number], cuts = Infinity) {
    this.#cut = cut;
    this.#cuts = cuts;
    this.#serving = this.#serve();
  }

  get address(): string {
    const { hostname, port } = this.#listener.addr;
    return `${hostname}:${port}`;
  }

  async #serve(): Promise<void> {
    const answering: Promise<void>[] = [];
    for await (const conn of this.#listener) {
      this.connections++;
      this.#open.add(conn);
      // That the client closes a connection is no failure.
      answering.push(this.#answer(conn).catch(() => {}).finally(() => this.#close(conn)));
    }
    await Promise.all(answering);
  }

  async #answer(conn: Deno.Conn): Promise<void> {
    while (true) {
      const toCut = await this.#read(conn);
      if (toCut && ++this.arrivals <= this.#cuts) return;
      const status = toCut ? "412 Precondition Failed" : "200 OK";
      await conn.write(
        new TextEncoder().encode(`HTTP/1.1 ${status}\r\nContent-Length: 2\r\n\r\nok`),
      );
    }
  }

  /** Reads a request; whether it is to be cut. The system resets what is closed with a byte unread. */
  async #read(conn: Deno.Conn): Promise<boolean> {
    const byte = new Uint8Array(1);
    let text = "";
    while (true) {
      if (await conn.read(byte) === null) throw new Error("The client has gone");
      text += String.fromCharCode(...byte);
      const toCut = /^\S+ \/v1\/(batch|keys\/cut) /.test(text);
      const missing = missingBytes(text);
      if (missing === 0 || (toCut && this.#cut === "RST" && missing === 1)) return toCut;
    }
  }

  #close(conn: Deno.Conn): void {
    if (this.#open.delete(conn)) conn.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#listener.close();
    for (const conn of this.#open) this.#close(conn);
    await this.#serving;
  }
}

/** How many bytes a request that begins with `text` lacks at least; 0: none. */
function missingBytes(text: string): number {
  const end = text.indexOf("\r\n\r\n");
  if (end < 0) {
    return text.endsWith("\r\n\r") && !/^content-length: [1-9]|^transfer-/mi.test(text) ? 1 : 2;
  }
  if (/^transfer-encoding: chunked/mi.test(text)) {
    return text.endsWith("\r\n0\r\n\r\n") ? 0 : text.endsWith("\r\n0\r\n\r") ? 1 : 2;
  }
  const [, length = 0] = /^content-length: (\d+)/mi.exec(text) ?? [];
  return end + 4 + Number(length) - text.length;
}

/** Everything that writes, with and without condition. */
const WRITES: Record<string, (store: Kvs, remote: Remote) => Promise<unknown>> = {
  "PUT": (store) => store.put(CUT_KEY, "value"),
  "PUT of no bytes": (store) => store.put(CUT_KEY, ""),
  "PUT of a stream": (store) => store.put(CUT_KEY, new Blob(["value"]).stream()),
  "PUT if absent": (store) => store.put(CUT_KEY, "value", { ifAbsent: true }),
  "PUT if it matches": (store) => store.put(CUT_KEY, "value", { ifMatch: '"e"' }),
  "DELETE": (store) => store.delete(CUT_KEY),
  "DELETE if it matches": (store) => store.delete(CUT_KEY, { ifMatch: '"e"' }),
  "POST of a batch": (_, remote) => remote.batch('{"op":"delete","key":"k","ifMatch":"*"}\n'),
  "PUT of rebalance": (_, remote) =>
    remote.put(CUT_KEY, { bytes: new Uint8Array(9), contentType: "x/y" }),
};

for (const cut of CUTS) {
  for (const [name, write] of Object.entries(WRITES)) {
    Deno.test(`${name} is not sent again when ${cut} cuts a kept connection behind it`, async () => {
      await using server = new CuttingServer(cut);
      const store = await Kvs.open(server.address, { patienceMs: 0 });
      const [address] = parseServerList(server.address, "LIST");
      assert(address !== undefined);
      assertEquals((await store.get("kept"))?.text, "ok");
      const failure = await assertRejects(
        () => write(store, new Remote(address, { timeoutMs: 10_000 })),
        RemoteError,
      );
      assertEquals(failure.neverSent, false);
      // One connection: it was a kept one that was cut.
      assertEquals([server.arrivals, server.connections], [1, 1]);
    });
  }

  Deno.test(`Kvs does not take a write that ${cut} cut off for one that changed nothing`, async () => {
    await using server = new CuttingServer(cut, 1);
    const store = await Kvs.open(server.address);
    assertEquals((await store.get("kept"))?.text, "ok");
    await assertRejects(
      () => store.put(CUT_KEY, "value", { ifAbsent: true }),
      UnknownOutcomeError,
    );
    assertEquals(server.arrivals, 2);
  });
}

Deno.test("Kvs keeps its connection for what it asks one after the other", async () => {
  await using server = new CuttingServer("FIN");
  const store = await Kvs.open(server.address);
  for (let n = 0; n < 3; n++) assertEquals((await store.get("kept"))?.text, "ok");
  assertEquals(server.connections, 1);
});
