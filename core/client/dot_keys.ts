/**
 * The keys `.` and `..`, which no URL can name: fetch resolves such a segment away, percent-encoded or not
 * (WHATWG URL Standard, 4.4). They go by `POST /v1/batch`, so their values have at most 64 KiB.
 */
import { InvalidKeyError } from "../errors.ts";
import { isObject } from "../protocol.ts";
import { parseJson } from "./json.ts";
import { type Bytes, type RemoteAnswer, type RemoteRequest } from "./transport.ts";

/** Whether a path cannot hold `text`, a key or a word, as a segment. */
export function isDotSegment(text: string): boolean {
  return text === "." || text === "..";
}

/** @throws {InvalidKeyError} If one of `texts` cannot be a segment of a path. */
export function checkSegments(...texts: readonly string[]): void {
  const dots = texts.find(isDotSegment);
  if (dots === undefined) return;
  throw new InvalidKeyError(`Invalid path: no URL can hold "${dots}", which the book routes need`);
}

/** The line of a batch that does what `request` would do under the path of `key`. */
export async function toBatchLine(
  key: string,
  { method = "GET", headers = {}, body }: RemoteRequest,
): Promise<string> {
  const op = method.toLowerCase();
  const conditions = { ifMatch: headers["if-match"], ifNoneMatch: headers["if-none-match"] };
  if (body === undefined) return JSON.stringify({ op, key, ...conditions });
  let binary = "";
  for (const byte of await new Response(body).bytes()) binary += String.fromCharCode(byte);
  const value = { base64: btoa(binary), type: headers["content-type"] };
  return JSON.stringify({ op, key, ...value, ...conditions });
}

/** The answer that the path of the key would have given; `undefined` if `line` is no result of a batch. */
export function fromBatchLine(line: Bytes): RemoteAnswer | undefined {
  // A server that goes by another layout adds a line that tells the layout.
  const [first = "", layout = ""] = new TextDecoder().decode(line).split("\n");
  const result = parseJson(first);
  if (!isObject(result) || typeof result.status !== "number") return undefined;
  const { status, etag, type, value, base64 } = result;
  const headers = new Headers();
  if (status === 421) return { status, headers, bytes: new TextEncoder().encode(layout) };
  if (typeof etag === "string") headers.set("etag", etag);
  if (typeof type === "string") headers.set("content-type", type);
  const bytes = typeof value === "string"
    ? new TextEncoder().encode(value)
    : typeof base64 === "string"
    ? Uint8Array.from(atob(base64), (character) => character.charCodeAt(0))
    // The line itself, which tells a failure as an answer would.
    : line;
  return { status, headers, bytes };
}
