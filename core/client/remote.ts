/** One server as seen from afar, over fetch: the book routes, and the native ones where it has them. */
import { type Access, OPEN_ACCESS } from "../access.ts";
import { messageOf, RemoteError } from "../errors.ts";
import { bytesToSegment, toSegment } from "../key.ts";
import { hasDotSegment, rawRequest } from "./raw_http.ts";
import { type ServerAddress } from "./server_list.ts";
import {
  DEFAULT_CONTENT_TYPE,
  KEY_NOT_FOUND,
  KEY_SEPARATOR,
  MOVE_QUERY,
  type MoveStep,
  V1_BATCH,
  V1_KEYS,
  V1_MOVE,
  V1_STATS,
} from "../protocol.ts";

/** How a {@link Remote} asks. */
export interface RemoteOptions {
  /** How long one request may take, from name lookup to the last byte of the answer (ms). */
  readonly timeoutMs: number;
  /** What guarded servers are shown, and who vouches for them; by default nothing and the public authorities. */
  readonly access?: Access;
  /** Carries the requests; without it the client of `access` does. */
  readonly client?: Deno.HttpClient;
}

/** What {@link Remote.request} sends. */
export interface RemoteInit {
  readonly method?: string;
  readonly headers?: HeadersInit;
  readonly body?: Uint8Array<ArrayBuffer> | ReadableStream<Uint8Array<ArrayBuffer>>;
  /** Ends the request wherever it is, instead of the time-out. */
  readonly signal?: AbortSignal;
}

/** A value as a server keeps it. What its routes do not tell is `undefined`. */
export interface Copy {
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly contentType: string | undefined;
  readonly etag: string | undefined;
}

/** How {@link Remote.put} puts. */
export interface PutOptions {
  /** The move that it is part of. */
  readonly move?: string | undefined;
  /** Besides that of the content type. */
  readonly headers?: Readonly<Record<string, string>>;
}

/** A page of a listing. */
export interface KeyPage {
  readonly keys: readonly string[];
  /** What the next page comes after; `undefined` for the last page. */
  readonly next: string | undefined;
}

interface RemoteAnswer {
  readonly status: number;
  readonly headers: Headers;
  readonly bytes: Uint8Array<ArrayBuffer>;
}

const encoder = new TextEncoder();
const KEY_NOT_FOUND_BYTES = encoder.encode(KEY_NOT_FOUND);

/** How much of a server's own words a message repeats, in characters. */
const MAX_DETAIL = 200;

/** A server of a server list. Every method throws RemoteError: status where one was answered. */
export class Remote {
  readonly server: ServerAddress;
  readonly #options: RemoteOptions;

  constructor(server: ServerAddress, options: RemoteOptions) {
    this.server = server;
    this.#options = options;
  }

  /** Loads over the book route: the bytes, or `undefined` if the key is absent. */
  async load(key: string): Promise<Uint8Array<ArrayBuffer> | undefined> {
    const bytes = await this.#bytes(`/load/${toSegment(key)}`);
    return equalBytes(bytes, KEY_NOT_FOUND_BYTES) ? undefined : bytes;
  }

  /** Saves over the book route, which takes UTF-8 only; resolves to the server's answer. */
  async save(key: string, word: Uint8Array): Promise<string> {
    const path = `/save/${toSegment(key)}/${bytesToSegment(word)}`;
    return new TextDecoder().decode(await this.#bytes(path));
  }

  /** All keys, over the book route, in the order in which the server lists them. */
  async allKeys(): Promise<string[]> {
    const list = new TextDecoder().decode(await this.#bytes("/allKeys"));
    return list === "" ? [] : list.split(KEY_SEPARATOR).map(decodeListed);
  }

  /**
   * One page of keys, over the native route: at most `limit`, in order, those behind `after`.
   * Resolves to `undefined` if what the server answers is no page, that is if it is of another make.
   */
  async page(after: string | undefined, limit: number): Promise<KeyPage | undefined> {
    const from = after === undefined ? "" : `&after=${toSegment(after)}`;
    return parseKeyPage(new TextDecoder().decode(
      await this.#bytes(`${V1_KEYS}?limit=${limit}${from}`),
    ));
  }

  /** Gets over the native route, or resolves to `undefined` if the key is absent. */
  async get(key: string): Promise<Copy | undefined> {
    const { status, headers, bytes } = await this.#answer(`${V1_KEYS}/${toSegment(key)}`);
    if (status === 404) return undefined;
    if (status !== 200) throw this.failure(status, bytes);
    return {
      bytes,
      contentType: headers.get("content-type") ?? undefined,
      etag: headers.get("etag") ?? undefined,
    };
  }

  /** Puts any bytes over the native route, as part of a move where one is named. */
  async put(
    key: string,
    { bytes, contentType = DEFAULT_CONTENT_TYPE }: Copy,
    { move, headers = {} }: PutOptions = {},
  ): Promise<void> {
    const answer = await this.#answer(`${V1_KEYS}/${toSegment(key)}${moveQuery(move)}`, {
      method: "PUT",
      headers: { ...headers, "content-type": contentType },
      body: bytes,
    });
    if (answer.status !== 201 && answer.status !== 204) {
      throw this.failure(answer.status, answer.bytes);
    }
  }

