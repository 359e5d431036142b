/**
 * The native key routes as one client's requests: any bytes, streamed where they are many. The
 * time-out is how long a server may be silent, since how long the whole takes is up to its size.
 */
import { parseRetryAfter } from "./retry.ts";
import { RemoteError } from "../errors.ts";
import { toSegment } from "../key.ts";
import { type KeyPage, parseKeyPage, type Remote } from "./remote.ts";
import { type RequestTiming, SilenceTimer } from "./request_watch.ts";
import { DEFAULT_CONTENT_TYPE, V1_KEYS } from "../protocol.ts";

/** Bytes in memory. */
export type Bytes = Uint8Array<ArrayBuffer>;

/** A value as it came from its server. */
export interface FetchedValue {
  /** All bytes, or a stream for one reader, which fails with RemoteError where it is cut off. */
  readonly content: Bytes | ReadableStream<Bytes>;
  /** Number of bytes, where the server told. */
  readonly size: number | undefined;
  readonly contentType: string;
  readonly etag: string | undefined;
}

/** A write's condition (RFC 9110, 13.1). */
export interface WriteCondition {
  /** Only if the value has this ETag, quotes and all. */
  readonly ifMatch?: string | undefined;
  /** Only if there is no such key. */
  readonly ifAbsent?: boolean | undefined;
}

/** What is put. */
export interface PutRequest extends WriteCondition {
  readonly content: Bytes | ReadableStream<Bytes>;
  readonly contentType: string;
}

/** What a put did. */
export interface PutResult {
  /** Whether the key was absent before. */
  readonly created: boolean;
  /** ETag of the value now stored. */
  readonly etag: string | undefined;
}

/** Additional time for each byte that is sent at once, of which no progress is seen (ms). */
const MS_PER_BYTE = 1000 / 1024 ** 2;

/** An answer of at most this size (bytes) is expected to come at once. */
const SMALL_BYTES = 64 * 1024;

/** Keys in one page of a listing. */
const PAGE_KEYS = 1000;

/**
 * Gets a value, or resolves to `undefined` if the key is absent. One of at most `wholeBytes` comes
 * whole, so that it fails here if it is cut off; a larger one, or one of unknown size, as a stream.
 *
 * @throws {RemoteError} If the server cannot be reached, is silent, or answers anything else.
 */
export async function getValue(
  remote: Remote,
  key: string,
  { wholeBytes, ...timing }: RequestTiming & { readonly wholeBytes: number },
): Promise<FetchedValue | undefined> {
  const watch = new SilenceTimer(timing);
  let streaming = false;
  try {
    const response = await remote.request(`${V1_KEYS}/${toSegment(key)}`, { signal: watch.signal });
    if (response.status !== 200) {
      const failure = await failureOf(remote, response);
      if (response.status === 404) return undefined;
      throw failure;
    }
    const length = response.headers.get("content-length");
    const size = length === null ? undefined : Number(length);
    streaming = (size ?? Infinity) > wholeBytes;
    return {
      content: streaming
        ? ReadableStream.from(watchedBody(remote, response, watch))
        : await wholeBody(remote, response, watch),
      size,
      contentType: response.headers.get("content-type") ?? DEFAULT_CONTENT_TYPE,
      etag: response.headers.get("etag") ?? undefined,
    };
  } finally {
    if (!streaming) watch.end();
  }
}

/**
 * Puts a value.
 *
 * @throws {RemoteError} If the server cannot be reached, is silent, or answers anything else; status
 * 412 where the condition does not hold.
 * @throws Whatever the stream to be sent fails with.
 */
export async function putValue(
  remote: Remote,
  key: string,
  { content, contentType, ifMatch, ifAbsent }: PutRequest,
  timing: RequestTiming,
): Promise<PutResult> {
  const streamed = content instanceof ReadableStream;
  const timeoutMs = timing.timeoutMs + (streamed ? 0 : content.length * MS_PER_BYTE);
  const watch = new SilenceTimer({ ...timing, timeoutMs });
  const headers: Record<string, string> = { "content-type": contentType };
  if (ifMatch !== undefined) headers["if-match"] = ifMatch;
  if (ifAbsent === true) headers["if-none-match"] = "*";
  let unread: { readonly error: unknown } | undefined;
  const onError = (error: unknown) => {
    unread = { error };
  };
  try {
    const response = await remote.request(`${V1_KEYS}/${toSegment(key)}`, {
      method: "PUT",
      headers,
      body: streamed ? ReadableStream.from(watched(content, watch, onError)) : content,
      signal: watch.signal,
    });
    if (response.status !== 201 && response.status !== 204) {
      throw await failureOf(remote, response);
    }
    // Read to its end, so that the connection can be used again.
    await wholeBody(remote, response, watch);
    return {
      created: response.status === 201,
      etag: response.headers.get("etag") ?? undefined,
    };
  } catch (error) {
    // What was to be sent could not be read, which is not the server's failure.
    throw unread === undefined ? error : unread.error;
  } finally {
    watch.end();
  }
}

