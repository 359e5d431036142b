/**
 * The limit of HTTP in Deno: `bare_server.ts SIZE...` answers a constant on two ports for each size
 * and does nothing else. The first port answers every request so; the second answers GET so, and
 * anything else with 204 when the body was read. Prints the ports as a JSON object, `load-SIZE` and
 * `any-SIZE`.
 */

type Handler = (request: Request) => Response | Promise<Response>;

function listen(handler: Handler): number {
  const options = { hostname: "127.0.0.1", port: 0, onListen: () => {} };
  return Deno.serve(options, handler).addr.port;
}

async function drained(request: Request): Promise<Response> {
  await request.arrayBuffer();
  return new Response(null, { status: 204 });
}

const ports: Record<string, number> = {};
for (const size of Deno.args) {
  // A string goes out faster than bytes do.
  const value = "v".repeat(Number(size));
  ports[`load-${size}`] = listen(() => new Response(value));
  ports[`any-${size}`] = listen((request) =>
    request.method === "GET" ? new Response(value) : drained(request)
  );
}
console.log(JSON.stringify(ports));
