/** Answers that a shard gives on many routes. */
import { STATUS_CODE } from "@std/http/status";
import { jsonAnswer, textAnswer } from "../http/answers.ts";
import { SharedHeaders } from "../http/headers.ts";
import { type HttpResponse } from "../http/types.ts";
import { SHUTTING_DOWN, TEXT_TYPE } from "../protocol.ts";
import { errorName } from "./statuses.ts";

/** Content type of a listing or batch: one JSON object a line. */
export const NDJSON_TYPE = "application/x-ndjson";

/** The answer of a route; a promise only if it has to be waited for. */
export type RouteResult = HttpResponse | Promise<HttpResponse>;

/** An error in the form of the route: a line of JSON on the native routes, else a line of text. */
export function errorAnswer(
  path: string,
  status: number,
  detail: string,
  headers?: Record<string, string>,
): HttpResponse {
  return path.startsWith("/v1/")
    ? jsonAnswer(status, { error: errorName(status), detail }, headers)
    : textAnswer(status, detail, headers);
}

/**
 * The answer of every data route while the shard is not serving. The connection is closed, so that the
 * client looks the name up again instead of staying with a Pod that goes.
 */
export const UNAVAILABLE: HttpResponse = {
  status: STATUS_CODE.ServiceUnavailable,
  headers: new SharedHeaders({
    "content-type": TEXT_TYPE,
    "retry-after": "1",
    "connection": "close",
  }),
  body: SHUTTING_DOWN,
};

/** The answer to a request that shows no token, or a wrong one: RFC 6750 section 3. */
export function unauthorized(path: string): HttpResponse {
  const detail = "Unauthorized: this server wants a token, as Authorization: Bearer TOKEN";
  return errorAnswer(path, STATUS_CODE.Unauthorized, detail, {
    "www-authenticate": 'Bearer realm="kvs"',
  });
}

/** The answer to a path that is no route. */
export function noRoute(path: string): HttpResponse {
  return errorAnswer(path, STATUS_CODE.NotFound, "No such route: GET / lists them");
}

/** The answer to a method that the route does not have: RFC 9110 section 15.5.6. */
export function wrongMethod(path: string, allow: string): HttpResponse {
  const detail = `Method not allowed: ${allow}`;
  return errorAnswer(path, STATUS_CODE.MethodNotAllowed, detail, { allow });
}