  /**
   * Sends lines of a batch over the native route, as part of a move where one is named; resolves to the
   * lines of the answer.
   */
  async batch(lines: string, move?: string): Promise<string> {
    const { status, bytes } = await this.#answer(V1_BATCH + moveQuery(move), {
      method: "POST",
      body: encoder.encode(lines),
    });
    if (status !== 200) throw this.failure(status, bytes);
    return new TextDecoder().decode(bytes);
  }

  /** Tells a step of a move over the native route; `false` if there is no such route. */
  async tellMove(move: string, step: MoveStep): Promise<boolean> {
    const { status, bytes } = await this.#answer(V1_MOVE, {
      method: "PUT",
      body: encoder.encode(JSON.stringify({ move, step })),
    });
    if (status === 404 || status === 405) return false;
    if (status !== 200) throw this.failure(status, bytes);
    return true;
  }

  /** What `GET /v1/stats` tells; `undefined` if there is no such route. */
  async stats(): Promise<object | undefined> {
    const { status, bytes } = await this.#answer(V1_STATS);
    if (status === 404) return undefined;
    if (status !== 200) throw this.failure(status, bytes);
    return parseJson(new TextDecoder().decode(bytes));
  }

  /**
   * Sends one request and resolves to the response, whatever its status; redirects are not followed. Only a
   * GET or HEAD may reach the server twice.
   *
   * @throws {RemoteError} Without a status, if no answer came in time.
   */
  async request(path: string, init: RemoteInit = {}): Promise<Response> {
    return await this.#send(
      path,
      init,
      init.signal ?? AbortSignal.timeout(this.#options.timeoutMs),
    );
  }

  async #send(path: string, init: RemoteInit, signal: AbortSignal): Promise<Response> {
    const { access = OPEN_ACCESS, client = access.client } = this.#options;
    const headers = access.authorize(init.headers);
    const { method = "GET", body } = init;
    const reads = method === "GET" || method === "HEAD";
    try {
      if (hasDotSegment(path)) {
        const bytes = body instanceof ReadableStream ? await new Response(body).bytes() : body;
        const raw = { method, headers: new Headers(headers), body: bytes, signal };
        return await rawRequest(this.server.origin, path, raw, access);
      }
      return await fetch(this.server.origin + path, {
        method,
        ...(headers === undefined ? {} : { headers }),
        ...(reads ? {} : { body: sentOnce(body) }),
        redirect: "manual",
        signal,
        ...(client === undefined ? {} : { client }),
      });
    } catch (error) {
      throw this.#unreachable(error);
    }
  }

  /** The body of a 200; what the book routes answer. */
  async #bytes(path: string): Promise<Uint8Array<ArrayBuffer>> {
    const { status, bytes } = await this.#answer(path);
    if (status !== 200) throw this.failure(status, bytes);
    return bytes;
  }

  async #answer(path: string, init: RemoteInit = {}): Promise<RemoteAnswer> {
    // Not AbortSignal.timeout: its timer would keep the request in memory until it fires.
    const timeout = new AbortController();
    const late = () => timeout.abort(new DOMException("Timed out", "TimeoutError"));
    const timer = setTimeout(late, this.#options.timeoutMs);
    try {
      const response = await this.#send(path, init, timeout.signal);
      return { status: response.status, headers: response.headers, bytes: await response.bytes() };
    } catch (error) {
      throw error instanceof RemoteError ? error : this.#unreachable(error);
    } finally {
      clearTimeout(timer);
    }
  }

  /** The error that tells of an answer; `retryAfterMs` is how long it asked to be left alone. */
  failure(status: number, body: Uint8Array, retryAfterMs?: number): RemoteError {
    const why = status === 503 ? "it is shutting down or starting" : detailOf(body);
    return new RemoteError(
      this.server.name,
      status,
      `${this.server.name} answered ${status}: ${why}`,
      { retryAfterMs },
    );
  }

  #unreachable(cause: unknown): RemoteError {
    const why = cause instanceof DOMException && cause.name === "TimeoutError"
      ? `no answer within ${this.#options.timeoutMs} ms`
      : distrustOf(cause) ?? "no connection";
    return new RemoteError(
      this.server.name,
      undefined,
      `${this.server.name} cannot be reached: ${why}`,
      { cause },
    );
  }
}

