/** The lines of `POST /v1/batch` as rebalance writes and reads them. */
import { decodeBase64, encodeBase64 } from "@std/encoding/base64";
import { RemoteError } from "../errors.ts";
import { isObject, isOptionalText } from "../protocol.ts";
import { type Copy, type Remote } from "../client/remote.ts";
import { DEFAULT_CONTENT_TYPE } from "../protocol.ts";

/** Stands for a value that a batch does not carry: it is loaded and saved by itself. */
export const BY_ITSELF: unique symbol = Symbol("by itself");

/** What a batch tells of a value without the value. */
export interface CopyFacts {
  readonly etag: string;
  /** Bytes. */
  readonly size: number;
  readonly contentType: string;
}

/** A value as the batch carries it: text if it is UTF-8, else base64. Which one, bytes decide. */
export class BatchCopy implements Copy {
  readonly text: string;
  readonly isBase64: boolean;
  readonly contentType: string;
  readonly etag: string;
  #bytes: Uint8Array<ArrayBuffer> | undefined;

  constructor(text: string, isBase64: boolean, contentType: string, etag: string) {
    this.text = text;
    this.isBase64 = isBase64;
    this.contentType = contentType;
    this.etag = etag;
  }

  get bytes(): Uint8Array<ArrayBuffer> {
    return this.#bytes ??= this.isBase64 ? decodeBase64(this.text) : encoder.encode(this.text);
  }

  /**
   * Whether `other` has the same bytes. Both came from a batch, which writes the same bytes as the
   * same characters, and different ones as different ones.
   */
  hasBytesOf(other: BatchCopy): boolean {
    return this.text === other.text && this.isBase64 === other.isBase64;
  }
}

const encoder = new TextEncoder();

/** A value to be put. */
export interface BulkEntry {
  readonly key: string;
  readonly copy: Copy;
  /** ETag of the value that was seen there, `*` if it is not known; `undefined` if there was none. */
  readonly seen: string | undefined;
}

/** What a put came to. */
export interface BulkPut {
  /** Whether the key was in another state than the put named. */
  readonly isRefused: boolean;
  /** What is there now. */
  readonly held: BatchCopy | typeof BY_ITSELF | undefined;
}

/** One line of an answer. */
interface Result {
  readonly status: number;
  readonly value?: string;
  readonly base64?: string;
  readonly etag?: string;
  readonly type?: string;
  readonly size?: number;
  readonly detail?: string;
}

/** Many operations on one server, one request each call. @throws {RemoteError} If it fails. */
export class BatchRequests {
  readonly #remote: Remote;

  constructor(remote: Remote) {
    this.#remote = remote;
  }

  /** Gets all values; {@link BY_ITSELF} where the batch does not carry it. */
  async get(
    keys: readonly string[],
  ): Promise<(BatchCopy | typeof BY_ITSELF | undefined)[]> {
    const results = await this.#run(keys.map((key) => line("get", key)).join(""), keys.length);
    return results.map((result) => toCopy(result));
  }

  /** Gets etag, size and content type of all. */
  async head(keys: readonly string[]): Promise<(CopyFacts | undefined)[]> {
    const results = await this.#run(keys.map((key) => line("head", key)).join(""), keys.length);
    return results.map((result) => {
      const { status, etag = "", size = NaN, type = DEFAULT_CONTENT_TYPE } = result;
      if (status === 404) return undefined;
      if (status !== 200) throw this.#failed(result);
      return { etag, size, contentType: type };
    });
  }

  /**
   * Puts all values, each if its key still has the ETag `seen`, or is absent without one, and gets them
   * back when each of them is durable.
   */
  async putAndGet(entries: readonly BulkEntry[], move: string | undefined): Promise<BulkPut[]> {
    let lines = "";
    for (const entry of entries) lines += putLine(entry);
    for (const { key } of entries) lines += line("get", key);
    const results = await this.#run(lines, 2 * entries.length, move);
    return results.splice(0, entries.length).map((result, index) => {
      const isRefused = result.status === 412;
      if (!isRefused && result.status !== 201 && result.status !== 204) throw this.#failed(result);
      const got = results[index];
      return { isRefused, held: got === undefined ? undefined : toCopy(got) };
    });
  }

