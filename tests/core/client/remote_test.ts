import { assertEquals, assertRejects } from "@std/assert";
import { delay } from "@std/async/delay";
import { RemoteError } from "../../../core/errors.ts";
import { Remote } from "../../../core/client/remote.ts";

/** How long a server may be silent, and what a slow one takes for one piece of a value (ms). */
const TIMEOUT_MS = 1000;
const PIECE_MS = 100;

/** More pieces than a server that takes so long for each could send within the time-out. */
const PIECES = 15;

const PIECE = new Uint8Array(8 * 1024).fill(97);

function remoteAt(port: number): Remote {
  const name = `127.0.0.1:${port}`;
  return new Remote({ name, origin: `http://${name}` }, { timeoutMs: TIMEOUT_MS });
}

/** A server that answers with pieces, one after the other, and says before how many bytes they are. */
function slowServer(pieces: number): Deno.HttpServer<Deno.NetAddr> {
  return Deno.serve({ port: 0, hostname: "127.0.0.1", onListen() {} }, () => {
    const body = async function* () {
      for (let n = 0; n < pieces; n++) {
        await delay(PIECE_MS);
        yield PIECE;
      }
      if (pieces < PIECES) await delay(10 * TIMEOUT_MS);
    };
    return new Response(ReadableStream.from(body()), {
      headers: { "content-length": `${PIECES * PIECE.length}` },
    });
  });
}

Deno.test("Remote waits for a value for as long as some of it comes", async () => {
  await using server = slowServer(PIECES);
  const remote = remoteAt(server.addr.port);
  const gets: (() => Promise<{ readonly length: number } | undefined>)[] = [
    async () => (await remote.get("k"))?.bytes,
    () => remote.load("k"),
    () => remote.batch('{"op":"get","key":"k"}\n'),
  ];
  const lengths = await Promise.all(gets.map(async (get) => (await get())?.length));
  assertEquals(lengths, gets.map(() => PIECES * PIECE.length));
});

Deno.test("Remote gives up when a server falls silent within a value", async () => {
  await using server = slowServer(2);
  const remote = remoteAt(server.addr.port);
  const error = await assertRejects(() => remote.get("k"), RemoteError);
  assertEquals([error.message, error.timedOut], [
    `${remote.server.name} cannot be reached: no answer within ${TIMEOUT_MS} ms`,
    true,
  ]);
});

Deno.test("Remote sends a value for as long as the server takes some of it", async () => {
  const value = new Uint8Array(8 * 1024 ** 2);
  const slowness = { pieceMs: PIECE_MS, bytes: value.length / 16 };
  await using server = Deno.serve(
    { port: 0, hostname: "127.0.0.1", onListen() {} },
    async (request) => {
      let taken = 0;
      let rested = 0;
      for await (const chunk of request.body ?? []) {
        taken += chunk.length;
        if (taken < rested + slowness.bytes) continue;
        rested = taken;
        await delay(slowness.pieceMs);
      }
      return new Response(null, { status: taken === value.length ? 201 : 400 });
    },
  );
  const remote = remoteAt(server.addr.port);
  await remote.put("k", { bytes: value });
});