/**
 * A body that the runtime cannot send a second time. Deno 2.9 repeats a request by itself, without a word,
 * when a kept connection is cut behind it, unless its body is a stream. So even no body is one here.
 */
function sentOnce(body: RemoteInit["body"]): ReadableStream<Uint8Array<ArrayBuffer>> {
  if (body instanceof ReadableStream) return body;
  return new ReadableStream({
    start(controller) {
      if (body !== undefined && body.length > 0) controller.enqueue(body);
      controller.close();
    },
  });
}

function moveQuery(move: string | undefined): string {
  return move === undefined ? "" : `?${MOVE_QUERY}=${toSegment(move)}`;
}

/** Why the certificate of a server is not trusted, `undefined` if the failure is another one. */
export function distrustOf(cause: unknown): string | undefined {
  // It depends on the version of Deno where it says so.
  const inner = cause instanceof Error ? messageOf(cause.cause) : "";
  const why = /invalid peer certificate: (?:Other\(OtherError\(|certificate )?(\w[^;()\n]{0,99})/
    .exec(`${messageOf(cause)}\n${inner}`)?.[1]?.trim();
  if (why === undefined) return undefined;
  return DISTRUST[why] ?? `its certificate is not valid: ${why}`;
}

const UNTRUSTED = "its certificate is signed by nobody who is trusted (--ca names who is)";

/** What to tell of reasons that the runtime gives by a name only. */
const DISTRUST: Readonly<Record<string, string>> = {
  UnknownIssuer: UNTRUSTED,
  BadSignature: UNTRUSTED,
  CaUsedAsEndEntity:
    "its certificate is that of an authority, as openssl req -x509 makes it: make one with " +
    "-addext basicConstraints=critical,CA:FALSE -addext subjectAltName=DNS:NAME",
  UnsupportedCertVersion:
    "its certificate is of version 1, which names no servers: make one with an extension " +
    "subjectAltName=DNS:NAME",
};

/** What a server says of its failure, in one line. */
function detailOf(body: Uint8Array): string {
  const text = new TextDecoder().decode(body.subarray(0, 4 * MAX_DETAIL));
  const json = parseJson(text);
  const detail = json !== undefined && "detail" in json ? String(json.detail) : text;
  const line = detail.replaceAll(/[\s\p{Cc}]+/gu, " ").trim();
  return line === "" ? "it failed" : line.slice(0, MAX_DETAIL);
}

/** The page in `text`, or `undefined` if it is not one. */
export function parseKeyPage(text: string): KeyPage | undefined {
  const json = parseJson(text);
  if (json === undefined || !("keys" in json) || !Array.isArray(json.keys)) return undefined;
  const keys: string[] = [];
  for (const key of json.keys) {
    if (typeof key !== "string") return undefined;
    keys.push(key);
  }
  const next = "next" in json && typeof json.next === "string" ? json.next : undefined;
  return { keys, next };
}

/** The JSON object in `text`, or `undefined` if it holds none. */
function parseJson(text: string): object | undefined {
  try {
    const parsed: unknown = JSON.parse(text);
    return typeof parsed === "object" && parsed !== null ? parsed : undefined;
  } catch {
    return undefined;
  }
}

/** An item of `/allKeys`; a server of another make may list keys as they are. */
function decodeListed(item: string): string {
  try {
    return decodeURIComponent(item);
  } catch {
    return item;
  }
}

/** Whether two byte arrays hold the same bytes. */
export function equalBytes(a: Uint8Array, b: Uint8Array): boolean {
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
}
