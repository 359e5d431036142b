/** The routes of layouts and of the hand-over: docs/layouts.md. */
import { concat } from "@std/bytes/concat";
import { STATUS_CODE } from "@std/http/status";
import { InvalidLayoutError, LayoutConflictError, LengthRequiredError } from "../errors.ts";
import { jsonAnswer } from "../http/answers.ts";
import { type HttpRequest, type HttpResponse } from "../http/types.ts";
import { type Claim, parseClaim } from "../layout/claim.ts";
import { isEpoch, isServerName, isUuid, parseLayout } from "../layout/layout.ts";
import { FENCE_HEADER, isObject, LARGE_VALUE_BYTES, LAYOUT_HEADER } from "../protocol.ts";
import { isInRange } from "../layout/ownership.ts";
import { type Store } from "../store.ts";
import { following } from "../system/chunks.ts";
import { NDJSON_TYPE } from "./answers.ts";
import { splitLines } from "./batch_lines.ts";
import { fenceRange, giveUpRange } from "./handover.ts";
import { type Membership } from "./membership.ts";
import { refuseQuery } from "./query.ts";
import {
  isMeant,
  parseEntry,
  parseRange,
  type TakenRange,
  type TakenValues,
  takeRange,
  targetOf,
} from "./take_range.ts";
import { keyOf } from "./v1_routes.ts";

/** The most bytes of a layout: thousands of servers. */
const MAX_LAYOUT_BYTES = 4 * 1024 * 1024;

/** The most bytes of a step of a hand-over. */
const MAX_STEP_BYTES = 4096;

/** The most that one range may hold: keys, and bytes. */
const MOST_KEYS = 10_000;
const MOST_BYTES = 8 * 1024 * 1024;

/** The most bytes of the lines of a take: a range of the most bytes, escaped. */
const MAX_TAKE_BYTES = 4 * MOST_BYTES;

/** The longest first line of a take, in bytes. */
const MAX_HEAD_BYTES = 64 * 1024;

/** The longest lease of a fence, in milliseconds. */
const MAX_LEASE_MS = 600_000;

const NO_CONTENT: HttpResponse = { status: STATUS_CODE.NoContent };

/** What a request says of its layout. @throws {InvalidLayoutError} If the header is none. */
export function claimOf(request: HttpRequest): Claim | undefined {
  const header = request.header(LAYOUT_HEADER);
  return header === undefined ? undefined : parseClaim(header);
}

/**
 * Makes sure that the fence stands under which the mover reads a value.
 *
 * @throws {InvalidLayoutError} If the header is no number.
 * @throws {LayoutConflictError} If that fence does not stand, or the key is not in its range.
 */
export function checkFence(request: HttpRequest, membership: Membership): void {
  const header = request.header(FENCE_HEADER);
  if (header === undefined) return;
  if (!/^[1-9]\d{0,15}$/.test(header)) {
    throw new InvalidLayoutError("Invalid Kvs-Fence: expected a number");
  }
  const fence = membership.checkFence(Number(header));
  if (isInRange(fence, keyOf(request))) return;
  throw new LayoutConflictError(`The key is not in the range of fence ${header}`);
}

/** `GET /v1/layout`: the layout and what the server knows of itself. */
export function getLayout(
  store: Store,
  request: HttpRequest,
  membership: Membership,
): HttpResponse {
  refuseQuery(request.query);
  const { self = null, store: id, stopped } = membership.state;
  const { layout, mark, end } = membership.told;
  const told = { layout, self, store: id, mark, end, keys: store.size, leaving: false, stopped };
  return jsonAnswer(STATUS_CODE.OK, told);
}

/**
 * `PUT /v1/layout`: 204 once the layout is durable.
 *
 * @throws {InvalidLayoutError} If the body is none.
 * @throws {LayoutConflictError} If the layout does not follow the one that the server has.
 */
export async function putLayout(
  store: Store,
  request: HttpRequest,
  membership: Membership,
): Promise<HttpResponse> {
  const json = await readJson(request, MAX_LAYOUT_BYTES);
  const { layout, self, store: id, replace = false, ...rest } = json;
  refuseFields(rest);
  if (!isServerName(self)) throw invalid('"self" is no name of a server');
  if (!isUuid(id)) throw invalid('"store" is no UUID');
  if (typeof replace !== "boolean") throw invalid('"replace" is true or false');
  await membership.take(
    { layout: parseLayout(layout), self, store: id, replace },
    store,
  );
  return NO_CONTENT;
}

/**
 * `POST /v1/handover`: fences the next range and answers with its lines.
 *
 * @throws {InvalidLayoutError} If the body is none.
 * @throws {LayoutConflictError} If the server is no source of the move, or another fence stands.
 */
export async function postHandover(
  store: Store,
  request: HttpRequest,
  membership: Membership,
): Promise<HttpResponse> {
  const { cluster, epoch, keys, bytes, leaseMs, ...rest } = await readJson(request, MAX_STEP_BYTES);
  refuseFields(rest);
  if (!isUuid(cluster)) throw invalid('"cluster" is no UUID');
  if (!isEpoch(epoch)) throw invalid('"epoch" is no positive whole number');
  if (!isEpoch(keys) || !isEpoch(bytes) || !isEpoch(leaseMs)) {
    throw invalid('"keys", "bytes" and "leaseMs" are positive whole numbers');
  }
  const lines = await fenceRange(store, membership, { cluster, epoch }, {
    keys: Math.min(keys, MOST_KEYS),
    bytes: Math.min(bytes, MOST_BYTES),
    leaseMs: Math.min(leaseMs, MAX_LEASE_MS),
  });
  if (lines === undefined) return jsonAnswer(STATUS_CODE.OK, { end: true });
  const body = new TextEncoder().encode(lines.join(""));
  return { status: STATUS_CODE.OK, headers: { "content-type": NDJSON_TYPE }, body };
}

