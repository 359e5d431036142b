import { assertEquals } from "@std/assert";
import { type ClientList, PageClient } from "../../../core/cluster/page_client.ts";
import { modulo } from "../../../core/placement.ts";
import { parseServerList } from "../../../core/client/server_list.ts";

Deno.test("a cluster's client that was told of another list has done with the old one", async () => {
  const requests: string[] = [];
  const servers = [0, 1, 2].map((ordinal) =>
    Deno.serve({ port: 0, hostname: "127.0.0.1", onListen() {} }, (request) => {
      const [, route] = new URL(request.url).pathname.split("/");
      // A client asks for the layout of the cluster first.
      if (route !== "v1") requests.push(`${ordinal} ${route}`);
      return new Response("_key_not_found_");
    })
  );
  const list = parseServerList(
    servers.map(({ addr }) => `127.0.0.1:${addr.port}`).join(","),
    "list",
  );
  const rows: [ClientList, string][] = [];
  const client = new PageClient({ count: 3, readonly: false }, {
    placement: modulo,
    intervalMs: 20,
    probe: { timeoutMs: 5000 },
    servers: (count) => list.slice(0, count),
    onRow: ({ statuses }, used) => rows.push([used, statuses.charAt(0)]),
  });
  const stop = new AbortController();
  const running = client.run(stop.signal);
  const next = { count: 2, readonly: true };
  await client.use(next);
  // From here on nobody writes, and nobody asks the third server.
  requests.length = 0;
  assertEquals(rows.at(-1), [next, "m"]);
  await client.use({ ...next });
  assertEquals(new Set(requests), new Set(["0 load", "1 load"]));
  assertEquals(rows[0]?.[1], "w");
  stop.abort();
  await running;
  await Promise.all(servers.map((server) => server.shutdown()));
});
