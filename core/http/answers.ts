/** Answers of plain text and of JSON. */
import { TEXT_TYPE } from "../protocol.ts";
import { SharedHeaders } from "./headers.ts";
import { type HttpResponse } from "./types.ts";

/** Headers of plain text answers. */
export const TEXT_HEADERS = new SharedHeaders({ "content-type": TEXT_TYPE });

/** An answer of plain text. */
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

/** An answer of `value` as one line of JSON. */
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
