/** HTTP requests to one server, over fetch. */
import { type Access, OPEN_ACCESS } from "../access.ts";
import { RemoteError } from "../errors.ts";
import { LAYOUT_HEADER, SHUTTING_DOWN } from "../protocol.ts";
import { distrustOf } from "./distrust.ts";
import { detailOf, parseJson } from "./json.ts";
import { MisdirectedError, parseTold } from "./layout_told.ts";
import { parseRetryAfter } from "./retry.ts";
import { type ServerAddress } from "./server_list.ts";
import { SilenceTimer } from "./silence_timer.ts";

/** Bytes in memory. */
export type Bytes = Uint8Array<ArrayBuffer>;

/** How a server is asked. */
export interface RemoteOptions {
  /** How long the server may be silent within a request (ms). How long all of it takes depends on its size. */
  readonly timeoutMs: number;
  /** The token for guarded servers, and the authorities to trust; by default none and the public ones. */
  readonly access?: Access;
  /** Carries the requests; by default the client of `access` does. */
  readonly client?: Deno.HttpClient;
  /** Sends the requests; by default the runtime's `fetch` does. */
  readonly fetch?: typeof fetch;
}

/** A request. */
export interface RemoteRequest {
  readonly method?: "GET" | "HEAD" | "PUT" | "POST" | "DELETE";
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: Bytes | ReadableStream<Bytes>;
  /** The layout by which the server is asked: the text of the header. */
  readonly claim?: string | undefined;
  /** Gives the request up. */
  readonly signal?: AbortSignal | undefined;
  /** The largest body (bytes) of an answer of 200 that is read whole; by default every body is. */
  readonly wholeBytes?: number;
}

/** An answer. */
export interface RemoteAnswer {
  readonly status: number;
  readonly headers: Headers;
  /** The whole body; empty if it comes as `stream`. */
  readonly bytes: Bytes;
  /** The body if it is over `wholeBytes` or of unknown size. Fails with RemoteError if it is cut off. */
  readonly stream?: ReadableStream<Bytes>;
}

/** Additional time for each byte of a body (ms): some wait in buffers, where no progress is seen. */
const MS_PER_BYTE = 1000 / 1024 ** 2;

/** The size of the pieces in which a body that is in memory is sent (bytes). */
const PIECE_BYTES = 256 * 1024;

/** An answer of at most this size (bytes) is read in one step, under one time-out. */
const SMALL_BYTES = 64 * 1024;

/** Sends requests to one server. */
export class Transport {
  readonly server: ServerAddress;
  readonly #options: RemoteOptions;

  constructor(server: ServerAddress, options: RemoteOptions) {
    this.server = server;
    this.#options = options;
  }

