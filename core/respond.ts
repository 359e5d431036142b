/** Answers that several routes share. */
import { STATUS_CODE } from "@std/http/status";
import { SharedHeaders } from "./http_headers.ts";
import { type HttpResponse } from "./http_types.ts";
import { errorName, SHUTTING_DOWN, TEXT_TYPE } from "./protocol.ts";

/** Headers of plain text answers. */
export const TEXT_HEADERS = new SharedHeaders({ "content-type": TEXT_TYPE });

/** One clear line of plain text with a status. */
export function textAnswer(
  status: number,
  body: string,
  headers?: Record<string, string>,
): HttpResponse {
  return {
    status,
    headers: headers === undefined ? TEXT_HEADERS : { "content-type": TEXT_TYPE, ...headers },
    body,
  };
}

const JSON_TYPE = "application/json";
const JSON_HEADERS = new SharedHeaders({ "content-type": JSON_TYPE });

/** `value` as JSON with a status. */
export function jsonAnswer(
  status: number,
  value: unknown,
  headers?: Record<string, string>,
): HttpResponse {
  return {
    status,
    headers: headers === undefined ? JSON_HEADERS : { "content-type": JSON_TYPE, ...headers },
    body: JSON.stringify(value) + "\n",
  };
}

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
 * What every data route answers while the shard is not serving. The connection is closed, so that
 * the client looks the name up again instead of staying with a Pod that goes.
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
