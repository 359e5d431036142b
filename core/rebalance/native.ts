/** A server that speaks the native routes: `POST /v1/batch` carries many keys in one request. */
import { encodeBase64 } from "@std/encoding/base64";
import { type Listing } from "../client/merge_listings.ts";
import { type Copy, type Remote } from "../client/remote.ts";
import { RemoteError } from "../errors.ts";
import { checkKey } from "../key.ts";
import {
  DEFAULT_CONTENT_TYPE,
  isObject,
  isOptionalText,
  type MoveNote,
  type MoveRun,
} from "../protocol.ts";
import { BatchCopy, type CopyFacts } from "./copy.ts";
import {
  BY_ITSELF,
  type Endpoint,
  type KeyedCopy,
  type Loaded,
  type Replacement,
  type Saved,
  type ServerStats,
} from "./endpoint.ts";
import { type Patience } from "./patience.ts";

/** Keys in one page of a listing. */
const PAGE_KEYS = 1000;

/** A server of ours. It takes any key and any value. */
export class NativeEndpoint implements Endpoint {
  readonly native = true;
  readonly #remote: Remote;
  readonly #patience: Patience;
  #writes: number | undefined = 0;
  /** The run that writes are part of; `undefined` before it begins, and if the server knows no moves. */
  #move: MoveRun | undefined;

  constructor(remote: Remote, patience: Patience) {
    this.#remote = remote;
    this.#patience = patience;
  }

  get name(): string {
    return this.#remote.server.name;
  }

  get ownWrites(): number | undefined {
    return this.#writes;
  }

  async *keys(): AsyncGenerator<readonly string[]> {
    let after: string | undefined;
    do {
      const from = after;
      const page = await this.#patience.run(() => this.#remote.page(from, PAGE_KEYS));
      yield page.keys;
      after = page.next;
    } while (after !== undefined);
  }

  sortedKeys(): Listing {
    return this.keys();
  }

  load(key: string): Promise<Copy | undefined> {
    return this.#patience.run(() => this.#remote.get(key));
  }

  async loadMany(keys: readonly string[]): Promise<readonly Loaded[]> {
    const lines = keys.map((key) => readLine("get", key)).join("");
    const results = await this.#patience.run(() => this.#batch(lines, keys.length));
    return results.map(loadedOf);
  }

  async factsMany(keys: readonly string[]): Promise<readonly (CopyFacts | undefined)[]> {
    const lines = keys.map((key) => readLine("head", key)).join("");
    return await this.#patience.run(async () => {
      const results = await this.#batch(lines, keys.length);
      return results.map((result) => {
        const { status, etag = "", size = NaN, type = DEFAULT_CONTENT_TYPE } = result;
        if (status === 404) return undefined;
        if (status !== 200) throw this.#failure(result);
        return { etag, size, contentType: type };
      });
    });
  }

  whyRefused(key: string): string | undefined {
    try {
      checkKey(key);
      return undefined;
    } catch (error) {
      return error instanceof Error ? error.message : String(error);
    }
  }

  async beginMove(move: MoveRun): Promise<void> {
    const isKnown = await this.#patience.run(() => this.#remote.tellMove(move, "begin"));
    this.#move = isKnown ? move : undefined;
  }

  rejoinMove(move: MoveRun): void {
    this.#move = move;
  }

  async completeMove(): Promise<void> {
    const move = this.#move;
    if (move === undefined) return;
    await this.#patience.run(() => this.#remote.tellMove(move, "complete"));
  }

  async save({ key, copy, seen }: Replacement): Promise<Saved> {
    const run = this.#move?.run;
    const condition = seen === undefined ? { ifAbsent: true } : { ifMatch: seen.etag ?? "*" };
    const put = await this.#write(async () => {
      try {
        const { etag } = await this.#remote.put(key, copy, { run, ...condition });
        return { isRefused: false, etag };
      } catch (error) {
        if (error instanceof RemoteError && error.status === 412) {
          return { isRefused: true, etag: undefined };
        }
        throw error;
      }
    }, ({ isRefused }) => isRefused ? 0 : 1);
    return { ...put, held: await this.load(key), answer: undefined };
  }

  async saveMany(entries: readonly Replacement[]): Promise<readonly Saved[]> {
    const puts = entries.map(putLine).join("");
    const gets = entries.map(({ key }) => readLine("get", key)).join("");
    return await this.#write(async () => {
      const results = await this.#batch(puts + gets, 2 * entries.length, this.#move?.run);
      return results.splice(0, entries.length).map((put, index): Saved => {
        const isRefused = put.status === 412;
        if (!isRefused && put.status !== 201 && put.status !== 204) throw this.#failure(put);
        const got = results[index];
        return { isRefused, etag: put.etag, held: got && loadedOf(got), answer: undefined };
      });
    }, (saved) => saved.filter(({ isRefused }) => !isRefused).length);
  }

  async deleteMany(entries: readonly KeyedCopy[]): Promise<readonly boolean[]> {
    this.#writes = undefined;
    const lines = entries.map(deleteLine).join("");
    return await this.#patience.run(async () => {
      const results = await this.#batch(lines, entries.length, this.#move?.run);
      return results.map((result) => {
        if (result.status === 204) return true;
        if (result.status === 404 || result.status === 412) return false;
        throw this.#failure(result);
      });
    });
  }

  async stats(): Promise<ServerStats | undefined> {
    return statsOf(await this.#patience.run(() => this.#remote.stats()));
  }

  /** Runs `work`, which writes, and counts its writes unless they are no longer certain. */
  async #write<T>(work: () => Promise<T>, countOf: (result: T) => number): Promise<T> {
    // A server may have counted a write that failed or was repeated, or not.
    const unsure = () => this.#writes = undefined;
    try {
      const result = await this.#patience.run(work, unsure);
      if (this.#writes !== undefined) this.#writes += countOf(result);
      return result;
    } catch (error) {
      unsure();
      throw error;
    }
  }

  /**
   * Sends `lines`, which are `count` operations, and resolves to their results in order.
   *
   * @throws {RemoteError} If the server fails, or answers with fewer results.
   */
  async #batch(lines: string, count: number, run?: string): Promise<Result[]> {
    const answer = await this.#remote.batch(lines, run);
    const results: Result[] = [];
    for (let at = 0; at < answer.length;) {
      const newline = answer.indexOf("\n", at);
      const end = newline < 0 ? answer.length : newline;
      const result = parseResult(answer.slice(at, end));
      if (result === undefined) break;
      // The server began to shut down within the batch, so all of the batch is repeated.
      if (result.status === 503) throw this.#failure(result);
      results.push(result);
      at = end + 1;
    }
    if (results.length === count) return results;
    const last = results.at(-1);
    throw last !== undefined && last.status >= 400
      ? this.#failure(last)
      : this.#failure({ status: 200, detail: "its answer to a batch is none" });
  }

  #failure({ status, detail }: Result): RemoteError {
    const why = detail ?? (status === 503 ? "it is shutting down or starting" : "it failed");
    return new RemoteError(this.name, status, `${this.name} answered ${status}: ${why}`);
  }
}