  /**
   * Sends a request and resolves to the answer, whatever its status. Redirects are not followed. The
   * runtime may send a GET twice, and no other request.
   *
   * @param path Path and query. A segment `.` or `..` of the path would be lost.
   * @throws {RemoteError} Without a status: if there is no connection, the server is silent for too
   * long, or the answer is cut off.
   * @throws Whatever a stream to be sent fails with.
   */
  async answer(path: string, request: RemoteRequest = {}): Promise<RemoteAnswer> {
    const { body, signal, wholeBytes = Infinity } = request;
    const allowanceMs = body instanceof Uint8Array ? body.length * MS_PER_BYTE : 0;
    const timer = new SilenceTimer({ timeoutMs: this.#options.timeoutMs + allowanceMs, signal });
    const source: Source = {};
    let streaming = false;
    try {
      const response = await this.#send(path, request, timer, source);
      const { status, headers } = response;
      streaming = status === 200 && Number(headers.get("content-length") ?? Infinity) > wholeBytes;
      return streaming
        ? {
          status,
          headers,
          bytes: EMPTY,
          stream: ReadableStream.from(this.#chunks(response, timer)),
        }
        : { status, headers, bytes: await this.#whole(response, timer) };
    } catch (error) {
      // A source that cannot be read is not the server's failure.
      throw "error" in source ? source.error : error;
    } finally {
      if (!streaming) timer.end();
    }
  }

  /** As {@link answer}, but resolves to the body. Throws {@link failure} if the status is not 200. */
  async bytes(path: string, request: RemoteRequest = {}): Promise<Bytes> {
    const answer = await this.answer(path, request);
    if (answer.status !== 200) throw this.failure(answer);
    return answer.bytes;
  }

  /** The error that an answer stands for. */
  failure({ status, headers, bytes }: RemoteAnswer): RemoteError {
    const { name } = this.server;
    if (status === 421) {
      const told = parseTold(parseJson(new TextDecoder().decode(bytes)));
      return new MisdirectedError(name, `${name} answered 421: ${detailOf(bytes)}`, told);
    }
    const isAway = status === 503 && new TextDecoder().decode(bytes) === SHUTTING_DOWN;
    const why = isAway ? "it is shutting down or starting" : detailOf(bytes);
    const retryAfterMs = parseRetryAfter(headers.get("retry-after"), Date.now());
    return new RemoteError(name, status, `${name} answered ${status}: ${why}`, { retryAfterMs });
  }

  async #send(
    path: string,
    { method = "GET", headers = {}, body = EMPTY, claim }: RemoteRequest,
    timer: SilenceTimer,
    source: Source,
  ): Promise<Response> {
    const { access = OPEN_ACCESS, client = access.client, fetch: send = fetch } = this.#options;
    const allHeaders = access.authorize(
      claim === undefined ? headers : { ...headers, [LAYOUT_HEADER]: claim },
    );
    try {
      return await send(this.server.origin + path, {
        method,
        ...(allHeaders === undefined ? {} : { headers: allHeaders }),
        ...(method === "GET" || method === "HEAD" ? {} : { body: sentOnce(body, timer, source) }),
        redirect: "manual",
        signal: timer.signal,
        ...(client === undefined ? {} : { client }),
      });
    } catch (error) {
      throw this.#unreachable(error);
    }
  }

  /** The whole body of an answer. A small one is read at once, which is cheaper. */
  async #whole(response: Response, timer: SilenceTimer): Promise<Bytes> {
    if (Number(response.headers.get("content-length") ?? Infinity) <= SMALL_BYTES) {
      try {
        return await response.bytes();
      } catch (error) {
        throw this.#cutOff(error);
      }
    }
    const chunks: Bytes[] = [];
    for await (const chunk of this.#chunks(response, timer)) chunks.push(chunk);
    return concat(chunks);
  }

  /** The body of an answer, chunk by chunk; the timer runs only while it is the server's turn. */
  async *#chunks(response: Response, timer: SilenceTimer): AsyncGenerator<Bytes> {
    try {
      timer.restart();
      for await (const chunk of response.body ?? []) {
        timer.pause();
        yield chunk;
        timer.restart();
      }
    } catch (error) {
      throw this.#cutOff(error);
    } finally {
      timer.end();
    }
  }

  #cutOff(cause: unknown): RemoteError {
    if (isTimeout(cause)) return this.#unreachable(cause);
    const { name } = this.server;
    return new RemoteError(name, undefined, `${name} cut its answer off`, { cause });
  }

  #unreachable(cause: unknown): RemoteError {
    const { name } = this.server;
    const why = isTimeout(cause)
      ? `no answer within ${this.#options.timeoutMs} ms`
      : distrustOf(cause) ?? "no connection";
    return new RemoteError(name, undefined, `${name} cannot be reached: ${why}`, { cause });
  }
}

/** As `@std/bytes` has it; the library imports no packages. */
function concat(chunks: readonly Bytes[]): Bytes {
  const whole = new Uint8Array(chunks.reduce((size, chunk) => size + chunk.length, 0));
  let at = 0;
  for (const chunk of chunks) {
    whole.set(chunk, at);
    at += chunk.length;
  }
  return whole;
}

const EMPTY: Bytes = new Uint8Array();

/** What the stream that a caller gave as a body failed with, if it did. */
interface Source {
  error?: unknown;
}

function isTimeout(cause: unknown): boolean {
  return cause instanceof DOMException && cause.name === "TimeoutError";
}

/**
 * A body that the runtime cannot send a second time. Deno 2.9 repeats a request without a word if a kept
 * connection is cut behind it, unless its body is a stream. So even no body is one here.
 */
function sentOnce(
  body: Bytes | ReadableStream<Bytes>,
  timer: SilenceTimer,
  source: Source,
): ReadableStream<Bytes> {
  if (body instanceof ReadableStream) return ReadableStream.from(watched(body, timer, source));
  let at = 0;
  return new ReadableStream({
    pull(controller) {
      timer.restart();
      if (at < body.length) controller.enqueue(body.subarray(at, at += PIECE_BYTES));
      if (at >= body.length) controller.close();
    },
  });
}

/** Passes chunks on; the timer runs only while it is the server's turn. */
async function* watched(
  chunks: ReadableStream<Bytes>,
  timer: SilenceTimer,
  source: Source,
): AsyncGenerator<Bytes> {
  timer.pause();
  try {
    for await (const chunk of chunks) {
      timer.restart();
      yield chunk;
      timer.pause();
    }
  } catch (error) {
    source.error = error;
    throw error;
  }
  timer.restart();
}
