/** The native routes of one key, and of the list of keys. */
import { ifNoneMatch } from "@std/http/etag";
import { STATUS_CODE } from "@std/http/status";
import { InvalidQueryError, InvalidRangeError } from "../errors.ts";
import { jsonAnswer } from "../http/answers.ts";
import { SharedHeaders } from "../http/headers.ts";
import { type HttpRequest, type HttpResponse } from "../http/types.ts";
import { keyFromSegment } from "../key.ts";
import { DEFAULT_CONTENT_TYPE, V1_KEYS } from "../protocol.ts";
import {
  type Condition,
  type IfMatch,
  type IncomingValue,
  type LargeValue,
  type ListOptions,
  type SetResult,
} from "../store.ts";
import { isAsExpected, preconditionFailed } from "../storage/write_conditions.ts";
import { Value } from "../value.ts";
import { errorAnswer, NDJSON_TYPE, type RouteResult } from "./answers.ts";
import { readCondition, writeCondition } from "./conditions.ts";
import { streamPages } from "./listing.ts";
import { type OwnedStore } from "./owned_store.ts";
import { parseQuery, refuseQuery } from "./query.ts";
import { readValue, refuseCoding } from "./request_value.ts";

/** Keys in one page of `GET /v1/keys` if the request does not say. */
const DEFAULT_PAGE = 1000;

/** The most keys in one page of `GET /v1/keys`. */
const MAX_PAGE = 10_000;

/** The largest `limit` of a listing; a stream of all keys is not paged. */
const MAX_LIMIT = 999_999_999;

const DEFAULT_TYPE = new SharedHeaders({ "content-type": DEFAULT_CONTENT_TYPE });

const KEY_PREFIX = `${V1_KEYS}/`;

/** The key of `/v1/keys/KEY`. @throws {InvalidKeyError} If there is none. */
export function keyOf({ path }: HttpRequest): string {
  return keyFromSegment(path.slice(KEY_PREFIX.length));
}

/**
 * `GET` and `HEAD /v1/keys/KEY`. The first that fits: 412 if the key is not as the client expects, 404,
 * 304 if the client has the bytes, 200. The order is that of RFC 9110 section 13.2.2.
 */
export function getKey(store: OwnedStore, request: HttpRequest): RouteResult {
  const key = keyOf(request);
  refuseQuery(request.query);
  const expected = readCondition(request.header("if-match"));
  const value = store.get(key);
  return value instanceof Promise
    ? value.then((found) => answerValue(key, found, request, expected))
    : answerValue(key, value, request, expected);
}

function answerValue(
  key: string,
  value: Value | LargeValue | undefined,
  request: HttpRequest,
  expected: IfMatch | undefined,
): HttpResponse {
  if (expected !== undefined && !isAsExpected(expected, value?.etag)) {
    if (value !== undefined) discard(value);
    throw preconditionFailed();
  }
  if (value === undefined) return notFound(key, request);
  const { etag, contentType } = value;
  const headers = contentType === DEFAULT_CONTENT_TYPE
    ? DEFAULT_TYPE
    : { "content-type": contentType };
  if (!ifNoneMatch(request.header("if-none-match") ?? null, etag)) {
    discard(value);
    return { status: STATUS_CODE.NotModified, headers, etag };
  }
  if (value instanceof Value) return { status: STATUS_CODE.OK, headers, etag, body: value.body };
  const sized = { "content-type": contentType, "content-length": String(value.size) };
  if (request.method === "HEAD") {
    discard(value);
    return { status: STATUS_CODE.OK, headers: sized, etag };
  }
  return { status: STATUS_CODE.OK, headers: sized, etag, body: value.open() };
}

/**
 * `PUT /v1/keys/KEY`: 201 created or 204 replaced, with the ETag of the value that is stored now.
 *
 * @param key As {@link keyOf} gives it.
 * @param options The largest value that is taken, in bytes, and what throws if the write may not take effect.
 * @throws {InvalidRangeError} If the body is said to be a part of a value.
 */
export function putKey(
  store: OwnedStore,
  key: string,
  request: HttpRequest,
  { maxValueBytes, check }: { readonly maxValueBytes: number; readonly check: () => void },
): RouteResult {
  const refused = refuseCoding(request);
  if (refused !== undefined) return refused;
  if (request.header("content-range") !== undefined) {
    // RFC 9110 section 14.5: a server that would save a part as the whole must refuse the request.
    throw new InvalidRangeError("Invalid Content-Range: a value is saved as a whole");
  }
  const condition = conditionOf(request);
  const value = readValue(request, maxValueBytes);
  const save = (whole: Value | IncomingValue) => {
    check();
    return store.set(key, whole, condition);
  };
  return (value instanceof Promise ? value.then(save) : save(value)).then(answerSet);
}

function answerSet({ created, etag }: SetResult): HttpResponse {
  return { status: created ? STATUS_CODE.Created : STATUS_CODE.NoContent, etag };
}

/** `DELETE /v1/keys/KEY`: 204, or 404. */
export async function deleteKey(store: OwnedStore, request: HttpRequest): Promise<HttpResponse> {
  const key = keyOf(request);
  refuseQuery(request.query);
  const found = await store.delete(key, conditionOf(request));
  return found ? { status: STATUS_CODE.NoContent } : notFound(key, request);
}

/** `GET /v1/keys`: a page of keys as JSON, or all of them as NDJSON, in order. */
export function listKeys(store: OwnedStore, request: HttpRequest): HttpResponse {
  const options = listOptions(request.query);
  if (request.header("accept")?.includes(NDJSON_TYPE)) {
    const body = streamPages(
      store,
      options,
      (keys) => keys.map((key) => JSON.stringify({ key }) + "\n").join(""),
      () => store.page === undefined ? "" : JSON.stringify(store.page) + "\n",
    );
    return { status: STATUS_CODE.OK, headers: { "content-type": NDJSON_TYPE }, body };
  }
  const limit = Math.min(options.limit ?? DEFAULT_PAGE, MAX_PAGE);
  // One key more than is shown tells whether there is a next page.
  const keys = store.list({ ...options, limit: limit + 1 });
  const more = keys.length > limit;
  if (more) keys.pop();
  const next = more ? keys.at(-1) ?? null : null;
  return jsonAnswer(STATUS_CODE.OK, { keys, next, ...store.page });
}

/** @throws {InvalidQueryError} If the query has an unknown name or the limit is not from 1 to `MAX_LIMIT`. */
function listOptions(query: string): ListOptions {
  const fields = parseQuery(query, ["prefix", "after", "limit"]);
  const prefix = fields.get("prefix");
  const after = fields.get("after");
  const limit = fields.get("limit");
  return {
    ...(prefix === undefined ? {} : { prefix }),
    ...(after === undefined ? {} : { after }),
    ...(limit === undefined ? {} : { limit: parseLimit(limit) }),
  };
}

function parseLimit(text: string): number {
  const limit = /^[1-9]\d*$/.test(text) ? Number(text) : NaN;
  if (limit <= MAX_LIMIT) return limit;
  throw new InvalidQueryError(
    `Invalid query: expected a limit from 1 to ${MAX_LIMIT}, received "${text}"`,
  );
}

function conditionOf(request: HttpRequest): Condition | undefined {
  return writeCondition(request.header("if-match"), request.header("if-none-match"));
}

function notFound(key: string, { path }: HttpRequest): HttpResponse {
  return errorAnswer(path, STATUS_CODE.NotFound, `No such key: ${key}`);
}

function discard(value: Value | LargeValue): void {
  if (!(value instanceof Value)) value.discard();
}