/** One line of the answer to a batch. */
interface Result {
  readonly status: number;
  readonly value?: string;
  readonly base64?: string;
  readonly etag?: string;
  readonly type?: string;
  readonly size?: number;
  readonly detail?: string;
}

function parseResult(line: string): Result | undefined {
  try {
    const parsed: unknown = JSON.parse(line);
    return isResult(parsed) ? parsed : undefined;
  } catch {
    return undefined;
  }
}

function isResult(parsed: unknown): parsed is Result {
  if (!isObject(parsed)) return false;
  const { status, value, base64, etag, type, size, detail } = parsed;
  return typeof status === "number" && (size === undefined || typeof size === "number") &&
    [value, base64, etag, type, detail].every(isOptionalText);
}

/** A failure of this one key shows when the value is loaded by itself. */
function loadedOf(result: Result): Loaded {
  const { status, value, base64, type = DEFAULT_CONTENT_TYPE, etag = "" } = result;
  if (status === 404) return undefined;
  const text = value ?? base64;
  return status !== 200 || text === undefined
    ? BY_ITSELF
    : new BatchCopy(text, value === undefined, type, etag);
}

function readLine(op: "get" | "head", key: string): string {
  return `{"op":"${op}","key":${JSON.stringify(key)}}\n`;
}

function putLine({ key, copy, seen }: Replacement): string {
  const { contentType = DEFAULT_CONTENT_TYPE } = copy;
  const type = contentType === DEFAULT_CONTENT_TYPE ? "" : `,"type":${JSON.stringify(contentType)}`;
  const value = copy instanceof BatchCopy && !copy.isBase64
    ? `"value":${JSON.stringify(copy.text)}`
    : `"base64":"${copy instanceof BatchCopy ? copy.text : encodeBase64(copy.bytes)}"`;
  const condition = seen === undefined
    ? `"ifNoneMatch":"*"`
    : `"ifMatch":${JSON.stringify(seen.etag ?? "*")}`;
  return `{"op":"put","key":${JSON.stringify(key)},${value}${type},${condition}}\n`;
}

function deleteLine({ key, copy }: KeyedCopy): string {
  return JSON.stringify({ op: "delete", key, ifMatch: copy.etag ?? "*" }) + "\n";
}

function statsOf(json: object | undefined): ServerStats | undefined {
  if (!isObject(json)) return undefined;
  const { freeBytes, blockBytes } = json;
  if (typeof freeBytes !== "number" || typeof blockBytes !== "number") return undefined;
  const number = (field: unknown) => typeof field === "number" ? field : undefined;
  const text = (field: unknown) => typeof field === "string" ? field : undefined;
  return {
    start: text(json.start),
    writes: number(json.writes),
    move: noteOf(json.move),
    freeBytes,
    usedBytes: number(json.usedBytes),
    freeFiles: number(json.freeFiles),
    blockBytes,
    fileSystem: text(json.fileSystem),
    journalBytes: number(json.journalBytes),
  };
}

function noteOf(json: unknown): MoveNote | undefined {
  if (!isObject(json)) return undefined;
  const { name, run, complete } = json;
  return typeof name === "string" && typeof run === "string" && typeof complete === "boolean"
    ? { name, run, complete }
    : undefined;
}
