import { assertEquals } from "@std/assert";
import { Poll } from "../../../core/page/poll.ts";
import { parseServerList } from "../../../core/client/server_list.ts";

/** A server that answers by path, and counts who asks for what. */
function serve(answers: Record<string, () => Response>) {
  const asked: string[] = [];
  const server = Deno.serve({ port: 0, hostname: "127.0.0.1", onListen() {} }, (request) => {
    const { pathname } = new URL(request.url);
    asked.push(pathname);
    return answers[pathname]?.() ?? new Response("no", { status: 404 });
  });
  return {
    asked,
    address: `127.0.0.1:${server.addr.port}`,
    [Symbol.asyncDispose]: () => server.shutdown(),
  };
}

Deno.test("a poll counts keys by /v1/stats, and lists those of other makes only now and then", async () => {
  let keys = 7;
  await using own = serve({ "/v1/stats": () => Response.json({ keys, freeBytes: 1 }) });
  await using foreign = serve({ "/allKeys": () => new Response("a,b,c") });
  await using stopping = serve({
    "/v1/stats": () => new Response("_shutting_down_", { status: 503 }),
  });
  await using odd = serve({
    "/v1/stats": () => new Response("<html>"),
    "/allKeys": () => new Response("no", { status: 403 }),
  });
  const servers = parseServerList(
    [own, foreign, stopping, odd].map(({ address }) => address).join(",") + ",127.0.0.1:1",
    "list",
  );
  const poll = new Poll({ timeoutMs: 5000 });
  assertEquals(poll.readings(servers).map(({ state }) => state).join(""), "?????");
  assertEquals(await poll.ask(servers), true);
  assertEquals(poll.readings(servers), [
    { state: "u", keys: 7 },
    { state: "u", keys: 3 },
    { state: "5", keys: null },
    { state: "4", keys: null },
    { state: ".", keys: null },
  ]);
  keys = 8;
  const [first, second] = [poll.ask(servers), poll.ask(servers)];
  assertEquals([await first, await second], [true, false]);
  assertEquals(poll.readings(servers).map(({ keys }) => keys), [8, 3, null, null, null]);
  assertEquals(foreign.asked, ["/v1/stats", "/allKeys", "/v1/stats"]);
  // Servers that left the list are forgotten, those that are new are asked.
  const [, ...rest] = servers;
  await poll.ask(rest);
  assertEquals(poll.readings(servers)[0], { state: "?", keys: null });
});
