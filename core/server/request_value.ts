/** The value that a request carries: its bytes, small ones whole and large ones in pieces, and their type. */
import { STATUS_CODE } from "@std/http/status";
import { InvalidContentTypeError, LengthRequiredError, ValueTooLargeError } from "../errors.ts";
import { type HttpBody, type HttpRequest, type HttpResponse } from "../http/types.ts";
import { DEFAULT_CONTENT_TYPE, LARGE_VALUE_BYTES } from "../protocol.ts";
import { type IncomingValue } from "../store.ts";
import { following } from "../system/chunks.ts";
import { Value } from "../value.ts";
import { errorAnswer } from "./answers.ts";

/** The first buffer for a value of unknown size (bytes). */
const FIRST_BYTES = 1024;

/**
 * Reads the body of a request as a value; without a promise if the body came along with the header.
 *
 * @param maxBytes The largest value that is taken.
 * @throws {InvalidContentTypeError} If the content type could not be sent back.
 * @throws {LengthRequiredError} If the request has no length.
 * @throws {ValueTooLargeError} If the value is over the limit: at once if its length is named, else when
 * it has grown so far.
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

/** Reads a value of unknown size, or a large one. Returns it whole if it turns out to be small. */
async function readLarge(
  body: HttpBody,
  contentType: string,
  maxBytes: number,
): Promise<Value | IncomingValue> {
  const chunks = body.chunks(maxBytes);
  // One buffer that grows: neither may a client that sends byte by byte cost an array a byte, nor may a
  // small value cost the memory of a large one.
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

/** The answer to compressed content, which would be kept compressed: RFC 9110 sections 8.4 and 15.5.16. */
export function refuseCoding(request: HttpRequest): HttpResponse | undefined {
  const coding = request.header("content-encoding");
  if (coding === undefined || /^(identity)?$/i.test(coding)) return undefined;
  const detail = `Content-Encoding not supported: send the content as it is, not as ${coding}`;
  return errorAnswer(request.path, STATUS_CODE.UnsupportedMediaType, detail, {
    "accept-encoding": "identity",
  });
}

const CONTENT_TYPE = /^[\x21-\x7e](?:[\x20-\x7e]{0,253}[\x21-\x7e])?$/;

/**
 * Returns `text` if it can be a `Content-Type` header (RFC 9110, 5.5): 1 to 255 visible ASCII characters
 * and spaces between them.
 *
 * @throws {InvalidContentTypeError} If it cannot.
 */
export function checkContentType(text: string): string {
  if (CONTENT_TYPE.test(text)) return text;
  throw new InvalidContentTypeError(
    "Invalid content type: expected 1 to 255 visible ASCII characters",
  );
}
