import { assert, assertEquals } from "@std/assert";
import { fromFileUrl } from "@std/path";
import { Kvs } from "@kvs/kvs";
import { visit } from "../../examples/visits.ts";
import { Server, TempDir } from "./program.ts";

const VISITS = fromFileUrl(new URL("../../examples/visits.ts", import.meta.url));

Deno.test("examples/visits.ts runs as it says, with net only and nothing but the library", async () => {
  await using dir = new TempDir();
  // As a project of somebody else, whose import map knows none of the packages that kvs uses.
  const imports = { "@kvs/kvs": import.meta.resolve("@kvs/kvs") };
  await Deno.writeTextFile(dir.join("deno.json"), JSON.stringify({ imports }));
  await using server = await Server.start(dir.join("data"));
  for (const count of [1, 2]) {
    const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
      args: ["run", "--config", "deno.json", "--no-remote", "--allow-net"].concat(
        [VISITS, server.address, "page"],
      ),
      cwd: dir.path,
      env: { NO_COLOR: "1" },
    }).output();
    const decoder = new TextDecoder();
    assertEquals([code, decoder.decode(stderr)], [0, ""]);
    const place = `visits/page is on ${server.address}`;
    assertEquals(decoder.decode(stdout), `page: ${count}\n${place}\n`);
  }
});

Deno.test("visits counted at the same time are all counted", async () => {
  await using dir = new TempDir();
  await using server = await Server.start(dir.path);
  const store = await Kvs.open(server.address);
  const visits = Array.from({ length: 40 }, () => visit(store, "page"));
  const counts = (await Promise.all(visits)).sort((a, b) => a - b);
  assert(counts.every((count, at) => count === at + 1), counts.join());
});
