/** The native routes: keys with ETag and conditions, listings, batches. */
import { concat } from "@std/bytes/concat";
import { ifNoneMatch } from "@std/http/etag";
import { STATUS_CODE } from "@std/http/status";
import { type AnswerRoom } from "./answer_room.ts";
import { type BatchOptions, runBatch } from "./batch.ts";
import { readValue } from "./request_value.ts";
import { type IfMatch } from "../store.ts";
import { isAsExpected, preconditionFailed } from "../storage/write_conditions.ts";
import { readCondition, writeCondition } from "./request_value.ts";
import { DeferredAnswer } from "./answers.ts";
import {
  InvalidMoveError,
  InvalidQueryError,
  InvalidRangeError,
  LengthRequiredError,
} from "../errors.ts";
import { SharedHeaders } from "../http/headers.ts";
import { type HttpRequest, type HttpResponse } from "../http/types.ts";
import { isObject } from "../protocol.ts";
import { streamPages } from "./answers.ts";
import { type MoveWatch } from "./move_watch.ts";
import { streamParts } from "./answers.ts";
import { parseQuery, refuseQuery } from "./query.ts";
import { errorAnswer } from "./answers.ts";
import { jsonAnswer } from "../http/answers.ts";
import {
  DEFAULT_CONTENT_TYPE,
  isMoveStep,
  MOVE_QUERY,
  type MoveStep,
  V1_KEYS,
} from "../protocol.ts";
import {
  type Condition,
  type LargeValue,
  type ListOptions,
  type SetResult,
  type Store,
} from "../store.ts";
import { Value } from "../value.ts";

/** Keys in one page of `GET /v1/keys` when the request does not say. */
const DEFAULT_PAGE = 1000;

/** The most keys in one page of `GET /v1/keys`. */
const MAX_PAGE = 10_000;

/** The largest `limit` of a listing; a stream of all keys is not paged. */
const MAX_LIMIT = 999_999_999;

/** Content type of a listing or batch with one JSON object a line. */
const NDJSON_TYPE = "application/x-ndjson";

const DEFAULT_TYPE = new SharedHeaders({ "content-type": DEFAULT_CONTENT_TYPE });

/** Methods of `/v1/keys/KEY`, for `Allow`. */
export const KEY_METHODS = "GET, HEAD, PUT, DELETE";

/** What a route gives. */
export type RouteResult = HttpResponse | Promise<HttpResponse> | DeferredAnswer<SetResult>;

/**
 * `GET` and `HEAD /v1/keys/KEY`: the bytes, 412 where the key is not as the client expects, 304 where it
 * has the bytes, 404. In this order: RFC 9110 section 13.2.2.
 */
