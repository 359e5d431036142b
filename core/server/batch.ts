/**
 * `POST /v1/batch`: many operations in one request, one JSON object a line in and out, in order.
 *
 *     {"op":"put","key":"a","value":"text"}             {"status":201,"key":"a","etag":"\"…\""}
 *     {"op":"put","key":"b","base64":"AAE=","type":"x/y","ifNoneMatch":"*"}
 *     {"op":"get","key":"a"}                            {"status":200,"key":"a","value":"text",…}
 *     {"op":"head","key":"a"}                           {"status":200,"key":"a","etag":…,"size":4,…}
 *     {"op":"delete","key":"a","ifMatch":"\"…\""}       {"status":204,"key":"a"}
 */
import { STATUS_CODE } from "@std/http/status";
import { InvalidOperationError } from "../errors.ts";
import { checkKey } from "../key.ts";
import { type Log } from "../log.ts";
import { LARGE_VALUE_BYTES, SHUTTING_DOWN } from "../protocol.ts";
import { type AnswerShare } from "./answer_allowance.ts";
import { splitLines } from "./batch_lines.ts";
import { type OwnedStore } from "./owned_store.ts";
import { type Operation, parseOperation } from "./parse_operation.ts";
import { failure, type Result, runOperation } from "./run_operation.ts";

/**
 * The memory that operations under way at the same time may take (bytes). A value that is being read
 * counts as {@link LARGE_VALUE_BYTES}.
 */
const WINDOW_BYTES = 64 * LARGE_VALUE_BYTES;

/** How long operations may hold the event loop (milliseconds). */
const TURN_MS = 2;

/** The number of operations between two looks at the clock. */
const LOOK_EVERY = 16;

/** The memory that an operation under way takes besides its value, roughly (bytes). */
const OPERATION_BYTES = 512;

/**
 * If the answer takes more than this in memory (characters), gets are refused. If it takes more than twice
 * as much, the batch ends.
 */
const MAX_ANSWER = 8 * 1024 * 1024;

/** The answer is yielded when so much of it is known (characters): one long text would be copied. */
const PART = 64 * 1024;

/** The options of one batch. */
export interface BatchOptions {
  readonly store: OwnedStore;
  /** What the last line says if a key was misdirected. */
  readonly layout: () => object;
  /** The largest value that the server takes, in bytes; a batch takes none over {@link LARGE_VALUE_BYTES}. */
  readonly maxValueBytes: number;
  /** The memory for the answer. The batch lets it grow, and the caller releases it. */
  readonly share: AnswerShare;
  /** Tells whether the shard is serving; asked before each operation. */
  readonly serving: () => boolean;
  /** Throws if the batch may not go on; called before each operation. */
  readonly check: () => void;
  readonly log: Log;
}

/**
 * Runs the operations of a request body as they come, and yields the lines of the answer. Operations on
 * one key take effect in order. Operations on different keys share the flushes of the disk.
 *
 * It takes the memory of one chunk of the body, the values of one window, and the answer. The answer is
 * bounded, and so are the answers of all batches together.
 */
export async function* runBatch(
  chunks: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
  options: BatchOptions,
): AsyncGenerator<string> {
  const batch = new BatchRun(options);
  let turnStart = performance.now();
  try {
    for await (const lines of splitLines(chunks)) {
      for (const [index, line] of lines.entries()) {
        batch.checkAnswer();
        if (batch.heldSize > options.share.size) await options.share.growTo(batch.heldSize);
        if (batch.start(line)) yield await batch.takeOldest();
        if (batch.untakenSize >= PART) yield batch.takeReady();
        if (index % LOOK_EVERY !== 0 || performance.now() - turnStart < TURN_MS) continue;
        // Operations that memory answers never wait, so other requests would not get their turn.
        await new Promise((resolve) => setTimeout(resolve, 0));
        turnStart = performance.now();
      }
      yield batch.takeReady();
    }
    yield await batch.takeAll() + batch.layoutLine();
  } catch (error) {
    // The operations so far were done, so the last line tells what stopped the rest.
    yield await batch.takeAll() + JSON.stringify(failure(error, options.log)) + "\n";
  }
}

/** An operation that was started. */
interface Started {
  readonly key: string;
  /** Its size in the window, as long as it is under way. */
  readonly bytes: number;
  /** Whether it gets a value. */
  readonly isRead: boolean;
  /** Its result, once that is known. */
  line: string | undefined;
  /** Resolves with the result; `undefined` if the result was known at once. */
  done: Promise<void> | undefined;
}

