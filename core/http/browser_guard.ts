/**
 * Refuses what pages of other sites make a browser send: forms and images with this server as their
 * target (CSRF), and requests under a foreign host name that points here (DNS rebinding). Programs
 * send neither `Origin` nor `Sec-Fetch-Site`, so only the check of the host name applies to them.
 */
import { type HttpRequest } from "./types.ts";

const IPV4 = /^\d{1,3}(\.\d{1,3}){3}$/;

/** Values of `Sec-Fetch-Site` for another origin: Fetch Metadata Request Headers, section 2.4. */
const OTHER_SITE = /cross-site|same-site/;

const FOREIGN =
  "Not for pages of other sites: by its Origin or Sec-Fetch-Site the request comes from one";

/** Tells requests that pages of other sites caused from all others. */
export class BrowserGuard {
  readonly #names: readonly string[] | undefined;
  /** The Host that was admitted last: most requests have the same, and parsing it is slow. */
  #known = "";

  /**
   * @param names Host names that are allowed besides addresses and `localhost`, as
   * {@link parseHostName} returns them; `undefined` allows any.
   */
  constructor(names: readonly string[] | undefined) {
    this.#names = names;
  }

  /** Why `request` is refused, as one line; `undefined` if the request may go on. */
  refusal(request: HttpRequest): string | undefined {
    if (isForeign(request)) return FOREIGN;
    if (this.#names === undefined) return undefined;
    const host = request.header("host") ?? "";
    if (host === this.#known) return undefined;
    // No browser sends an empty Host, but a program that speaks HTTP/1.0 may.
    if (host !== "" && !isOwnHost(host, this.#names)) {
      return `Not for host ${host}: use an address or localhost, or start the server with --allow-host`;
    }
    this.#known = host;
    return undefined;
  }
}

/**
 * Whether a page of another origin made a browser send `request`. Another port of the same host is
 * another origin. An address that a person typed has no origin.
 */
export function isForeign(request: HttpRequest): boolean {
  const site = request.header("sec-fetch-site");
  if (site !== undefined && OTHER_SITE.test(site)) return true;
  const origin = request.header("origin");
  return origin !== undefined && !isOrigin(origin, request.header("host") ?? "");
}

/** Whether `host`, as a Host header names it, is an address, `localhost`, or one of `names`. */
export function isOwnHost(host: string, names: readonly string[]): boolean {
  const name = hostNameOf(`http://${host}`);
  return name !== undefined &&
    (name === "localhost" || name.endsWith(".localhost") || names.includes(name) ||
      name.startsWith("[") || IPV4.test(name));
}

/** `text` as a host name in the form that is compared; `undefined` if it is none, or has a port. */
export function parseHostName(text: string): string | undefined {
  return /^[\p{L}\p{N}._-]+$/u.test(text) ? hostNameOf(`http://${text}`) : undefined;
}

/** Whether a page of `origin` came from `host`; `Origin: null` never does. */
function isOrigin(origin: string, host: string): boolean {
  const page = parseUrl(origin);
  // The scheme of the page decides which port is the default.
  return page !== undefined && page.host !== "" &&
    page.host === parseUrl(`${page.protocol}//${host}`)?.host;
}

function hostNameOf(url: string): string | undefined {
  return parseUrl(url)?.hostname.replace(/\.$/, "");
}

function parseUrl(text: string): URL | undefined {
  return URL.canParse(text) ? new URL(text) : undefined;
}