  /** Deletes those that still have their ETag; `false` where it has another one or is gone. */
  async delete(
    entries: readonly { readonly key: string; readonly etag: string }[],
    move: string | undefined,
  ): Promise<boolean[]> {
    const lines = entries.map(({ key, etag }) =>
      JSON.stringify({ op: "delete", key, ifMatch: etag }) + "\n"
    );
    const results = await this.#run(lines.join(""), entries.length, move);
    return results.map((result) => {
      if (result.status === 204) return true;
      if (result.status === 404 || result.status === 412) return false;
      throw this.#failed(result);
    });
  }

  async #run(lines: string, count: number, move?: string): Promise<Result[]> {
    const answer = await this.#remote.batch(lines, move);
    const results: Result[] = [];
    for (let at = 0; at < answer.length;) {
      const end = answer.indexOf("\n", at);
      const result = parseResult(answer.slice(at, end < 0 ? undefined : end));
      if (result === undefined) break;
      // One that began to shut down within the batch: all of it is repeated.
      if (result.status === 503) throw this.#failed(result);
      results.push(result);
      at = end < 0 ? answer.length : end + 1;
    }
    if (results.length === count) return results;
    const last = results.at(-1);
    throw last !== undefined && last.status >= 400
      ? this.#failed(last)
      : this.#failed({ status: 200, detail: "its answer to a batch is none" });
  }

  #failed({ status, detail = "it failed" }: Result): RemoteError {
    const { name } = this.#remote.server;
    const why = status === 503 ? "it is shutting down or starting" : detail;
    return new RemoteError(name, status, `${name} answered ${status}: ${why}`);
  }
}

function line(op: "get" | "head", key: string): string {
  return `{"op":"${op}","key":${JSON.stringify(key)}}\n`;
}

function putLine({ key, copy, seen }: BulkEntry): string {
  const { contentType = DEFAULT_CONTENT_TYPE } = copy;
  const type = contentType === DEFAULT_CONTENT_TYPE ? "" : `,"type":${JSON.stringify(contentType)}`;
  const value = copy instanceof BatchCopy && !copy.isBase64
    ? `"value":${JSON.stringify(copy.text)}`
    : `"base64":"${copy instanceof BatchCopy ? copy.text : encodeBase64(copy.bytes)}"`;
  const condition = seen === undefined ? `"ifNoneMatch":"*"` : `"ifMatch":${JSON.stringify(seen)}`;
  return `{"op":"put","key":${JSON.stringify(key)},${value}${type},${condition}}\n`;
}

/** What is wrong with a value that is neither carried nor absent is told when it goes by itself. */
function toCopy(result: Result): BatchCopy | typeof BY_ITSELF | undefined {
  const { status, value, base64, type = DEFAULT_CONTENT_TYPE, etag = "" } = result;
  if (status === 404) return undefined;
  const text = value ?? base64;
  return status !== 200 || text === undefined
    ? BY_ITSELF
    : new BatchCopy(text, value === undefined, type, etag);
}

function parseResult(text: string): Result | undefined {
  try {
    const parsed: unknown = JSON.parse(text);
    return isResult(parsed) ? parsed : undefined;
  } catch {
    return undefined;
  }
}

function isResult(parsed: unknown): parsed is Result {
  if (!isObject(parsed)) return false;
  const { status, value, base64, etag, type, size, detail } = parsed;
  return typeof status === "number" && (size === undefined || typeof size === "number") &&
    isOptionalText(value) && isOptionalText(base64) && isOptionalText(etag) &&
    isOptionalText(type) && isOptionalText(detail);
}
