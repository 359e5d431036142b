import { assert, assertEquals, assertLess } from "@std/assert";
import { Server, TempDir } from "./program.ts";

/** Together these values make an answer of almost 8 MiB, which is the most that a batch gives. */
const VALUES = 140;
const VALUE = "x".repeat(56 * 1024);

/** What the manifests allow a server (bytes). */
const MEMORY_LIMIT = 512 * 1024 * 1024;

const GETS = operations((key) => ({ op: "get", key }));

function operations(operation: (key: string) => Record<string, string>): string {
  return Array.from({ length: VALUES }, (_, i) => JSON.stringify(operation(`k${i}`))).join("\n");
}

/** Starts a server that holds the values. */
async function startWithValues(dir: TempDir, args: readonly string[] = []): Promise<Server> {
  const server = await Server.start(dir.path, args);
  const body = operations((key) => ({ op: "put", key, value: VALUE }));
  const { status } = await server.ask("/v1/batch", { method: "POST", body });
  assertEquals(status, 200);
  return server;
}

/** Asks for all of them in one batch; reads the answer only where `reads`. */
async function getAll(server: Server, reads: boolean): Promise<Deno.Conn> {
  const conn = await Deno.connect({ hostname: "127.0.0.1", port: server.port });
  const head = `POST /v1/batch HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n` +
    `Content-Length: ${GETS.length}\r\n\r\n`;
  const bytes = new TextEncoder().encode(head + GETS);
  for (let at = 0; at < bytes.length;) at += await conn.write(bytes.subarray(at));
  if (reads) {
    let size = 0;
    for await (const chunk of conn.readable) size += chunk.length;
    assert(size > VALUES * VALUE.length, `${size} bytes`);
  }
  return conn;
}

Deno.test("many batches with large answers at once do not fill the memory, and all are answered", async () => {
  await using dir = new TempDir();
  await using server = await startWithValues(dir);
  await Promise.all(Array.from({ length: 40 }, () => getAll(server, true)));
  const status = await Deno.readTextFile(`/proc/${server.pid}/status`);
  const peak = Number(/^VmHWM:\s+(\d+) kB$/m.exec(status)?.[1]) * 1024;
  assertLess(peak, MEMORY_LIMIT);
});

Deno.test("batches whose clients read nothing do not keep others from their answers", async () => {
  await using dir = new TempDir();
  await using server = await startWithValues(dir, ["--body-timeout", "1"]);
  const silent = await Promise.all(Array.from({ length: 10 }, () => getAll(server, false)));
  try {
    await getAll(server, true);
  } finally {
    for (const conn of silent) conn.close();
  }
});
