/**
 * Server lists as users write them: `server-0.server,server-1.server:8080`. The order is the
 * placement's: the first item is index 0.
 */
import { UsageError } from "../errors.ts";

/** One server of a list. */
export interface ServerAddress {
  /** The name that the user wrote, without the scheme. It is shown like this, too. */
  readonly name: string;
  /** The beginning of each URL, without a slash at its end: for example `http://server-0.server`. */
  readonly origin: string;
}

/** How a server is spoken to: with or without TLS. */
export type Scheme = "http" | "https";

/** The port of an item without one. */
export const DEFAULT_PORT = 80;

/** The port of an item without one, with TLS. */
export const DEFAULT_TLS_PORT = 443;

const ITEM = /^(?:(https?):\/\/)?(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9._-]+)(?::(\d{1,5}))?$/;

/**
 * Reads a list of servers, separated by commas.
 *
 * @param text The list as the user wrote it.
 * @param what The name of the list in messages: for example `AS_IS`.
 * @param scheme The scheme of items that do not begin with `http://` or `https://`.
 * @throws {UsageError} If the list is empty, an item is not SERVER or SERVER:PORT, or a server is there
 * twice.
 */
export function parseServerList(
  text: string,
  what: string,
  scheme: Scheme = "http",
): readonly ServerAddress[] {
  if (text.trim() === "") throw new UsageError(`Empty server list: ${what} names no server`);
  const servers = text.split(",").map((item) => parseServer(item.trim(), what, scheme));
  const seen = new Map<string, ServerAddress>();
  for (const server of servers) {
    const place = placeOf(server);
    const twin = seen.get(place);
    if (twin !== undefined) {
      const same = twin.name === server.name ? "" : ` is ${twin.name}`;
      throw new UsageError(`Duplicate server in ${what}: ${server.name}${same}`);
    }
    seen.set(place, server);
  }
  return servers;
}

/** IPv4 as IPv6 (RFC 4291, 2.5.5.2), as a URL writes it: for example `[::ffff:7f00:1]`. */
const MAPPED = /^\[::ffff:([0-9a-f]{1,4}):([0-9a-f]{1,4})\]$/;

/**
 * Returns HOST:PORT, the same text for all ways to write one address: with any scheme, with or without a
 * dot at the end, IPv4 also as IPv6. Two names that only the network knows to be one server stay two.
 */
export function placeOf({ origin }: ServerAddress): string {
  const url = new URL(origin);
  const port = url.port || (url.protocol === "https:" ? DEFAULT_TLS_PORT : DEFAULT_PORT);
  const [, high, low] = MAPPED.exec(url.hostname) ?? [];
  const host = high === undefined || low === undefined
    ? url.hostname.replace(/\.$/, "")
    : [high, low].flatMap((half) => {
      const number = parseInt(half, 16);
      return [number >> 8, number & 0xff];
    }).join(".");
  return `${host}:${port}`;
}

function parseServer(item: string, what: string, fallback: Scheme): ServerAddress {
  const match = ITEM.exec(item);
  const scheme = match?.[1] ?? fallback;
  const defaultPort = scheme === "https" ? DEFAULT_TLS_PORT : DEFAULT_PORT;
  const port = Number(match?.[3] ?? defaultPort);
  if (match === null || port < 1 || port > 65535) {
    throw new UsageError(`Invalid server in ${what}: expected SERVER or SERVER:PORT: "${item}"`);
  }
  const name = item.replace(/^https?:\/\//, "");
  try {
    // Requests go to the address as a URL writes it, whichever form of it the user wrote.
    const { origin } = new URL(`${scheme}://${match[2]}:${port}`);
    return { name, origin };
  } catch {
    throw new UsageError(`Invalid server in ${what}: no such address: "${item}"`);
  }
}
