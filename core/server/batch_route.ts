/** `POST /v1/batch`: the body's chunks in, the results out as one answer. */
import { concat } from "@std/bytes/concat";
import { STATUS_CODE } from "@std/http/status";
import { LengthRequiredError } from "../errors.ts";
import { type HttpRequest, type HttpResponse } from "../http/types.ts";
import { type AnswerAllowance } from "./answer_allowance.ts";
import { NDJSON_TYPE, type RouteResult } from "./answers.ts";
import { type BatchOptions, runBatch } from "./batch.ts";
import { refuseCoding } from "./request_value.ts";

/**
 * `POST /v1/batch`: a line of result for each line of the body. The answer begins when all operations
 * have run, so a client need not read while it sends.
 *
 * @param answers Gives the memory for the answer.
 * @throws {LengthRequiredError} If the request has no length.
 */
export function postBatch(
  request: HttpRequest,
  answers: AnswerAllowance,
  options: Omit<BatchOptions, "share">,
): RouteResult {
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
      // Encoded at once: the collector leaves texts that live longer for a long time.
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
    body: streamParts(parts, (left) => share.shrinkTo(left)),
  };
}

/**
 * Streams `parts` in order and forgets each part that was read; no part may be empty.
 *
 * @param onLeft Called before each part with the bytes that are still to be sent; with 0 at the end, or when nobody
 * wants the rest.
 */
export function streamParts(
  parts: Uint8Array<ArrayBuffer>[],
  onLeft: (bytes: number) => void,
): ReadableStream<Uint8Array<ArrayBuffer>> {
  let left = parts.reduce((bytes, { length }) => bytes + length, 0);
  parts.reverse();
  return new ReadableStream({
    pull(controller) {
      onLeft(left);
      const part = parts.pop();
      if (part === undefined) return controller.close();
      left -= part.length;
      controller.enqueue(part);
    },
    cancel: () => onLeft(0),
  }, { highWaterMark: 0 });
}
