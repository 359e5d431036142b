/**
 * Server lists that name their servers indirectly: `server-{0..2}.server` as in a shell, and
 * `srv:NAME` for the targets of a DNS SRV record. Both become a plain list, as text, which can be shown
 * to the user.
 */
import { DiscoveryError, UsageError } from "../errors.ts";
import { DEFAULT_PORT, DEFAULT_TLS_PORT, type Scheme } from "./server_list.ts";

/** A target of an SRV record (RFC 2782). */
export interface SrvTarget {
  readonly target: string;
  readonly port: number;
}

/** Looks up the SRV record of a name. @throws {DiscoveryError} If there is no answer or no record. */
export type LookupSrv = (name: string) => Promise<readonly SrvTarget[]>;

/** The most servers that a list may stand for. */
const MAX_SERVERS = 10_000;

/** How long a name server may take (ms). */
const DNS_TIMEOUT_MS = 5000;

const SRV = /^(https?:\/\/)?srv:([^/\s]+)(?:\/(\d+))?$/;

/** How servers are discovered. */
export interface DiscoveryOptions {
  /** The name server to ask, as ADDRESS or ADDRESS:PORT; by default that of the system. */
  readonly dns?: string | undefined;
  /** The scheme of items without one. Its port is left out of the list. */
  readonly scheme?: Scheme;
}

/**
 * Returns `text` with the servers in place of the items that stand for them, separated by commas.
 *
 * @param what The name of the list in messages.
 * @throws {UsageError} If an item has the wrong form, or stands for too many servers.
 * @throws {DiscoveryError} If an SRV record cannot be found, or its targets are no safe list.
 */
export async function discoverServers(
  text: string,
  what: string,
  { dns, scheme }: DiscoveryOptions = {},
): Promise<string> {
  return await expandServerList(text, what, (name) => lookupSrv(name, dns), scheme);
}

/** As {@link discoverServers}, with any lookup. */
export async function expandServerList(
  text: string,
  what: string,
  lookup: LookupSrv,
  scheme: Scheme = "http",
): Promise<string> {
  const items = splitItems(text).flatMap((item) => expandBraces(item.trim(), what));
  const lists = await Promise.all(items.map(async (item) => {
    if (!/^(?:https?:\/\/)?srv:/.test(item)) return item;
    const [, prefix = "", name = "", count] = SRV.exec(item) ?? [];
    if (name === "") {
      throw new UsageError(
        `Invalid server in ${what}: expected srv:NAME or srv:NAME/COUNT: "${item}"`,
      );
    }
    const places = orderTargets(name, await lookup(name));
    if (count !== undefined && places.length !== Number(count)) {
      throw new DiscoveryError(`srv:${name} names ${places.length} servers, not ${count}`);
    }
    const tls = prefix === "" ? scheme === "https" : prefix === "https://";
    const silent = tls ? DEFAULT_TLS_PORT : DEFAULT_PORT;
    return places.map(({ target, port }) => prefix + target + (port === silent ? "" : `:${port}`));
  }));
  return lists.flat().join(",");
}

/** Whether a list has a `srv:` item that does not say how many servers it stands for. */
export function hasUncounted(text: string): boolean {
  return splitItems(text).some((item) => /^\s*(?:https?:\/\/)?srv:[^/]*$/.test(item));
}

/** Splits `text` at the commas outside of braces. */
function splitItems(text: string): string[] {
  const items: string[] = [];
  let depth = 0;
  let start = 0;
  for (let at = 0; at < text.length; at++) {
    if (text[at] === "{") depth++;
    if (text[at] === "}") depth--;
    if (text[at] === "," && depth === 0) {
      items.push(text.slice(start, at));
      start = at + 1;
    }
  }
  return [...items, text.slice(start)];
}

/** The braces of a shell that a server list can use: `{0..2}`, `{00..10}`, `{a,b}`, from the left. */
const BRACES = /^(.*?)\{(?:(\d{1,9})\.\.(\d{1,9})|([^{}]*,[^{}]*))\}(.*)$/;

function expandBraces(item: string, what: string): string[] {
  const match = BRACES.exec(item);
  if (match === null) return [item];
  const [, head = "", first, last, words, rest = ""] = match;
  const middles = first === undefined || last === undefined
    ? (words ?? "").split(",")
    : numbers(first, last, what);
  const tails = expandBraces(rest, what);
  if (middles.length * tails.length > MAX_SERVERS) throw tooMany(what);
  return middles.flatMap((middle) => tails.map((tail) => head + middle.trim() + tail));
}

