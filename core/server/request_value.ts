/** Request bodies as values: small ones whole, large ones piece by piece. */
import {
  InvalidConditionError,
  InvalidContentTypeError,
  LengthRequiredError,
  ValueTooLargeError,
} from "../errors.ts";
import { type HttpBody, type HttpRequest } from "../http/types.ts";
import { DEFAULT_CONTENT_TYPE, LARGE_VALUE_BYTES } from "../protocol.ts";
import { type Condition, type IfMatch, type IncomingValue } from "../store.ts";
import { following } from "../system/chunks.ts";
import { Value } from "../value.ts";

/** The room for a value of unknown size at first (bytes). */
const FIRST_BYTES = 1024;

/**
 * Reads the body of a request as a value; without a promise where it came along with the header.
 *
 * @param maxBytes The largest value that is taken.
 * @throws {InvalidContentTypeError} If its content type could not be sent back.
 * @throws {LengthRequiredError} If the request has no length.
 * @throws {ValueTooLargeError} If the length named is over the limit; a chunked body throws it when
 * it gets there.
 */
export function readValue(
  request: HttpRequest,
  maxBytes: number,
): Value | Promise<Value | IncomingValue> {
  const { body, contentLength, chunked } = request;
  const named = request.header("content-type");
  const contentType = named === undefined ? DEFAULT_CONTENT_TYPE : checkContentType(named);
  if (contentLength === undefined && !chunked) {
    throw new LengthRequiredError("Length required: send Content-Length or a chunked body");
  }
  if (contentLength !== undefined && contentLength > maxBytes) {
    throw new ValueTooLargeError(contentLength, maxBytes);
  }
  if (body === undefined) return new Value(new Uint8Array(), contentType);
  if (contentLength === undefined || contentLength > LARGE_VALUE_BYTES) {
    return readLarge(body, contentType, maxBytes);
  }
  const view = body.view(maxBytes);
  if (view !== undefined) return Value.copyOf(view, contentType);
  return readSmall(body, contentType, maxBytes);
}

async function readSmall(body: HttpBody, contentType: string, maxBytes: number): Promise<Value> {
  return new Value(await body.bytes(maxBytes), contentType);
}

/** Reads what may turn out to be small: up to the size from which a value is never held whole. */
async function readLarge(
  body: HttpBody,
  contentType: string,
  maxBytes: number,
): Promise<Value | IncomingValue> {
  const chunks = body.chunks(maxBytes);
  // One buffer that grows: a client that sends byte by byte must not cost an array for each, nor a small value
  // the room of a large one.
  let head = new Uint8Array(FIRST_BYTES);
  let size = 0;
  while (true) {
    const next = await chunks.next();
    if (next.done === true) return Value.copyOf(head.subarray(0, size), contentType);
    const chunk = next.value;
    const total = size + chunk.length;
    if (total > LARGE_VALUE_BYTES) {
      return { chunks: following([head.subarray(0, size), chunk], chunks), contentType };
    }
    if (total > head.length) {
      const larger = new Uint8Array(Math.min(Math.max(2 * head.length, total), LARGE_VALUE_BYTES));
      larger.set(head.subarray(0, size));
      head = larger;
    }
    head.set(chunk, size);
    size = total;
  }
}

const ETAG_LIST = /^(?:W\/)?"[^"]*"(?:\s*,\s*(?:W\/)?"[^"]*")*$/;

/**
 * Returns the condition of a write, `undefined` where it has none. Weak ETags never match a write.
 *
 * @throws {InvalidConditionError} If a header is malformed, or both are there.
 */
export function writeCondition(
  ifMatch: string | null,
  ifNoneMatch: string | null,
): Condition | undefined {
  if (ifMatch !== null && ifNoneMatch !== null) {
    throw new InvalidConditionError("Invalid condition: If-Match and If-None-Match exclude");
  }
  if (ifNoneMatch !== null) {
    if (ifNoneMatch.trim() === "*") return "absent";
    throw new InvalidConditionError("Invalid If-None-Match: a write takes only *");
  }
  return ifMatch === null ? undefined : parseIfMatch(ifMatch);
}

/**
 * Returns what a read expects to find, `undefined` where `ifMatch` is. Weak ETags never match.
 *
 * @throws {InvalidConditionError} If the header is malformed.
 */
export function readCondition(ifMatch: string | undefined): IfMatch | undefined {
  return ifMatch === undefined ? undefined : parseIfMatch(ifMatch);
}

function parseIfMatch(text: string): IfMatch {
  const list = text.trim();
  if (list === "*") return "present";
  if (!ETAG_LIST.test(list)) {
    throw new InvalidConditionError(`Invalid If-Match: expected * or "etag", ...: ${list}`);
  }
  const etags = (list.match(/(?:W\/)?"[^"]*"/g) ?? []).filter((etag) => !etag.startsWith("W/"));
  return { etags };
}

const CONTENT_TYPE = /^[\x21-\x7e](?:[\x20-\x7e]{0,253}[\x21-\x7e])?$/;

/**
 * Returns `text` when it can be a `Content-Type` header (RFC 9110, 5.5): 1 to 255 visible ASCII
 * characters and spaces between them.
 *
 * @throws {InvalidContentTypeError} If it cannot.
 */
export function checkContentType(text: string): string {
  if (CONTENT_TYPE.test(text)) return text;
  throw new InvalidContentTypeError(
    "Invalid content type: expected 1 to 255 visible ASCII characters",
  );
}
