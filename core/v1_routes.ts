/** The native routes of single keys and of listings, under `/v1/keys`. */
import { ifNoneMatch } from "@std/http/etag";
import { accepts } from "@std/http/negotiation";
import { STATUS_CODE } from "@std/http/status";
import { type BodyLimits, readValue } from "./body.ts";
import { writeCondition } from "./conditions.ts";
import { InvalidQueryError } from "./errors.ts";
import { decodeSegment } from "./key.ts";
import { jsonError } from "./respond.ts";
import { type LargeValue, type ListOptions, type Store, Value } from "./store.ts";

/** Keys in one page of `GET /v1/keys` when the request does not say. */
const DEFAULT_PAGE = 1000;

/** The most keys in one page of `GET /v1/keys`. */
const MAX_PAGE = 10_000;

/** Content type of a listing or batch with one JSON object a line. */
export const NDJSON_TYPE = "application/x-ndjson";

/** Methods of `/v1/keys/KEY`, for `Allow`. */
export const KEY_METHODS = "GET, HEAD, PUT, DELETE";

/** `GET` and `HEAD /v1/keys/KEY`: the bytes, 304 where the client has them, 404. */
export async function getKey(store: Store, key: string, request: Request): Promise<Response> {
  const value = await store.get(key);
  if (value === undefined) return notFound(key);
  const known = request.headers.get("if-none-match");
  const headers = { "etag": value.etag, "content-type": value.contentType };
  if (!ifNoneMatch(known, value.etag)) {
    discard(value);
    return new Response(null, { status: STATUS_CODE.NotModified, headers });
  }
  const sized = { ...headers, "content-length": String(value.size) };
  if (request.method === "HEAD") {
    discard(value);
    return new Response(null, { headers: sized });
  }
  return new Response(value instanceof Value ? value.bytes : value.open(), { headers: sized });
}

/** `PUT /v1/keys/KEY`: 201 created or 204 replaced, with the ETag of what is stored now. */
export async function putKey(
  store: Store,
  key: string,
  request: Request,
  limits: BodyLimits,
): Promise<Response> {
  const { headers } = request;
  const condition = writeCondition(headers.get("if-match"), headers.get("if-none-match"));
  const { created, etag } = await store.set(key, await readValue(request, limits), condition);
  return new Response(null, {
    status: created ? STATUS_CODE.Created : STATUS_CODE.NoContent,
    headers: { etag },
  });
}

/** `DELETE /v1/keys/KEY`: 204, or 404. */
export async function deleteKey(store: Store, key: string, request: Request): Promise<Response> {
  const { headers } = request;
  const condition = writeCondition(headers.get("if-match"), headers.get("if-none-match"));
  const found = await store.delete(key, condition);
  return found ? new Response(null, { status: STATUS_CODE.NoContent }) : notFound(key);
}

/** `GET /v1/keys`: a page of keys as JSON, or all of them as NDJSON, in order. */
export function listKeys(store: Store, query: string, request: Request): Response {
  const options = parseListQuery(query);
  if (request.headers.get("accept")?.includes(NDJSON_TYPE) && accepts(request, NDJSON_TYPE)) {
    return new Response(streamPages(store, options, (key) => JSON.stringify({ key }) + "\n"), {
      headers: { "content-type": NDJSON_TYPE },
    });
  }
  const limit = Math.min(options.limit ?? DEFAULT_PAGE, MAX_PAGE);
  // One more than is shown tells whether there is a next page.
  const keys = store.list({ ...options, limit: limit + 1 });
  const more = keys.length > limit;
  if (more) keys.pop();
  return Response.json({ keys, next: more ? keys.at(-1) ?? null : null });
}

/**
 * All keys that `options` name as a stream, in pages, with constant memory. A key saved or deleted
 * meanwhile may or may not be in it; every other key is in it exactly once.
 */
export function streamPages(
  store: Store,
  options: ListOptions,
  format: (key: string) => string,
): ReadableStream<Uint8Array<ArrayBuffer>> {
  const encoder = new TextEncoder();
  let after = options.after;
  let left = options.limit ?? Infinity;
  return new ReadableStream({
    pull(controller) {
      const limit = Math.min(left, DEFAULT_PAGE);
      const keys = store.list({ ...options, ...(after === undefined ? {} : { after }), limit });
      if (keys.length > 0) controller.enqueue(encoder.encode(keys.map(format).join("")));
      after = keys.at(-1);
      left -= keys.length;
      if (keys.length < limit || left <= 0) controller.close();
    },
  });
}

/** @throws {InvalidQueryError} If the query has an unknown name or a limit that is no count. */
function parseListQuery(query: string): ListOptions {
  const options: { prefix?: string; after?: string; limit?: number } = {};
  for (const pair of query.split("&")) {
    if (pair === "") continue;
    const equals = pair.indexOf("=");
    const name = equals < 0 ? pair : pair.slice(0, equals);
    const text = decodeSegment(equals < 0 ? "" : pair.slice(equals + 1));
    if (name === "prefix" || name === "after") {
      options[name] = text;
    } else if (name === "limit" && /^[1-9]\d{0,8}$/.test(text)) {
      options.limit = Number(text);
    } else {
      throw new InvalidQueryError(
        `Invalid query: expected prefix, after, or limit from 1: "${pair}"`,
      );
    }
  }
  return options;
}

function notFound(key: string): Response {
  return jsonError(STATUS_CODE.NotFound, "not_found", `No such key: ${key}`);
}

function discard(value: Value | LargeValue): void {
  if (!(value instanceof Value)) value.discard();
}
