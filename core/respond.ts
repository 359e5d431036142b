/** Responses that several routes share. */
import { STATUS_CODE, type StatusCode } from "@std/http/status";
import { SHUTTING_DOWN, TEXT_TYPE } from "./protocol.ts";

/** Headers of plain text answers; shared, since building a header object costs on every request. */
export const TEXT_INIT: ResponseInit = { headers: { "content-type": TEXT_TYPE } };

/** One clear line of plain text with a status. */
export function textResponse(
  status: StatusCode,
  line: string,
  headers: Record<string, string> = {},
): Response {
  return new Response(line, { status, headers: { "content-type": TEXT_TYPE, ...headers } });
}

/** One clear line of JSON: `error` names the status, `detail` says what is wrong. */
export function jsonError(
  status: StatusCode,
  error: string,
  detail: string,
  headers: Record<string, string> = {},
): Response {
  return Response.json({ error, detail }, { status, headers });
}

/**
 * What every data route answers while the shard is not serving. The connection is closed, so that
 * the client looks the name up again instead of staying with a Pod that goes.
 */
export function unavailable(): Response {
  return textResponse(STATUS_CODE.ServiceUnavailable, SHUTTING_DOWN, {
    "retry-after": "1",
    "connection": "close",
  });
}
