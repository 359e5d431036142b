/** One server as its clients see it: the book routes, and the native ones if it has them. */
import { RemoteError } from "../errors.ts";
import { bytesToSegment, toSegment } from "../key.ts";
import {
  DEFAULT_CONTENT_TYPE,
  isObject,
  KEY_NOT_FOUND,
  KEY_SEPARATOR,
  MOVE_QUERY,
  type MoveRun,
  type MoveStep,
  V1_BATCH,
  V1_KEYS,
  V1_LAYOUT,
  V1_MOVE,
  V1_STATS,
} from "../protocol.ts";
import { type Layout, type Mark, storeOf } from "../layout/layout.ts";
import { checkSegments, fromBatchLine, isDotSegment, toBatchLine } from "./dot_keys.ts";
import { parseJson } from "./json.ts";
import { type LayoutTold, parseMark, parseTold } from "./layout_told.ts";
import { type ServerAddress } from "./server_list.ts";
import {
  type Bytes,
  type RemoteAnswer,
  type RemoteOptions,
  type RemoteRequest,
  Transport,
} from "./transport.ts";

export type { Bytes, RemoteAnswer, RemoteOptions };

/** A value as a server keeps it. What its routes do not tell is `undefined`. */
export interface Copy {
  readonly bytes: Bytes;
  readonly contentType: string | undefined;
  readonly etag: string | undefined;
}

/** A value on its way from a server. */
export interface CopyStream extends Omit<Copy, "bytes"> {
  /** Fails with RemoteError if it is cut off. */
  readonly body: ReadableStream<Bytes>;
  /** Number of bytes, if the server told. */
  readonly size: number | undefined;
}

/** How a single request is sent. */
export interface CallOptions {
  /** Gives the request up. */
  readonly signal?: AbortSignal | undefined;
}

/** How a request is sent to one server of a cluster. */
export interface ServerCallOptions extends CallOptions {
  /** The layout by which the server is asked: the text of the header. */
  readonly claim?: string | undefined;
}

/** A write's condition (RFC 9110, 13.1). */
export interface WriteCondition {
  /** Only if the value has this ETag, quotes and all. */
  readonly ifMatch?: string | undefined;
  /** Only if there is no such key. */
  readonly ifAbsent?: boolean | undefined;
}

/** How {@link Remote.put} puts. */
export interface PutRequest extends ServerCallOptions, WriteCondition {
  /** The run of a move that it is part of. */
  readonly run?: string | undefined;
}

/** What a put did. */
export interface PutResult {
  /** Whether the key was absent before. */
  readonly created: boolean;
  /** ETag of the value now stored. */
  readonly etag: string | undefined;
}

/** A page of a listing. */
export interface KeyPage {
  readonly keys: readonly string[];
  /** What the next page comes after; `undefined` for the last page. */
  readonly next: string | undefined;
  /** The number of the server's layout; `undefined` if the server has none. */
  readonly epoch: number | undefined;
  /** Up to which key the server has handed its keys over. */
  readonly mark: Mark;
}

const encoder = new TextEncoder();
const decoder = new TextDecoder();
const KEY_NOT_FOUND_BYTES = encoder.encode(KEY_NOT_FOUND);

/**
 * A server of a server list. Every method throws RemoteError if the server fails; its status is that of
 * the answer, `undefined` if no whole answer came.
 */
export class Remote {
  readonly server: ServerAddress;
  readonly #transport: Transport;

  constructor(server: ServerAddress, options: RemoteOptions) {
    this.server = server;
    this.#transport = new Transport(server, options);
  }

  /**
   * Loads over the book route: the bytes, or `undefined` if the key is absent. The route cannot tell an
   * absent key from the value `_key_not_found_`.
   *
   * @throws {InvalidKeyError} If the key is `.` or `..`, which no path can hold.
   */
  async load(key: string, options: ServerCallOptions = {}): Promise<Bytes | undefined> {
    checkSegments(key);
    const bytes = await this.#transport.bytes(`/load/${toSegment(key)}`, options);
    return equalBytes(bytes, KEY_NOT_FOUND_BYTES) ? undefined : bytes;
  }

