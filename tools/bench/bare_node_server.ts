/**
 * The same as `bare_server.ts` with `node:http`, and with the time-outs and the limit of connections
 * that `kvs server` has by default. `bare_node_server.ts SIZE...` prints its ports as a JSON object,
 * one for each size: `SIZE`.
 */
import { createServer } from "node:http";

const LIMITS = { headersTimeout: 10_000, requestTimeout: 30_000, keepAliveTimeout: 75_000 };

const MAX_CONNECTIONS = 4096;

/** Answers GET with `value`, and anything else with 204 when the body was read; resolves to a port. */
async function listen(value: string): Promise<number> {
  const server = createServer(LIMITS, (request, response) => {
    if (request.method === "GET") {
      // Deno 2.4 sends chunks unless it is told the length.
      response.writeHead(200, { "content-length": value.length }).end(value);
      return;
    }
    request.resume();
    request.on("end", () => response.writeHead(204).end());
  });
  server.maxConnections = MAX_CONNECTIONS;
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("No port to listen on");
  return address.port;
}

const ports: Record<string, number> = {};
for (const size of Deno.args) ports[size] = await listen("v".repeat(Number(size)));
console.log(JSON.stringify(ports));
