/**
 * Whatever pages of other sites make a browser do here must come to nothing: the forms and images
 * that they send here (CSRF), and a name of theirs that points here (DNS rebinding). Programs send
 * neither `Origin` nor `Sec-Fetch-Site`, and notice nothing.
 */
import { type HttpRequest } from "./types.ts";

const IPV4 = /^\d{1,3}(\.\d{1,3}){3}$/;

/** Of `Sec-Fetch-Site` (Fetch Metadata, section 2.4): what comes from another origin, of the same site or not. */
const OTHER_SITE = /cross-site|same-site/;

const FOREIGN =
  "Not for pages of other sites: by its Origin or Sec-Fetch-Site the request comes from one";

/** Refuses what pages of other sites make a browser send. */
export class BrowserGuard {
  readonly #names: readonly string[] | undefined;
  /** The Host that was admitted last: nearly every request has the same. */
  #known = "";

  /**
   * @param names The host names that requests may come with besides addresses and `localhost`, as
   * {@link parseHostName} gives them; `undefined` admits any.
   */
  constructor(names: readonly string[] | undefined) {
    this.#names = names;
  }

  /** Why `request` is refused, in a line; `undefined` for one that may go on. */
  refusal(request: HttpRequest): string | undefined {
    if (isForeign(request)) return FOREIGN;
    if (this.#names === undefined || request.headerIs("host", this.#known)) return undefined;
    const host = request.header("host") ?? "";
    // Empty: no browser sends that, but a program that speaks HTTP/1.0 may.
    if (host !== "" && !isOwnHost(host, this.#names)) {
      return `Not for host ${host}: use an address or localhost, or start the server with --allow-host`;
    }
    this.#known = host;
    return undefined;
  }
}

/**
 * Whether a page of another origin made a browser send `request`. Another port of the same host is
 * another origin; an address that a person typed is none.
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

/** A host name in the form in which names are compared; `undefined` if `text` is none, or has a port. */
export function parseHostName(text: string): string | undefined {
  return /^[\p{L}\p{N}._-]+$/u.test(text) ? hostNameOf(`http://${text}`) : undefined;
}

/** Whether the page of `origin` came from `host`; `Origin: null` came from nowhere. */
function isOrigin(origin: string, host: string): boolean {
  const page = parseUrl(origin);
  // By its scheme, since that tells which port need not be named.
  return page !== undefined && page.host !== "" &&
    page.host === parseUrl(`${page.protocol}//${host}`)?.host;
}

function hostNameOf(url: string): string | undefined {
  return parseUrl(url)?.hostname.replace(/\.$/, "");
}

function parseUrl(text: string): URL | undefined {
  return URL.canParse(text) ? new URL(text) : undefined;
}
