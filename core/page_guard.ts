/**
 * Who may talk to the page. It has no password, so that what other sites make a browser do must come
 * to nothing: a name of theirs that points here (DNS rebinding), and a form that they send here.
 */
import { STATUS_CODE } from "@std/http/status";
import { type HttpRequest, type HttpResponse } from "./http_types.ts";
import { textAnswer } from "./respond.ts";

const IPV4 = /^\d{1,3}(\.\d{1,3}){3}$/;

/**
 * The answer to a request that is refused, `undefined` for one that may go on.
 *
 * The Host has to be an address, `localhost`, or the name that the user gave: another site's name
 * never is. Its port does not matter, since `kubectl port-forward` gives it another. What is not a
 * GET has to come from this very page: browsers name the origin of each such request.
 *
 * @param name The host name that the page was told to listen on.
 */
export function refusal(request: HttpRequest, name: string): HttpResponse | undefined {
  const host = parseUrl(`http://${request.header("host") ?? ""}`);
  if (host === undefined || !isOwnName(host.hostname, name.toLowerCase())) {
    return textAnswer(
      STATUS_CODE.MisdirectedRequest,
      `Not for this host: open the page by address, as localhost, or as ${name}`,
    );
  }
  if (request.method === "GET" || request.method === "HEAD") return undefined;
  const origin = parseUrl(request.header("origin") ?? "");
  const site = request.header("sec-fetch-site") ?? "same-origin";
  if (origin?.host !== host.host || site !== "same-origin") {
    return textAnswer(STATUS_CODE.Forbidden, "Only the page itself can change anything");
  }
  if (request.header("content-type") !== "application/json") {
    return textAnswer(STATUS_CODE.UnsupportedMediaType, "Expected application/json");
  }
  return undefined;
}

function isOwnName(hostname: string, name: string): boolean {
  return hostname === "localhost" || hostname.endsWith(".localhost") || hostname === name ||
    hostname.startsWith("[") || IPV4.test(hostname);
}

function parseUrl(text: string): URL | undefined {
  return URL.canParse(text) ? new URL(text) : undefined;
}
