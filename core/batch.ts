/**
 * `POST /v1/batch`: many operations in one request, one JSON object a line in and out, in order.
 *
 *     {"op":"put","key":"a","value":"text"}             {"status":201,"key":"a","etag":"\"…\""}
 *     {"op":"put","key":"b","base64":"AAE=","type":"x/y","ifNoneMatch":"*"}
 *     {"op":"get","key":"a"}                            {"status":200,"key":"a","value":"text",…}
 *     {"op":"delete","key":"a","ifMatch":"\"…\""}       {"status":204,"key":"a"}
 */
import { decodeBase64, encodeBase64 } from "@std/encoding/base64";
import { STATUS_CODE, type StatusCode } from "@std/http/status";
import { writeCondition } from "./conditions.ts";
import { checkContentType } from "./content_type.ts";
import { InvalidOperationError, KvsError, messageOf, ValueTooLargeError } from "./errors.ts";
import { checkKey } from "./key.ts";
import { type Log } from "./log.ts";
import { errorName, SHUTTING_DOWN, statusOf } from "./protocol.ts";
import { DEFAULT_CONTENT_TYPE, LARGE_VALUE_BYTES, type Store, Value } from "./store.ts";

/**
 * The longest line (bytes): a value of {@link LARGE_VALUE_BYTES}, all of it escaped as `\u00XX`, and
 * its key. Larger values have routes of their own.
 */
const MAX_LINE_BYTES = 8 * LARGE_VALUE_BYTES;

/** Operations that run at the same time; bounds what their values take in memory (4 MiB). */
const WINDOW = 64;

/** The most that the answer may take in memory (characters); what is got behind that is refused. */
const MAX_ANSWER = 32 * 1024 * 1024;

/** What a batch works with. */
export interface BatchOptions {
  readonly store: Store;
  /** Whether the shard is serving; asked before each operation. */
  readonly serving: () => boolean;
  readonly log: Log;
}

/** One operation, checked. */
interface Operation {
  readonly op: "put" | "get" | "delete";
  readonly key: string;
  readonly value?: string;
  readonly base64?: string;
  readonly type?: string;
  readonly ifMatch?: string;
  readonly ifNoneMatch?: string;
}

/** What one operation came to, as it is written. */
type Result = Readonly<Record<string, string | number>>;

/**
 * Runs the operations of a request body as they come and yields the lines of the answer. Operations
 * on one key take effect in order. Memory: one chunk of the body, the values of one window, and the
 * answer, which is bounded.
 */
export async function* runBatch(
  chunks: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
  options: BatchOptions,
): AsyncGenerator<string> {
  let size = 0;
  try {
    for await (const lines of splitLines(chunks)) {
      for (let at = 0; at < lines.length; at += WINDOW) {
        const text = await runWindow(lines.slice(at, at + WINDOW), {
          ...options,
          full: size > MAX_ANSWER,
        });
        size += text.length;
        yield text;
      }
    }
  } catch (error) {
    // Operations before this one were done, so the last line says what stopped the rest.
    yield JSON.stringify(failure(error, options.log)) + "\n";
  }
}

interface WindowOptions extends BatchOptions {
  /** Whether the answer has no room for more values. */
  readonly full: boolean;
}

async function runWindow(lines: readonly string[], options: WindowOptions): Promise<string> {
  const turns = new Map<string, Promise<Result>>();
  const results = lines.map((line) => startLine(line, turns, options));
  let text = "";
  for (const result of results) text += JSON.stringify(await result) + "\n";
  return text;
}

/**
 * Starts the operation of one line, behind those before it on the same key; never rejects. `turns`
 * holds the last operation of this window on each key.
 */
function startLine(
  line: string,
  turns: Map<string, Promise<Result>>,
  options: WindowOptions,
): Result | Promise<Result> {
  let operation: Operation;
  try {
    operation = parseOperation(line);
  } catch (error) {
    return failure(error, options.log);
  }
  const before = turns.get(operation.key);
  const result = before === undefined
    ? run(operation, options)
    : before.then(() => run(operation, options));
  turns.set(operation.key, result);
  return result;
}

async function run(
  operation: Operation,
  { store, serving, log, full }: WindowOptions,
): Promise<Result> {
  const { op, key } = operation;
  try {
    checkKey(key);
    if (!serving()) {
      return { status: STATUS_CODE.ServiceUnavailable, key, error: SHUTTING_DOWN };
    }
    if (op === "get" && full) {
      throw new InvalidOperationError("Answer too long: get the rest in another batch");
    }
    if (op === "get") return await get(store, key);
    return await (op === "put" ? put(store, operation) : remove(store, operation));
  } catch (error) {
    return { ...failure(error, log), key };
  }
}

