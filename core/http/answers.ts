/** Answers that several routes share. */
import { TEXT_TYPE } from "../protocol.ts";
import { SharedHeaders } from "./headers.ts";
import { type HttpResponse } from "./types.ts";

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