/**
 * Deletes a key; resolves to `false` if it was absent.
 *
 * @throws {RemoteError} If the server cannot be reached, is silent, or answers anything else; status
 * 412 where the value has another ETag than `ifMatch`.
 */
export async function deleteKey(
  remote: Remote,
  key: string,
  { ifMatch }: WriteCondition,
  timing: RequestTiming,
): Promise<boolean> {
  const watch = new SilenceTimer(timing);
  try {
    const response = await remote.request(`${V1_KEYS}/${toSegment(key)}`, {
      method: "DELETE",
      headers: ifMatch === undefined ? {} : { "if-match": ifMatch },
      signal: watch.signal,
    });
    if (response.status === 204) return true;
    const failure = await failureOf(remote, response);
    if (response.status === 404) return false;
    throw failure;
  } finally {
    watch.end();
  }
}

/**
 * One page of the keys that start with `prefix`, those behind `after`.
 *
 * @throws {RemoteError} If the server cannot be reached, is silent, or answers anything else.
 */
export async function listPage(
  remote: Remote,
  { prefix, after }: { readonly prefix: string; readonly after: string | undefined },
  timing: RequestTiming,
): Promise<KeyPage> {
  const watch = new SilenceTimer(timing);
  try {
    const query = `limit=${PAGE_KEYS}` + (prefix === "" ? "" : `&prefix=${toSegment(prefix)}`) +
      (after === undefined ? "" : `&after=${toSegment(after)}`);
    const response = await remote.request(`${V1_KEYS}?${query}`, { signal: watch.signal });
    if (response.status !== 200) throw await failureOf(remote, response);
    const text = new TextDecoder().decode(await wholeBody(remote, response, watch));
    const page = parseKeyPage(text);
    if (page === undefined || (page.next !== undefined && page.keys.length === 0)) {
      const { name } = remote.server;
      throw new RemoteError(name, 200, `${name} answered with a listing that is none`);
    }
    return page;
  } finally {
    watch.end();
  }
}

/** The error that an answer stands for; reads its body, so that its connection can be used again. */
async function failureOf(remote: Remote, response: Response): Promise<RemoteError> {
  const retryAfterMs = parseRetryAfter(response.headers.get("retry-after"), Date.now());
  const body = await response.bytes().catch(() => new Uint8Array());
  return remote.failure(response.status, body, retryAfterMs);
}

/** Passes chunks on; the watch runs only while it is the server's turn. */
async function* watched(
  chunks: ReadableStream<Bytes>,
  watch: SilenceTimer,
  onError: (error: unknown) => void,
): AsyncGenerator<Bytes> {
  watch.pause();
  try {
    for await (const chunk of chunks) {
      watch.restart();
      yield chunk;
      watch.pause();
    }
  } catch (error) {
    onError(error);
    throw error;
  }
  watch.restart();
}

/** The body of an answer, chunk by chunk; the watch runs only while it is the server's turn. */
async function* watchedBody(
  remote: Remote,
  response: Response,
  watch: SilenceTimer,
): AsyncGenerator<Bytes> {
  try {
    for await (const chunk of response.body ?? []) {
      watch.pause();
      yield chunk;
      watch.restart();
    }
  } catch (cause) {
    throw cutOff(remote, cause);
  } finally {
    watch.end();
  }
}

/** The whole body of an answer. A small one is read at once, which costs half. */
async function wholeBody(remote: Remote, response: Response, watch: SilenceTimer): Promise<Bytes> {
  if (Number(response.headers.get("content-length") ?? Infinity) <= SMALL_BYTES) {
    try {
      return await response.bytes();
    } catch (cause) {
      throw cutOff(remote, cause);
    }
  }
  const chunks: Bytes[] = [];
  for await (const chunk of watchedBody(remote, response, watch)) chunks.push(chunk);
  const [only] = chunks;
  return chunks.length === 1 && only !== undefined ? only : await new Blob(chunks).bytes();
}

function cutOff({ server: { name } }: Remote, cause: unknown): RemoteError {
  return new RemoteError(name, undefined, `${name} cut its answer off`, { cause });
}