  /**
   * Saves over the book route, which takes UTF-8 only; resolves to the server's answer.
   *
   * @throws {InvalidKeyError} If the key or the word is `.` or `..`, which no path can hold.
   */
  async save(key: string, word: Uint8Array, options: ServerCallOptions = {}): Promise<string> {
    const segment = bytesToSegment(word);
    checkSegments(key, segment);
    const path = `/save/${toSegment(key)}/${segment}`;
    return decoder.decode(await this.#transport.bytes(path, options));
  }

  /** All keys, over the book route, in the order in which the server lists them. */
  async allKeys(): Promise<string[]> {
    const list = decoder.decode(await this.#transport.bytes("/allKeys"));
    return list === "" ? [] : list.split(KEY_SEPARATOR).map(decodeListed);
  }

  /**
   * One page of keys, over the native route: at most `limit`, in order, those behind `after`. If the
   * answer is no page, as that of a server of another make, the error has status 200.
   */
  async page(
    after: string | undefined,
    limit: number,
    { prefix = "", signal, claim }: ServerCallOptions & { readonly prefix?: string } = {},
  ): Promise<KeyPage> {
    const query = `limit=${limit}` + (prefix === "" ? "" : `&prefix=${toSegment(prefix)}`) +
      (after === undefined ? "" : `&after=${toSegment(after)}`);
    const bytes = await this.#transport.bytes(`${V1_KEYS}?${query}`, { signal, claim });
    const page = parseKeyPage(decoder.decode(bytes));
    if (page !== undefined && (page.next === undefined || page.keys.length > 0)) return page;
    return this.#fail("a listing that is none");
  }

  /** Gets over the native route, or resolves to `undefined` if the key is absent. */
  async get(key: string, options: ServerCallOptions = {}): Promise<Copy | undefined> {
    const answer = await this.#get(key, options);
    return answer && { bytes: answer.bytes, ...factsOf(answer) };
  }

  /**
   * As {@link get}, but a value of more than `wholeBytes`, or of unknown size, comes as a stream: the
   * promise resolves when it begins. Of another value all bytes are here by then.
   */
  async getStream(
    key: string,
    wholeBytes: number,
    { signal, claim }: ServerCallOptions = {},
  ): Promise<CopyStream | undefined> {
    const answer = await this.#get(key, { signal, claim, wholeBytes });
    if (answer === undefined) return undefined;
    const length = answer.headers.get("content-length");
    return {
      body: answer.stream ?? new Blob([answer.bytes]).stream(),
      size: answer.stream === undefined
        ? answer.bytes.length
        : length === null
        ? undefined
        : Number(length),
      ...factsOf(answer),
    };
  }

  /**
   * Puts any bytes over the native route. Status 412: the condition does not hold.
   *
   * @throws Whatever the stream to be sent fails with.
   */
  async put(
    key: string,
    { bytes, contentType = DEFAULT_CONTENT_TYPE }: {
      readonly bytes: Bytes | ReadableStream<Bytes>;
      readonly contentType?: string | undefined;
    },
    { run, signal, claim, ...condition }: PutRequest = {},
  ): Promise<PutResult> {
    const answer = await this.#askKey(key, {
      method: "PUT",
      headers: { "content-type": contentType, ...conditionHeaders(condition) },
      body: bytes,
      signal,
      claim,
    }, run);
    if (answer.status !== 201 && answer.status !== 204) throw this.#transport.failure(answer);
    return { created: answer.status === 201, etag: factsOf(answer).etag };
  }

  /**
   * Deletes over the native route; resolves to `false` if the key was absent. Status 412: the condition
   * does not hold.
   */
  async delete(
    key: string,
    { signal, claim, ...condition }: ServerCallOptions & WriteCondition = {},
  ): Promise<boolean> {
    const headers = conditionHeaders(condition);
    const answer = await this.#askKey(key, { method: "DELETE", headers, signal, claim });
    if (answer.status === 204) return true;
    if (answer.status === 404) return false;
    throw this.#transport.failure(answer);
  }

