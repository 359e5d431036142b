/** Request bodies: bounded in size and in time, small ones whole, large ones piece by piece. */
import { BodyTimeoutError, KvsError, LengthRequiredError, ValueTooLargeError } from "./errors.ts";
import { DEFAULT_CONTENT_TYPE, type IncomingValue, LARGE_VALUE_BYTES, Value } from "./store.ts";

/** Bounds of a request body. */
export interface BodyLimits {
  /** The largest value that is taken, in bytes. */
  readonly maxBytes: number;
  /** How long a client may be silent within a body, in milliseconds. */
  readonly timeoutMs: number;
}

/**
 * Reads the body of a request as a value: whole where it is small, else as chunks still to come.
 *
 * @throws {LengthRequiredError} If the request has no length.
 * @throws {ValueTooLargeError} If the length named is over the limit; a chunked body throws it from
 * its chunks.
 * @throws {BodyTimeoutError} If the client stalls.
 */
export async function readValue(
  request: Request,
  limits: BodyLimits,
): Promise<Value | IncomingValue> {
  const { headers } = request;
  const contentType = headers.get("content-type") ?? DEFAULT_CONTENT_TYPE;
  const length = headers.get("content-length");
  if (length === null && headers.get("transfer-encoding") === null) {
    throw new LengthRequiredError("Length required: send Content-Length or a chunked body");
  }
  if (length !== null && Number(length) > limits.maxBytes) {
    throw new ValueTooLargeError(Number(length), limits.maxBytes);
  }
  if (request.body === null) return new Value(new Uint8Array(), contentType);
  if (length !== null && Number(length) <= LARGE_VALUE_BYTES) {
    return new Value(await inTime(request.bytes(), limits.timeoutMs), contentType);
  }

  const chunks = readChunks(request.body, limits);
  const head: Uint8Array<ArrayBuffer>[] = [];
  let size = 0;
  while (size <= LARGE_VALUE_BYTES) {
    const next = await chunks.next();
    if (next.done === true) return new Value(await new Blob(head).bytes(), contentType);
    head.push(next.value);
    size += next.value.length;
  }
  return { chunks: joined(head, chunks), contentType };
}

/** The chunks of a request body. @throws {ValueTooLargeError} As soon as there are too many bytes. */
export async function* readChunks(
  body: ReadableStream<Uint8Array<ArrayBuffer>>,
  { maxBytes, timeoutMs }: BodyLimits,
): AsyncGenerator<Uint8Array<ArrayBuffer>> {
  const reader = body.getReader();
  let size = 0;
  try {
    while (true) {
      const { done, value } = await inTime(reader.read(), timeoutMs);
      if (done) return;
      size += value.length;
      if (size > maxBytes) throw new ValueTooLargeError(size, maxBytes);
      yield value;
    }
  } finally {
    // Where the client stalled the read is still under way; nobody waits for it any more.
    reader.cancel().catch(() => {});
  }
}

async function* joined<T>(head: readonly T[], rest: AsyncIterable<T>): AsyncGenerator<T> {
  yield* head;
  yield* rest;
}

/** Waits for `read`; one timer a call. @throws {BodyTimeoutError} After `timeoutMs`, or if it fails. */
async function inTime<T>(read: Promise<T>, timeoutMs: number): Promise<T> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const timeout = new Promise<never>((_, reject) => {
    timer = setTimeout(() => {
      reject(new BodyTimeoutError(`Body timed out: nothing came for ${timeoutMs} ms`));
    }, timeoutMs);
  });
  try {
    return await Promise.race([read, timeout]);
  } catch (error) {
    if (error instanceof KvsError) throw error;
    throw new BodyTimeoutError("Body cut off: the client went away", { cause: error });
  } finally {
    clearTimeout(timer);
  }
}
