import { STATUS_CODE } from "@std/http/status";
import { jsonAnswer, textAnswer } from "../http/answers.ts";
import { SharedHeaders } from "../http/headers.ts";
import { type HttpResponse } from "../http/types.ts";
import { SHUTTING_DOWN, TEXT_TYPE } from "../protocol.ts";
import { type ListOptions, type Store } from "../store.ts";
import { errorName } from "./statuses.ts";

/**
 * In place of a promise of the answer, which would be one promise more on the way of each save, with
 * all that hangs on it.
 */
export class DeferredAnswer<T> {
  readonly #promise: Promise<T>;
  readonly #toAnswer: (value: T) => HttpResponse;

  /** @param toAnswer Makes the answer of what `promise` resolves to. */
  constructor(promise: Promise<T>, toAnswer: (value: T) => HttpResponse) {
    this.#promise = promise;
    this.#toAnswer = toAnswer;
  }

  /** The answer as it passed through `finish`; where there is none, what `failed` makes of the reason. */
  settle(
    finish: (answer: HttpResponse) => HttpResponse,
    failed: (error: unknown) => HttpResponse,
  ): Promise<HttpResponse> {
    return this.#promise.then((value) => {
      let answer: HttpResponse;
      try {
        answer = this.#toAnswer(value);
      } catch (error) {
        return failed(error);
      }
      return finish(answer);
    }, failed);
  }
}

/** Keys in one page of a stream; what a listing takes in memory, and how long it holds the loop. */
const PAGE = 1000;

/**
 * All keys that `options` name as a stream, in order and in pages, with constant memory. A key saved
 * or deleted meanwhile may or may not be in it; every other key is in it exactly once.
 *
 * @param format What goes out for a page, which is never empty.
 */
export function streamPages(
  store: Store,
  options: ListOptions,
  format: (keys: readonly string[]) => string,
): ReadableStream<Uint8Array<ArrayBuffer>> {
  const encoder = new TextEncoder();
  let after = options.after;
  let left = options.limit ?? Infinity;
  return new ReadableStream({
    pull(controller) {
      const limit = Math.min(left, PAGE);
      const keys = store.list({ ...options, ...(after === undefined ? {} : { after }), limit });
      if (keys.length > 0) controller.enqueue(encoder.encode(format(keys)));
      after = keys.at(-1);
      left -= keys.length;
      if (keys.length < limit || left <= 0) controller.close();
    },
  });
}

/**
 * The parts, one behind the other; none may be empty. What was read is let go of.
 *
 * @param onEnd Called once, when all was read or nobody wants the rest.
 */
export function streamParts(
  parts: Uint8Array<ArrayBuffer>[],
  onEnd: () => void,
): ReadableStream<Uint8Array<ArrayBuffer>> {
  parts.reverse();
  return new ReadableStream({
    pull(controller) {
      const part = parts.pop();
      if (part !== undefined) return controller.enqueue(part);
      controller.close();
      onEnd();
    },
    cancel: onEnd,
  }, { highWaterMark: 0 });
}

/** An error in the form of the route: a line of JSON on the native routes, else a line of text. */
export function errorAnswer(
  path: string,
  status: number,
  detail: string,
  headers?: Record<string, string>,
): HttpResponse {
  return path.startsWith("/v1/")
    ? jsonAnswer(status, { error: errorName(status), detail }, headers)
    : textAnswer(status, detail, headers);
}

/**
 * What every data route answers while the shard is not serving. The connection is closed, so that
 * the client looks the name up again instead of staying with a Pod that goes.
 */
export const UNAVAILABLE: HttpResponse = {
  status: STATUS_CODE.ServiceUnavailable,
  headers: new SharedHeaders({
    "content-type": TEXT_TYPE,
    "retry-after": "1",
    "connection": "close",
  }),
  body: SHUTTING_DOWN,
};