  /**
   * Sends lines of a batch over the native route, as part of a run of a move if one is named; resolves to the
   * lines of the answer.
   */
  async batch(lines: string, run?: string): Promise<string> {
    const request = { method: "POST", body: encoder.encode(lines) } as const;
    return decoder.decode(await this.#transport.bytes(V1_BATCH + runQuery(run), request));
  }

  /** Tells a step of a run over the native route; `false` if there is no such route. */
  async tellMove({ name: move, run }: MoveRun, step: MoveStep): Promise<boolean> {
    const body = encoder.encode(JSON.stringify({ move, run, step }));
    const answer = await this.#transport.answer(V1_MOVE, { method: "PUT", body });
    if (answer.status === 404 || answer.status === 405) return false;
    if (answer.status !== 200) throw this.#transport.failure(answer);
    return true;
  }

  /** Asks whether the server would answer for `key`; the value is not sent. */
  async head(key: string, { signal, claim }: ServerCallOptions = {}): Promise<void> {
    const answer = await this.#askKey(key, { method: "HEAD", signal, claim });
    if (answer.status !== 200 && answer.status !== 404) throw this.#transport.failure(answer);
  }

  /** The layout of the server; `undefined` if it knows no layouts. */
  async layout(options: CallOptions = {}): Promise<LayoutTold | undefined> {
    const answer = await this.#transport.answer(V1_LAYOUT, options);
    if (answer.status === 404 || answer.status === 405) return undefined;
    if (answer.status !== 200) throw this.#transport.failure(answer);
    return parseTold(parseJson(decoder.decode(answer.bytes)));
  }

  /** Gives the server a layout that names it as `self`. Status 409: it does not take the layout. */
  async putLayout(layout: Layout, self: string, { signal }: CallOptions = {}): Promise<void> {
    const store = storeOf(layout, self);
    if (store === undefined) throw new RangeError(`The layout does not name ${self}`);
    const body = encoder.encode(JSON.stringify({ layout, self, store }));
    const answer = await this.#transport.answer(V1_LAYOUT, { method: "PUT", body, signal });
    if (answer.status !== 204) throw this.#transport.failure(answer);
  }

  /** What `GET /v1/stats` tells; `undefined` if there is no such route. */
  async stats(): Promise<object | undefined> {
    const answer = await this.#transport.answer(V1_STATS);
    if (answer.status === 404) return undefined;
    if (answer.status !== 200) throw this.#transport.failure(answer);
    return parseJson(decoder.decode(answer.bytes));
  }

  /** Sends a GET and resolves to the answer, whatever its status. */
  async request(path: string): Promise<RemoteAnswer> {
    return await this.#transport.answer(path);
  }

  async #get(key: string, request: RemoteRequest): Promise<RemoteAnswer | undefined> {
    const answer = await this.#askKey(key, request);
    if (answer.status === 200) return answer;
    if (answer.status === 404) return undefined;
    throw this.#transport.failure(answer);
  }

  /** Asks for a key by its path, or by a batch if no path can hold it. */
  async #askKey(key: string, request: RemoteRequest, run?: string): Promise<RemoteAnswer> {
    if (!isDotSegment(key)) {
      return await this.#transport.answer(
        `${V1_KEYS}/${toSegment(key)}${runQuery(run)}`,
        request,
      );
    }
    const body = encoder.encode(await toBatchLine(key, request));
    const { signal, claim } = request;
    const batch = { method: "POST", body, signal, claim } as const;
    const bytes = await this.#transport.bytes(V1_BATCH + runQuery(run), batch);
    return fromBatchLine(bytes) ?? this.#fail("no result of a batch");
  }

  #fail(what: string): never {
    const { name } = this.server;
    throw new RemoteError(name, 200, `${name} answered with ${what}`);
  }
}

function factsOf({ headers }: RemoteAnswer): Omit<Copy, "bytes"> {
  return {
    contentType: headers.get("content-type") ?? undefined,
    etag: headers.get("etag") ?? undefined,
  };
}

function conditionHeaders({ ifMatch, ifAbsent }: WriteCondition): Record<string, string> {
  return {
    ...(ifMatch === undefined ? {} : { "if-match": ifMatch }),
    ...(ifAbsent === true ? { "if-none-match": "*" } : {}),
  };
}

function runQuery(run: string | undefined): string {
  return run === undefined ? "" : `?${MOVE_QUERY}=${toSegment(run)}`;
}

/** The page in `text`, or `undefined` if it is not one. */
function parseKeyPage(text: string): KeyPage | undefined {
  const json = parseJson(text);
  if (!isObject(json) || !Array.isArray(json.keys)) return undefined;
  const keys: string[] = [];
  for (const key of json.keys) {
    if (typeof key !== "string") return undefined;
    keys.push(key);
  }
  const next = typeof json.next === "string" ? json.next : undefined;
  const epoch = typeof json.epoch === "number" ? json.epoch : undefined;
  return { keys, next, epoch, mark: parseMark(json) };
}

/** An item of `/allKeys`; a server of another make may list keys as they are. */
function decodeListed(item: string): string {
  try {
    return decodeURIComponent(item);
  } catch {
    return item;
  }
}

/** Whether two byte arrays hold the same bytes. As `@std/bytes` has it; the library imports no packages. */
export function equalBytes(a: Uint8Array, b: Uint8Array): boolean {
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
}