/** The operations of one request that are under way, in order. */
class BatchRun {
  readonly #options: BatchOptions;
  readonly #queue: Started[] = [];
  #first = 0;
  /** The last operation on each key, as long as it is under way. */
  readonly #turns = new Map<string, Started>();
  #windowBytes = 0;
  #answerSize = 0;
  #takenSize = 0;
  /** The number of values that are being read. */
  #reads = 0;
  #isMisdirected = false;

  constructor(options: BatchOptions) {
    this.#options = options;
  }

  /** The part of the answer that is known and was not taken (characters). */
  get untakenSize(): number {
    return this.#answerSize - this.#takenSize;
  }

  /** The most that the answer so far takes, with the values that are being read for it (characters). */
  get heldSize(): number {
    return this.#answerSize + this.#reads * LARGE_VALUE_BYTES;
  }

  /** @throws {InvalidOperationError} If the answer is too long for one more result. */
  checkAnswer(): void {
    if (this.#answerSize <= 2 * MAX_ANSWER) return;
    throw new InvalidOperationError(
      "Answer too long: run the operations from here on in another batch",
    );
  }

  /** Starts the operation of a line. Returns whether the window is full now. */
  start(line: string): boolean {
    let result: Result | Promise<Result>;
    let key: string | undefined;
    let bytes = 0;
    let isRead = false;
    try {
      const operation = parseOperation(line);
      key = operation.key;
      const before = this.#turns.get(key)?.done;
      result = before === undefined
        ? this.#run(operation)
        : before.then(() => this.#run(operation));
      isRead = operation.op === "get";
      bytes = OPERATION_BYTES + (operation.op === "put" ? line.length : LARGE_VALUE_BYTES);
    } catch (error) {
      result = failure(error, this.#options.log, key);
    }
    const started: Started = { key: key ?? "", bytes, isRead, line: undefined, done: undefined };
    this.#queue.push(started);
    if (!(result instanceof Promise)) {
      started.line = this.#lineOf(result);
      return false;
    }
    started.done = result.then(
      (value) => this.#settle(started, value),
      (error) => this.#settle(started, failure(error, this.#options.log, started.key)),
    );
    this.#turns.set(started.key, started);
    this.#windowBytes += bytes;
    if (isRead) this.#reads++;
    return this.#windowBytes >= WINDOW_BYTES;
  }

  #settle(started: Started, result: Result): void {
    started.line = this.#lineOf(result);
    this.#windowBytes -= started.bytes;
    if (started.isRead) this.#reads--;
    if (this.#turns.get(started.key) === started) this.#turns.delete(started.key);
  }

  /** Takes the results in order, up to the first that is not known. */
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
    this.#takenSize += text.length;
    return text;
  }

  /** Takes what {@link takeReady} does, but waits for the oldest operation under way. */
  async takeOldest(): Promise<string> {
    const ready = this.takeReady();
    await this.#queue[this.#first]?.done;
    return ready + this.takeReady();
  }

  /** Takes all results; waits for all operations under way. */
  async takeAll(): Promise<string> {
    let text = this.takeReady();
    while (this.#queue.length > 0) text += await this.takeOldest();
    return text;
  }

  /** The last line, which tells the layout if a key was misdirected. */
  layoutLine(): string {
    return this.#isMisdirected ? JSON.stringify(this.#options.layout()) + "\n" : "";
  }

  #lineOf(result: Result): string {
    if (result.status === STATUS_CODE.MisdirectedRequest) this.#isMisdirected = true;
    const line = JSON.stringify(result) + "\n";
    this.#answerSize += line.length;
    return line;
  }

  /** Runs one operation, without a promise if memory has the answer. @throws {KvsError} If it fails. */
  #run(operation: Operation): Result | Promise<Result> {
    const { store, serving, check, maxValueBytes } = this.#options;
    const { op, key } = operation;
    checkKey(key);
    if (!serving()) return { status: STATUS_CODE.ServiceUnavailable, key, error: SHUTTING_DOWN };
    check();
    if (op === "get" && this.#answerSize > MAX_ANSWER) {
      throw new InvalidOperationError("Answer too long: get the rest in another batch");
    }
    return runOperation(store, operation, Math.min(maxValueBytes, LARGE_VALUE_BYTES));
  }
}