export function getKey(store: Store, key: string, request: HttpRequest): RouteResult {
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
  if (value === undefined) return notFound(key);
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

/** `PUT /v1/keys/KEY`: 201 created or 204 replaced, with the ETag of what is stored now. */
export function putKey(
  store: Store,
  key: string,
  request: HttpRequest,
  maxBytes: number,
): RouteResult {
  const refused = refuseCoding(request);
  if (refused !== undefined) return refused;
  if (request.header("content-range") !== undefined) {
    // RFC 9110 section 14.5: what would save a part as the whole must be refused.
    throw new InvalidRangeError("Invalid Content-Range: a value is saved as a whole");
  }
  const condition = conditionOf(request);
  const value = readValue(request, maxBytes);
  const saved = value instanceof Promise
    ? value.then((whole) => store.set(key, whole, condition))
    : store.set(key, value, condition);
  return new DeferredAnswer(saved, answerSet);
}

function answerSet({ created, etag }: SetResult): HttpResponse {
  return { status: created ? STATUS_CODE.Created : STATUS_CODE.NoContent, etag };
}

/** `DELETE /v1/keys/KEY`: 204, or 404. */
export async function deleteKey(
  store: Store,
  key: string,
  request: HttpRequest,
): Promise<HttpResponse> {
  refuseQuery(request.query);
  const found = await store.delete(key, conditionOf(request));
  return found ? { status: STATUS_CODE.NoContent } : notFound(key);
}

/** `GET /v1/keys`: a page of keys as JSON, or all of them as NDJSON, in order. */
export function listKeys(store: Store, request: HttpRequest): HttpResponse {
  const options = listOptions(request.query);
  if (request.header("accept")?.includes(NDJSON_TYPE)) {
    const body = streamPages(
      store,
      options,
      (keys) => keys.map((key) => JSON.stringify({ key }) + "\n").join(""),
    );
    return { status: STATUS_CODE.OK, headers: { "content-type": NDJSON_TYPE }, body };
  }
  const limit = Math.min(options.limit ?? DEFAULT_PAGE, MAX_PAGE);
  // One more than is shown tells whether there is a next page.
  const keys = store.list({ ...options, limit: limit + 1 });
  const more = keys.length > limit;
  if (more) keys.pop();
  return jsonAnswer(STATUS_CODE.OK, { keys, next: more ? keys.at(-1) ?? null : null });
}

/**
 * The move that a write is part of, `undefined` for one of a client.
 *
 * @throws {InvalidQueryError} If the query has anything else.
 */
export function moveOf({ query }: HttpRequest): string | undefined {
  if (query === "") return undefined;
  const move = parseQuery(query, [MOVE_QUERY]).get(MOVE_QUERY);
  if (move === undefined || MOVE_NAME.test(move)) return move;
  throw new InvalidQueryError(`Invalid query: ${MOVE_QUERY} names no move: "${query}"`);
}

/** What a move calls itself: one line. */
const MOVE_NAME = /^[!-~](?:[ -~]{0,198}[!-~])?$/;

/** The most bytes of a step of a move. */
const MAX_STEP_BYTES = 1024;

/**
 * `PUT /v1/move`: a step of a move, as `{"move":"NAME","step":"begin"}`; 200 once it is durable.
 *
 * @throws {InvalidMoveError} If the body is none.
 * @throws {AnotherMoveError} If another move has begun since the one that is to be completed.
 */
export async function putMove(moves: MoveWatch, request: HttpRequest): Promise<HttpResponse> {
  const bytes = await request.body?.bytes(MAX_STEP_BYTES) ?? new Uint8Array();
  const { move, step } = parseStep(new TextDecoder().decode(bytes));
  await moves.take(move, step);
  return jsonAnswer(STATUS_CODE.OK, { move, step });
}

function parseStep(text: string): { readonly move: string; readonly step: MoveStep } {
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch {
    throw new InvalidMoveError("Invalid step of a move: the body is not JSON");
  }
  if (isObject(parsed) && typeof parsed.move === "string" && MOVE_NAME.test(parsed.move)) {
    const { move, step } = parsed;
    if (isMoveStep(step)) return { move, step };
  }
  throw new InvalidMoveError(
    'Invalid step of a move: expected "move", printable ASCII, and "step" begin, restart or complete',
  );
}

/**
 * `POST /v1/batch`: a line of result for each line of the body. The answer begins when all has run:
 * a client need not read while it sends.
 *
 * @param answers Where the memory for the answer comes from.
 */
export function postBatch(
  request: HttpRequest,
  answers: AnswerRoom,
  options: Omit<BatchOptions, "share">,
): HttpResponse | Promise<HttpResponse> {
  const refused = refuseCoding(request);
  if (refused !== undefined) return refused;
  const { body, contentLength, chunked } = request;
  if (contentLength === undefined && !chunked) {
    throw new LengthRequiredError("Length required: send Content-Length or a chunked body");
  }
  const chunks = body === undefined ? [] : body.chunks(Infinity);
  return answerBatch(chunks, { ...options, share: answers.share() });
}

async function answerBatch(
  chunks: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
  options: BatchOptions,
): Promise<HttpResponse> {
  const parts: Uint8Array<ArrayBuffer>[] = [];
  const encoder = new TextEncoder();
  const { share } = options;
  let size = 0;
  try {
    for await (const lines of runBatch(chunks, options)) {
      // At once: texts that live longer are garbage which the collector leaves for long.
      const part = encoder.encode(lines);
      if (part.length > 0) parts.push(part);
      size += part.length;
    }
  } catch (error) {
    share.release();
    throw error;
  }
  const headers = { "content-type": NDJSON_TYPE };
  if (share.steps === 0) return { status: STATUS_CODE.OK, headers, body: concat(parts) };
  return {
    status: STATUS_CODE.OK,
    headers: { ...headers, "content-length": String(size) },
    body: streamParts(parts, () => share.release()),
  };
}

/** @throws {InvalidQueryError} If the query has an unknown name or a limit that is no such count. */
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

/** The answer to content that is compressed: nobody would undo that. RFC 9110 sections 8.4 and 15.5.16. */
function refuseCoding(request: HttpRequest): HttpResponse | undefined {
  const coding = request.header("content-encoding");
  if (coding === undefined || /^(identity)?$/i.test(coding)) return undefined;
  const detail = `Content-Encoding not supported: send the content as it is, not as ${coding}`;
  return errorAnswer(request.path, STATUS_CODE.UnsupportedMediaType, detail, {
    "accept-encoding": "identity",
  });
}

function conditionOf(request: HttpRequest): Condition | undefined {
  return writeCondition(
    request.header("if-match") ?? null,
    request.header("if-none-match") ?? null,
  );
}

function notFound(key: string): HttpResponse {
  return errorAnswer(V1_KEYS + "/", STATUS_CODE.NotFound, `No such key: ${key}`);
}

function discard(value: Value | LargeValue): void {
  if (!(value instanceof Value)) value.discard();
}
