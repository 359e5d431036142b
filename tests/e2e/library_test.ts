import { assert, assertEquals, assertGreater } from "@std/assert";
import { Kvs } from "../../core/client/kvs.ts";
import { Server, TempDir, until } from "./program.ts";

/** Programs that put and get all the while, each with keys of its own. */
const WORKERS = 12;
const KEYS_EACH = 8;

/** Requests that must get through between two restarts. */
const REQUESTS_BETWEEN = 200;

Deno.test("no request through the library fails while three servers restart, one killed", async () => {
  await using dirs = new TempDir();
  const servers: Server[] = [];
  const start = async (index: number, port: number) => {
    servers[index] = await Server.start(dirs.join(`server-${index}`), ["--drain", "0.5"], port);
  };
  const stop = new AbortController();
  let requests = 0;
  const saved = new Map<string, string>();
  let working: Promise<unknown> = Promise.resolve();
  try {
    for (const index of [0, 1, 2]) await start(index, 0);
    // Far more patience than it takes: what is tested is that nothing fails for good.
    const list = servers.map(({ address }) => address).join(",");
    const store = await Kvs.open(list, { patienceMs: 60_000 });
    const work = async (worker: number) => {
      for (let n = 0; !stop.signal.aborted; n++) {
        const key = `key-${worker}-${n % KEYS_EACH}`;
        assertEquals((await store.get(key))?.text, saved.get(key));
        await store.put(key, `value ${n}`);
        saved.set(key, `value ${n}`);
        requests += 2;
      }
    };
    working = Promise.all(Array.from({ length: WORKERS }, (_, worker) => work(worker)));
    working.catch(() => stop.abort());
    for (const [index, signal] of [[2, "SIGTERM"], [1, "SIGKILL"], [0, "SIGTERM"]] as const) {
      const before = requests;
      await until("requests get through", () => {
        if (stop.signal.aborted) throw new Error("A request failed");
        return requests > before + REQUESTS_BETWEEN ? true : undefined;
      });
      const server = servers[index];
      assert(server !== undefined);
      server.kill(signal);
      await server.exit();
      await start(index, server.port);
    }
    stop.abort();
    await working;
    assertGreater(requests, 3 * REQUESTS_BETWEEN);
    for (const [key, value] of saved) assertEquals((await store.get(key))?.text, value);
    assertEquals(await Array.fromAsync(store.keys()), [...saved.keys()].sort());
  } finally {
    stop.abort();
    await working.catch(() => {});
    for (const server of servers) await server[Symbol.asyncDispose]();
  }
});
