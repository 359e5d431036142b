/**
 * `POST /v1/batch`: many operations in one request, one JSON object a line in and out, in order.
 *
 *     {"op":"put","key":"a","value":"text"}             {"status":201,"key":"a","etag":"\"…\""}
 *     {"op":"put","key":"b","base64":"AAE=","type":"x/y","ifNoneMatch":"*"}
 *     {"op":"get","key":"a"}                            {"status":200,"key":"a","value":"text",…}
 *     {"op":"head","key":"a"}                           {"status":200,"key":"a","etag":…,"size":4,…}
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
import {
  DEFAULT_CONTENT_TYPE,
  LARGE_VALUE_BYTES,
  type LargeValue,
  type Store,
  Value,
} from "./store.ts";

/**
 * The longest line (bytes): a value of {@link LARGE_VALUE_BYTES}, all of it escaped as `\u00XX`, and
 * its key. Larger values have routes of their own.
 */
const MAX_LINE_BYTES = 8 * LARGE_VALUE_BYTES;

/**
 * What operations under way at the same time may take in memory (bytes); a value that is being read
 * counts as if it had {@link LARGE_VALUE_BYTES}.
 */
const WINDOW_BYTES = 64 * LARGE_VALUE_BYTES;

/** How long operations may keep the event loop to themselves (ms), and how often that is looked at. */
const TURN_MS = 2;
const LOOK_EVERY = 16;

/** What an operation under way takes besides its value, about (bytes). */
const OPERATION_BYTES = 512;

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
  readonly op: "put" | "get" | "head" | "delete";
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
 * on one key take effect in order; others share the disk's flushes. Memory: one chunk of the body,
 * the values of one window, and the answer, which is bounded.
 */
export async function* runBatch(
  chunks: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
  options: BatchOptions,
): AsyncGenerator<string> {
  const batch = new Batch(options);
  let turnStart = performance.now();
  try {
    for await (const lines of splitLines(chunks)) {
      for (const [index, line] of lines.entries()) {
        if (batch.start(line)) yield await batch.takeOldest();
        if (index % LOOK_EVERY !== 0 || performance.now() - turnStart < TURN_MS) continue;
        // What memory answers costs no promise: others have to be let in.
        await new Promise((resolve) => setTimeout(resolve, 0));
        turnStart = performance.now();
      }
      yield batch.takeReady();
    }
    yield await batch.takeAll();
  } catch (error) {
    // Operations before this one were done, so the last line says what stopped the rest.
    yield await batch.takeAll() + JSON.stringify(failure(error, options.log)) + "\n";
  }
}

/** An operation that was started; `line` is its result once that is known. */
interface Started {
  readonly key: string;
  /** What it counts for in the window; 0 where it was done at once. */
  readonly bytes: number;
  line: string | undefined;
  done: Promise<void> | undefined;
}

/** The operations of one request that are under way, in order. */
class Batch {
  readonly #options: BatchOptions;
  readonly #queue: Started[] = [];
  #first = 0;
  /** The last operation on each key, as long as it is under way. */
  readonly #turns = new Map<string, Started>();
  #windowBytes = 0;
  #answerSize = 0;

  constructor(options: BatchOptions) {
    this.#options = options;
  }

  /** Starts the operation of a line; returns whether the window is full then. */
  start(line: string): boolean {
    let result: Result | Promise<Result>;
    let key = "";
    let bytes = 0;
    try {
      const operation = parseOperation(line);
      key = operation.key;
      const before = this.#turns.get(key)?.done;
      const begin = () => this.#run(operation);
      result = before === undefined ? begin() : before.then(begin);
      bytes = OPERATION_BYTES + (operation.op === "put" ? line.length : LARGE_VALUE_BYTES);
    } catch (error) {
      result = failure(error, this.#options.log);
    }
    if (!(result instanceof Promise)) {
      const text = this.#lineOf(result);
      this.#queue.push({ key, bytes: 0, line: text, done: undefined });
      return false;
    }
    const started: Started = { key, bytes, line: undefined, done: undefined };
    started.done = result.then((value) => {
      started.line = this.#lineOf(value);
      this.#windowBytes -= bytes;
      if (this.#turns.get(key) === started) this.#turns.delete(key);
    });
    this.#turns.set(key, started);
    this.#windowBytes += bytes;
    this.#queue.push(started);
    return this.#windowBytes >= WINDOW_BYTES;
  }

  /** The results, in order, as far as they are known. */
  takeReady(): string {
    let text = "";
    for (let next = this.#queue[this.#first]; next?.line !== undefined;) {
      text += next.line;
      next = this.#queue[++this.#first];
    }
    if (this.#first === this.#queue.length) {
      this.#queue.length = 0;
      this.#first = 0;
    }
    return text;
  }

  /** Waits for the oldest operation under way. */
  async takeOldest(): Promise<string> {
    const ready = this.takeReady();
    await this.#queue[this.#first]?.done;
    return ready + this.takeReady();
  }

  /** Waits for all operations under way. */
  async takeAll(): Promise<string> {
    let text = this.takeReady();
    while (this.#queue.length > 0) text += await this.takeOldest();
    return text;
  }

  #lineOf(result: Result): string {
    const line = JSON.stringify(result) + "\n";
    this.#answerSize += line.length;
    return line;
  }

  /** Runs one operation; never rejects, and is no promise where memory has the answer. */
  #run(operation: Operation): Result | Promise<Result> {
    const { store, serving, log } = this.#options;
    const { op, key } = operation;
    const failed = (error: unknown): Result => ({ ...failure(error, log), key });
    try {
      checkKey(key);
      if (!serving()) {
        return { status: STATUS_CODE.ServiceUnavailable, key, error: SHUTTING_DOWN };
      }
      if (op === "get" && this.#answerSize > MAX_ANSWER) {
        throw new InvalidOperationError("Answer too long: get the rest in another batch");
      }
      const result = op === "put"
        ? put(store, operation)
        : op === "delete"
        ? remove(store, operation)
        : read(store, operation);
      return result instanceof Promise ? result.catch(failed) : result;
    } catch (error) {
      return failed(error);
    }
  }
}

function read(store: Store, { op, key }: Operation): Result | Promise<Result> {
  const answer = op === "get" ? got : seen;
  const value = store.get(key);
  return value instanceof Promise ? value.then((found) => answer(key, found)) : answer(key, value);
}

function seen(key: string, value: Value | LargeValue | undefined): Result {
  if (value === undefined) return { status: STATUS_CODE.NotFound, key };
  if (!(value instanceof Value)) value.discard();
  const { etag, size, contentType } = value;
  return { status: STATUS_CODE.OK, key, etag, size, type: contentType };
}

function got(key: string, value: Value | LargeValue | undefined): Result {
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
      'Invalid operation: expected "op" put, get, head or delete, "key", for put "value" or "base64", ' +
        'and texts only in "type", "ifMatch", "ifNoneMatch"',
    );
  }
  return parsed;
}

function isOperation(value: unknown): value is Operation {
  if (typeof value !== "object" || value === null) return false;
  for (const name in value) {
    if (!FIELDS.has(name) || typeof Reflect.get(value, name) !== "string") return false;
  }
  if (!("key" in value) || !("op" in value)) return false;
  switch (value.op) {
    case "put":
      return ("value" in value) !== ("base64" in value);
    case "get":
    case "head":
    case "delete":
      return !("value" in value) && !("base64" in value);
    default:
      return false;
  }
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