async function get(store: Store, key: string): Promise<Result> {
  const value = await store.get(key);
  if (value === undefined) return { status: STATUS_CODE.NotFound, key };
  if (!(value instanceof Value)) {
    value.discard();
    throw new ValueTooLargeError(value.size, LARGE_VALUE_BYTES);
  }
  const { text, bytes, etag, contentType } = value;
  return {
    status: STATUS_CODE.OK,
    key,
    ...(text === null ? { base64: encodeBase64(bytes) } : { value: text }),
    etag,
    type: contentType,
  };
}

async function put(store: Store, operation: Operation): Promise<Result> {
  const { key, value, base64, type = DEFAULT_CONTENT_TYPE } = operation;
  const whole = value === undefined
    ? new Value(decode(base64 ?? ""), checkContentType(type))
    : Value.fromText(wellFormed(value), checkContentType(type));
  if (whole.size > LARGE_VALUE_BYTES) throw new ValueTooLargeError(whole.size, LARGE_VALUE_BYTES);
  const { created, etag } = await store.set(key, whole, condition(operation));
  return { status: created ? STATUS_CODE.Created : STATUS_CODE.NoContent, key, etag };
}

async function remove(store: Store, operation: Operation): Promise<Result> {
  const { key } = operation;
  const found = await store.delete(key, condition(operation));
  return { status: found ? STATUS_CODE.NoContent : STATUS_CODE.NotFound, key };
}

function condition({ ifMatch, ifNoneMatch }: Operation) {
  return writeCondition(ifMatch ?? null, ifNoneMatch ?? null);
}

function failure(error: unknown, log: Log): Result & { readonly status: StatusCode } {
  const status = statusOf(error);
  const known = error instanceof KvsError;
  if (!known) log("error", "operation failed", { error: messageOf(error) });
  const detail = known ? error.message : "Internal error: the server's log tells more";
  return { status, error: errorName(status), detail };
}

const FIELDS = new Set(["op", "key", "value", "base64", "type", "ifMatch", "ifNoneMatch"]);

/** @throws {InvalidOperationError} If the line is not an operation. */
function parseOperation(line: string): Operation {
  let parsed: unknown;
  try {
    parsed = JSON.parse(line);
  } catch {
    throw new InvalidOperationError("Invalid operation: the line is not JSON");
  }
  if (!isOperation(parsed)) {
    throw new InvalidOperationError(
      'Invalid operation: expected "op" put, get or delete, "key", for put "value" or "base64", ' +
        'and texts only in "type", "ifMatch", "ifNoneMatch"',
    );
  }
  return parsed;
}

function isOperation(value: unknown): value is Operation {
  if (typeof value !== "object" || value === null) return false;
  for (const [name, field] of Object.entries(value)) {
    if (!FIELDS.has(name) || typeof field !== "string") return false;
  }
  if (!("key" in value) || !("op" in value)) return false;
  return value.op === "put"
    ? ("value" in value) !== ("base64" in value)
    : (value.op === "get" || value.op === "delete") && !("value" in value) && !("base64" in value);
}

function wellFormed(text: string): string {
  if (text.isWellFormed()) return text;
  throw new InvalidOperationError('Invalid operation: "value" is not valid Unicode');
}

function decode(base64: string): Uint8Array<ArrayBuffer> {
  try {
    return decodeBase64(base64);
  } catch {
    throw new InvalidOperationError('Invalid operation: "base64" is not base64');
  }
}

/**
 * Yields the lines of each chunk that are complete with it; empty lines are passed over.
 *
 * @throws {ValueTooLargeError} If a line is too long.
 * @throws {InvalidOperationError} If the bytes are not UTF-8.
 */
async function* splitLines(
  chunks: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
): AsyncGenerator<string[]> {
  const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
  // The pieces of a line that has not ended; looked through once each, however small they are.
  let pieces: string[] = [];
  let length = 0;
  const take = (chunk?: Uint8Array): string[] => {
    let text: string;
    try {
      text = chunk === undefined
        ? decoder.decode() + "\n"
        : decoder.decode(chunk, { stream: true });
    } catch {
      throw new InvalidOperationError("Invalid operation: the body is not UTF-8");
    }
    const [first = "", ...more] = text.split("\n");
    pieces.push(first);
    length += first.length;
    if (length > MAX_LINE_BYTES) throw new ValueTooLargeError(length, MAX_LINE_BYTES);
    if (more.length === 0) return [];
    const lines = [pieces.join(""), ...more];
    pieces = [lines.pop() ?? ""];
    length = pieces[0]?.length ?? 0;
    return lines.filter((line) => line.trim() !== "");
  };
  for await (const chunk of chunks) yield take(chunk);
  yield take();
}
