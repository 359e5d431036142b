import { assert, assertEquals, assertThrows } from "@std/assert";
import { Cluster, podName } from "../../../core/cluster/cluster.ts";
import { findFreePort, isPortFree, reachableHost } from "../../../core/cluster/ports.ts";
import { StartError } from "../../../core/errors.ts";

const HOST = "127.0.0.1";

function emptyCluster(host: string, port: number): Cluster {
  return new Cluster({ host, port, dataDir: "/none", graceMs: 0, drainMs: 0, onEvent() {} });
}

Deno.test("findFreePort() finds a port that can be listened on", () => {
  const port = findFreePort(HOST);
  assert(port >= 10_000 && port < 32_768);
  Deno.listen({ hostname: HOST, port }).close();
});

Deno.test("isPortFree() sees a listener", () => {
  using listener = Deno.listen({ hostname: HOST, port: 0 });
  assertEquals(isPortFree(HOST, listener.addr.port), false);
});

Deno.test("isPortFree() says why nobody could listen there", () => {
  assertThrows(() => isPortFree("192.0.2.1", 8000), StartError, "Cannot listen on 192.0.2.1:8000");
});

Deno.test("reachableHost() is an address that a client can connect to", () => {
  assertEquals(reachableHost("127.0.0.1"), "127.0.0.1");
  assertEquals(reachableHost("0.0.0.0"), "127.0.0.1");
  assertEquals(reachableHost("::"), "[::1]");
  assertEquals(reachableHost("::1"), "[::1]");
  assertEquals(reachableHost("localhost"), "localhost");
});

Deno.test("Cluster.servers() counts ports up from the first", () => {
  const names = emptyCluster("0.0.0.0", 8000).servers(3).map(({ name }) => name);
  assertEquals(names, ["127.0.0.1:8000", "127.0.0.1:8001", "127.0.0.1:8002"]);
});

Deno.test("Cluster.servers() keeps the free ports that it found", () => {
  const cluster = emptyCluster(HOST, 0);
  const three = cluster.servers(3);
  assertEquals(cluster.servers(2), three.slice(0, 2));
  assertEquals(cluster.servers(3), three);
  assertEquals(new Set(three.map(({ origin }) => origin)).size, 3);
});

Deno.test("Cluster without Pods is settled, lists nothing and deletes nothing", async () => {
  const cluster = emptyCluster(HOST, 0);
  await cluster.settled();
  assertEquals(await cluster.list(), []);
  assertEquals(await cluster.delete(podName(0)), false);
  await cluster.stop();
});