/**
 * `POST /v1/handover/done`: all targets have taken the range of the fence; 204 once it is handed over.
 *
 * @throws {InvalidLayoutError} If the body is none.
 * @throws {LayoutConflictError} If that fence does not stand.
 */
export async function postDone(
  store: Store,
  request: HttpRequest,
  membership: Membership,
): Promise<HttpResponse> {
  const { cluster, epoch, fence, ...rest } = await readJson(request, MAX_STEP_BYTES);
  refuseFields(rest);
  if (!isUuid(cluster)) throw invalid('"cluster" is no UUID');
  if (!isEpoch(epoch) || !isEpoch(fence)) {
    throw invalid('"epoch" and "fence" are positive whole numbers');
  }
  await giveUpRange(store, membership, { cluster, epoch, fence });
  return NO_CONTENT;
}

/**
 * `POST /v1/handover/take`: makes the content of a range equal to what is sent; 204 once durable.
 *
 * @throws {InvalidLayoutError} If the body is none.
 * @throws {LayoutConflictError} If the server is no target of the move, or a newer take was here.
 */
export async function postTake(
  store: Store,
  request: HttpRequest,
  membership: Membership,
): Promise<HttpResponse> {
  refuseQuery(request.query);
  const { body, contentLength, chunked } = request;
  if (contentLength === undefined && !chunked) throw lengthRequired();
  const { line, rest } = await splitHead(body?.chunks(Infinity) ?? noChunks());
  const range = parseRange(line);
  const place = targetOf(membership, range);
  // A mover may send the whole range to each target.
  const isWanted = (key: string) => isMeant(range, place, key);
  await takeRange(store, membership, range, await valuesOf(range, rest, isWanted));
  return NO_CONTENT;
}

async function* noChunks(): AsyncGenerator<Uint8Array> {}

async function valuesOf(
  range: TakenRange,
  rest: AsyncIterable<Uint8Array>,
  isWanted: (key: string) => boolean,
): Promise<TakenValues> {
  const { large } = range;
  if (large !== undefined) {
    if (large.size <= LARGE_VALUE_BYTES) throw invalid("a value that is not large is a line");
    const chunks = exactly(rest, large.size);
    if (isWanted(large.key)) return new Map([[large.key, { chunks, contentType: large.type }]]);
    for await (const _ of chunks);
    return new Map();
  }
  const values = new Map();
  for await (const lines of splitLines(atMost(rest, MAX_TAKE_BYTES))) {
    for (const line of lines) {
      const [key, value] = parseEntry(line);
      if (isWanted(key)) values.set(key, value);
    }
  }
  return values;
}

/** Passes on the bytes of a large value, which must be as many as was said. */
async function* exactly(
  chunks: AsyncIterable<Uint8Array>,
  size: number,
): AsyncGenerator<Uint8Array> {
  let left = size;
  for await (const chunk of chunks) {
    left -= chunk.length;
    if (left < 0) break;
    yield chunk;
  }
  if (left !== 0) throw invalid("the large value has another size");
}

async function* atMost(
  chunks: AsyncIterable<Uint8Array>,
  most: number,
): AsyncGenerator<Uint8Array> {
  let left = most;
  for await (const chunk of chunks) {
    left -= chunk.length;
    if (left < 0) throw invalid(`the lines have over ${most} bytes`);
    yield chunk;
  }
}

/** The first line of a body, and the bytes behind it. */
async function splitHead(
  chunks: AsyncGenerator<Uint8Array>,
): Promise<{ readonly line: string; readonly rest: AsyncIterable<Uint8Array> }> {
  const parts: Uint8Array[] = [];
  let size = 0;
  for (let next = await chunks.next(); next.done !== true; next = await chunks.next()) {
    const chunk = next.value;
    const end = chunk.indexOf(0x0a);
    parts.push(end < 0 ? chunk : chunk.subarray(0, end));
    size += parts.at(-1)?.length ?? 0;
    if (size > MAX_HEAD_BYTES) throw invalid(`the first line has over ${MAX_HEAD_BYTES} bytes`);
    if (end >= 0) {
      return { line: textOf(parts), rest: following([chunk.subarray(end + 1)], chunks) };
    }
  }
  return { line: textOf(parts), rest: noChunks() };
}

function textOf(parts: readonly Uint8Array[]): string {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(concat(parts));
  } catch {
    throw invalid("the first line is not UTF-8");
  }
}

async function readJson(
  request: HttpRequest,
  maxBytes: number,
): Promise<Readonly<Record<string, unknown>>> {
  refuseQuery(request.query);
  const { body, contentLength, chunked } = request;
  if (contentLength === undefined && !chunked) throw lengthRequired();
  const bytes = await body?.bytes(maxBytes) ?? new Uint8Array();
  let json: unknown;
  try {
    json = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch {
    throw invalid("it is not JSON");
  }
  if (!isObject(json) || Array.isArray(json)) throw invalid("it is no object");
  return json;
}

function refuseFields(fields: Readonly<Record<string, unknown>>): void {
  const [field] = Object.keys(fields);
  if (field !== undefined) throw invalid(`unknown field ${JSON.stringify(field.slice(0, 50))}`);
}

function lengthRequired(): LengthRequiredError {
  return new LengthRequiredError("Length required: send Content-Length or a chunked body");
}

function invalid(why: string): InvalidLayoutError {
  return new InvalidLayoutError(`Invalid body: ${why}`);
}
