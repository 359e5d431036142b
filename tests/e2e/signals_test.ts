import { assertEquals } from "@std/assert";
import { Running, Server, TempDir } from "./program.ts";

Deno.test("SIGHUP stops a server as SIGTERM does: 503 for the drain period, then exit 0", async () => {
  await using dir = new TempDir();
  await using server = await Server.start(dir.path, ["--drain", "2"]);
  server.kill("SIGHUP");
  await server.line(/ stopping signal=SIGHUP drainSeconds=2$/);
  assertEquals((await server.ask("/load/a")).body, "_shutting_down_");
  // A terminal that is closed says so in several ways.
  server.kill("SIGHUP");
  assertEquals(await server.exit(), 0);
});

Deno.test("a server that was started with SIGHUP ignored goes on at SIGHUP", async () => {
  await using dir = new TempDir();
  await using server = await Server.start(dir.path, [], 0, { shell: "trap '' HUP" });
  server.kill("SIGHUP");
  assertEquals((await server.ask("/save/a/b")).body, "b");
  server.kill("SIGINT");
  await server.line(/ stopping signal=SIGINT/);
  assertEquals(await server.exit(), 0);
});

Deno.test("a client ends with the exit code of the signal that stops it", async () => {
  for (const [signal, code] of [["SIGHUP", 129], ["SIGINT", 130], ["SIGTERM", 143]] as const) {
    await using client = new Running(["client", "127.0.0.1:1"]);
    await client.line(/hits = 0/);
    client.kill(signal);
    assertEquals(await client.exit(), code);
  }
});
