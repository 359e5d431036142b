import { assert, assertEquals } from "@std/assert";
import { Server, TempDir, until } from "./program.ts";

/** More connections than a server may have files open with `ulimit -n 256`. */
const CLIENTS = 300;

/** Sends one request on a connection that stays open; resolves to the status line. */
async function ask(conn: Deno.Conn, path: string): Promise<string> {
  await conn.write(new TextEncoder().encode(`GET ${path} HTTP/1.1\r\nHost: localhost\r\n\r\n`));
  const buffer = new Uint8Array(4096);
  const size = await conn.read(buffer);
  return new TextDecoder().decode(buffer.subarray(0, size ?? 0)).split("\r\n")[0] ?? "";
}

for (const files of [128, 256, 1024]) {
  Deno.test(`a server that may open ${files} files stays up with more clients than that`, async () => {
    await using dir = new TempDir();
    const shell = `ulimit -n ${files}`;
    await using server = await Server.start(dir.path, [], 0, { shell });
    await server.line(
      new RegExp(` connections=${(files - 64) / 2} maxConnections=4096 openFiles=${files}$`),
    );
    const conns: Deno.Conn[] = [];
    try {
      for (let i = 0; i < Math.max(CLIENTS, files + 50); i++) {
        const conn = await Deno.connect({ hostname: "127.0.0.1", port: server.port });
        conns.push(conn);
        // All stay open; the oldest that nobody uses makes room.
        assertEquals(await ask(conn, `/save/k${i}/v`), "HTTP/1.1 200 OK");
      }
      // By now the values have become files, again and again.
      assertEquals((await server.ask("/load/k7")).body, "v");
      assertEquals((await server.ask("/healthz")).status, 200);
    } finally {
      for (const conn of conns) conn.close();
    }
    assertEquals(server.stderr.filter((line) => / error /.test(line)), []);
    server.kill("SIGINT");
    assertEquals(await server.exit(), 0);
  });
}

Deno.test("a server raises the limit of open files as far as it may", async () => {
  await using dir = new TempDir();
  const shell = "ulimit -Sn 128";
  await using server = await Server.start(dir.path, ["--max-connections", "500"], 0, { shell });
  const limits = await Deno.readTextFile(`/proc/${server.pid}/limits`);
  const [, soft = "", hard = ""] = /^Max open files +(\S+) +(\S+)/m.exec(limits) ?? [];
  assertEquals(soft, hard);
  assert(!server.stderr.some((line) => line.includes("fewer connections")));
});

Deno.test("a write past the limit of a file's size is refused with 507, and the server goes on", async () => {
  await using dir = new TempDir();
  // Blocks of 512 bytes: room for 1,024,000.
  const shell = "ulimit -f 2000";
  await using server = await Server.start(dir.path, [], 0, { shell });
  const put = async (key: string, bytes: number) => {
    const body = new Uint8Array(bytes);
    return (await server.ask(`/v1/keys/${key}`, { method: "PUT", body })).status;
  };
  assertEquals((await server.ask("/save/large/old")).body, "old");
  assertEquals(await put("large", 2_000_000), 507);
  assertEquals((await server.ask("/load/large")).body, "old");
  assertEquals(await put("alone", 60_000), 201);
  // So many that no segment of the journal has room for them. All that come in one batch are refused together.
  const statuses = await Promise.all(Array.from({ length: 40 }, (_, i) => put(`k${i}`, 60_000)));
  assertEquals(statuses.filter((status) => status !== 201 && status !== 507), []);
  // Those that were saved become files, which makes room for others.
  await until("there is room again", async () => await put("later", 60_000) < 300 || undefined);
  assertEquals((await server.ask("/healthz")).status, 200);
  server.kill("SIGINT");
  assertEquals(await server.exit(), 0);
});
