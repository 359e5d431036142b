/** Which addresses the servers of a cluster on one machine get. */
import { messageOf, StartError } from "../errors.ts";

/**
 * The range in which free ports are looked for. It ends below the ports of outgoing connections (on Linux from 32768,
 * elsewhere from 49152), so that no connection takes the port of a server that is being restarted.
 */
const FREE_PORTS = { first: 10_000, count: 22_000 };

const FREE_PORT_ATTEMPTS = 1000;

/** Finds a port that nobody listens on. @throws {StartError} If there is none. */
export function findFreePort(host: string): number {
  for (let attempt = 0; attempt < FREE_PORT_ATTEMPTS; attempt++) {
    const port = FREE_PORTS.first + Math.floor(Math.random() * FREE_PORTS.count);
    if (isPortFree(host, port)) return port;
  }
  throw new StartError(`Cannot listen on ${host}: no free port found`);
}

/**
 * Whether a server could listen there now.
 *
 * @throws {StartError} If no server ever could: the host is not one of this machine, or the port is reserved for the
 * administrator.
 */
export function isPortFree(host: string, port: number): boolean {
  try {
    Deno.listen({ hostname: host, port }).close();
    return true;
  } catch (error) {
    if (error instanceof Deno.errors.AddrInUse) return false;
    throw new StartError(`Cannot listen on ${host}:${port}: ${messageOf(error)}`, { cause: error });
  }
}

/** How a server that listens on `host` is reached from this machine, as part of a server list. */
export function reachableHost(host: string): string {
  if (host === "0.0.0.0") return "127.0.0.1";
  if (host === "::") return "[::1]";
  return host.includes(":") ? `[${host}]` : host;
}
