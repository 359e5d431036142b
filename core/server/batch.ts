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
import { type Store } from "../store.ts";
import { type AnswerShare } from "./answer_room.ts";
import { splitLines } from "./batch_lines.ts";
import { type Operation, parseOperation } from "./parse_operation.ts";
import { failure, type Result, runOperation } from "./run_operation.ts";

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

/**
 * The most that the answer may take in memory (characters): what is got behind that is refused, and
 * at twice as much the batch ends.
 */
const MAX_ANSWER = 8 * 1024 * 1024;

/** As soon as so much of the answer is there it is yielded (characters): one long text would be copied. */
const PART = 64 * 1024;

/** What a batch works with. */
export interface BatchOptions {
  readonly store: Store;
  /** The largest value that is taken, in bytes; over {@link LARGE_VALUE_BYTES} none is anyway. */
  readonly maxValueBytes: number;
  /** What the answer may take in memory; whoever takes the answer releases it. */
  readonly share: AnswerShare;
  /** Whether the shard is serving; asked before each operation. */
  readonly serving: () => boolean;
  readonly log: Log;
}

/**
 * Runs the operations of a request body as they come and yields the lines of the answer. Operations
 * on one key take effect in order; others share the disk's flushes. Memory: one chunk of the body,
 * the values of one window, and the answer, which is bounded, as are those of all batches together.
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
  /** What it counts for in the window, as long as it is under way. */
  readonly bytes: number;
  /** Whether it gets a value. */
  readonly isRead: boolean;
  line: string | undefined;
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
  /** Values that are being read. */
  #reads = 0;

  constructor(options: BatchOptions) {
    this.#options = options;
  }

  /** What of the answer is there and was not taken (characters). */
  get untakenSize(): number {
    return this.#answerSize - this.#takenSize;
  }

  /** What the answer so far, and what is being read for it, take at most (characters). */
  get heldSize(): number {
    return this.#answerSize + this.#reads * LARGE_VALUE_BYTES;
  }

  /** @throws {InvalidOperationError} If the answer is so long that nothing more can be told in it. */
  checkAnswer(): void {
    if (this.#answerSize <= 2 * MAX_ANSWER) return;
    throw new InvalidOperationError(
      "Answer too long: run the operations from here on in another batch",
    );
  }

  /** Starts the operation of a line; returns whether the window is full then. */
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
    this.#takenSize += text.length;
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

  /** Runs one operation; no promise where memory has the answer. Throws and rejects if it fails. */
  #run(operation: Operation): Result | Promise<Result> {
    const { store, serving, maxValueBytes } = this.#options;
    const { op, key } = operation;
    checkKey(key);
    if (!serving()) return { status: STATUS_CODE.ServiceUnavailable, key, error: SHUTTING_DOWN };
    if (op === "get" && this.#answerSize > MAX_ANSWER) {
      throw new InvalidOperationError("Answer too long: get the rest in another batch");
    }
    return runOperation(store, operation, Math.min(maxValueBytes, LARGE_VALUE_BYTES));
  }
}
