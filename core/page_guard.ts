/**
 * Who may talk to the page. It has no password, so that what other sites make a browser do must come
 * to nothing: a name of theirs that points here (DNS rebinding), and a form that they send here.
 */
import { STATUS_CODE } from "@std/http/status";
import { isForeign, isOwnHost } from "./browser_guard.ts";
import { type HttpRequest, type HttpResponse } from "./http_types.ts";
import { textAnswer } from "./respond.ts";

/**
 * The answer to a request that is refused, `undefined` for one that may go on.
 *
 * The Host has to be an address, `localhost`, or the name that the user gave: another site's name
 * never is. Its port does not matter, since `kubectl port-forward` gives it another. A request other
 * than GET has to come from this very page: browsers name the origin of each such request.
 *
 * @param name The host name that the page was told to listen on.
 */
export function refusal(request: HttpRequest, name: string): HttpResponse | undefined {
  if (!isOwnHost(request.header("host") ?? "", [name.toLowerCase()])) {
    return textAnswer(
      STATUS_CODE.MisdirectedRequest,
      `Not for this host: open the page by address, as localhost, or as ${name}`,
    );
  }
  if (request.method === "GET" || request.method === "HEAD") return undefined;
  if (request.header("origin") === undefined || isForeign(request)) {
    return textAnswer(STATUS_CODE.Forbidden, "Only the page itself can change anything");
  }
  if (request.header("content-type") !== "application/json") {
    return textAnswer(STATUS_CODE.UnsupportedMediaType, "Expected application/json");
  }
  return undefined;
}