/** The numbers from `first` to `last`, up or down. If one begins with 0, all are as wide as the wider. */
function numbers(first: string, last: string, what: string): string[] {
  const [from, to] = [Number(first), Number(last)];
  if (Math.abs(to - from) >= MAX_SERVERS) throw tooMany(what);
  const padded = /^0\d/.test(first) || /^0\d/.test(last);
  const width = padded ? Math.max(first.length, last.length) : 0;
  const step = from <= to ? 1 : -1;
  return Array.from(
    { length: Math.abs(to - from) + 1 },
    (_, at) => String(from + at * step).padStart(width, "0"),
  );
}

function tooMany(what: string): UsageError {
  return new UsageError(`Too many servers in ${what}: braces may stand for ${MAX_SERVERS} at most`);
}

/** A target with its place by its name: `server-10.server.default` has the ordinal 10 of `server`. */
interface OrderedTarget extends SrvTarget {
  readonly set: string;
  readonly ordinal: number | undefined;
}

/** `NAME-ORDINAL` and the domain, as a StatefulSet names its Pods. */
const POD = /^([^.]+)-(0|[1-9]\d{0,8})(\..*)?$/;

/**
 * The targets of a record in the order of their ordinals. Placement goes by position, so a list without
 * one of its servers would send keys to the wrong servers. Therefore the ordinals have to be 0, 1, 2 and
 * so on. If the last servers are missing, only the number of servers can tell.
 *
 * @throws {DiscoveryError} If an ordinal is missing or is there twice.
 */
function orderTargets(name: string, targets: readonly SrvTarget[]): readonly SrvTarget[] {
  const places = targets.filter(({ target }) => target !== ".").map(orderedTarget);
  places.sort((a, b) =>
    compare(a.set, b.set) || (a.ordinal ?? -1) - (b.ordinal ?? -1) ||
    compare(a.target, b.target) || a.port - b.port
  );
  if (places.length === 0) throw new DiscoveryError(`srv:${name} names no server`);
  const next = new Map<string, number>();
  for (const { set, ordinal, target } of places) {
    if (ordinal === undefined) continue;
    const expected = next.get(set) ?? 0;
    if (ordinal < expected) {
      throw new DiscoveryError(
        `srv:${name} names ${target} with several ports: ask for one, as in srv:_http._tcp.${name}`,
      );
    }
    if (ordinal > expected) {
      throw new DiscoveryError(
        `srv:${name} names ${target}, but no ordinal ${expected}: a server that is not ready or has ` +
          "no Pod is left out of the record; list the servers, as in NAME-{0..2}",
      );
    }
    next.set(set, expected + 1);
  }
  return places;
}

function orderedTarget({ target, port }: SrvTarget): OrderedTarget {
  const host = target.replace(/\.$/, "").toLowerCase();
  const [, set, ordinal, domain = ""] = POD.exec(host) ?? [];
  return set === undefined || ordinal === undefined
    ? { target: host, port, set: "", ordinal: undefined }
    : { target: host, port, set: set + domain, ordinal: Number(ordinal) };
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

const NAME_SERVER =
  /^(?:([0-9.]+)(?::(\d{1,5}))?|\[([0-9a-fA-F:.]+)\](?::(\d{1,5}))?|([0-9a-fA-F]*(?::[0-9a-fA-F.]*){2,}))$/;

/** Asks a name server. The runtime tells every refusal of a name server as a name that is not there. */
async function lookupSrv(name: string, dns: string | undefined): Promise<readonly SrvTarget[]> {
  const nameServer = dns === undefined ? undefined : parseNameServer(dns);
  try {
    return await Deno.resolveDns(name, "SRV", {
      ...(nameServer === undefined ? {} : { nameServer }),
      signal: AbortSignal.timeout(DNS_TIMEOUT_MS),
    });
  } catch (cause) {
    const at = dns === undefined ? "the name server" : `the name server ${dns}`;
    const missing = cause instanceof Deno.errors.NotFound;
    const late = cause instanceof Error &&
      (cause.name === "TimeoutError" || cause.name === "TimedOut");
    const why = missing
      ? `${at} has no such SRV record`
      : late
      ? `no answer from ${at} within ${DNS_TIMEOUT_MS / 1000} s`
      : `${at} cannot be asked for it`;
    throw new DiscoveryError(`Cannot resolve srv:${name}: ${why}`, { cause });
  }
}

/** Reads ADDRESS or ADDRESS:PORT. @throws {UsageError} If `text` is neither. */
export function parseNameServer(text: string): { ipAddr: string; port: number } {
  const [, v4, v4Port, bracketed, v6Port, bare] = NAME_SERVER.exec(text) ?? [];
  const ipAddr = v4 ?? bracketed ?? bare;
  const port = Number(v4Port ?? v6Port ?? 53);
  if (ipAddr === undefined || port < 1 || port > 65535) {
    throw new UsageError(`expected an IP address, or ADDRESS:PORT, received "${text}"`);
  }
  return { ipAddr, port };
}
