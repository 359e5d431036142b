/**
 * One accepted connection with a read buffer and deadlines. Deadlines are counted in ticks of the
 * server's one timer: setting one costs a store, not a timer, and a process that was stopped for a
 * while does not find everybody late.
 */
import { BodyTimeoutError } from "../errors.ts";
import { type HttpConn } from "./types.ts";

/** What a socket may take, times in ticks. */
export interface SocketLimits {
  readonly headerTicks: number;
  readonly bodyTicks: number;
  readonly idleTicks: number;
  /** How long a client may take to read its last answer while it still sends. */
  readonly lingerTicks: number;
  /** Below this a body or an answer moves too slowly, in bytes a tick. */
  readonly minBytesPerTick: number;
  /** For messages, in milliseconds. */
  readonly bodyTimeoutMs: number;
}

/** The server's timer. */
export interface TickSource {
  readonly tick: number;
}

/** What a deadline found. */
export type Overdue = "nothing" | "reading" | "writing";

/** Later than any tick; small enough to be stored without an allocation. */
const NEVER = 0x3fff_ffff;

/** Size of a read buffer at first. Most requests fit, and there is one a connection. */
const INITIAL_BYTES = 4096;

/** Up to this a buffer is kept between requests, for clients that fill a smaller one. */
const MAX_KEPT_BYTES = 16_384;

/** What reads and writes throw on a connection that ended, by either side. */
const CLIENT_GONE = [
  BodyTimeoutError,
  Deno.errors.BadResource,
  Deno.errors.BrokenPipe,
  Deno.errors.ConnectionAborted,
  Deno.errors.ConnectionReset,
  Deno.errors.Interrupted,
  // What TLS says of a client that speaks something else, or does not trust the certificate.
  Deno.errors.InvalidData,
  Deno.errors.NotConnected,
  Deno.errors.TimedOut,
  Deno.errors.UnexpectedEof,
];

export class HttpSocket {
  /** What was read and not used yet lies from `start` to `end`. */
  buffer: Uint8Array<ArrayBuffer> = new Uint8Array(INITIAL_BYTES);
  start = 0;
  end = 0;
  readonly conn: HttpConn;
  readonly #clock: TickSource;
  readonly #limits: SocketLimits;
  #readBy = NEVER;
  #writeBy = NEVER;
  /** Ticks spent waiting for the client within one request, and the bytes that moved meanwhile. */
  #waited = 0;
  #moved = 0;
  #rejectBody: ((reason: unknown) => void) | undefined;

  constructor(conn: HttpConn, clock: TickSource, limits: SocketLimits) {
    this.conn = conn;
    this.#clock = clock;
    this.#limits = limits;
  }

  /** Bytes read and not used yet. */
  get buffered(): number {
    return this.end - this.start;
  }

  /** Lets the client be silent for `ticks` from now on. */
  allowRead(ticks: number): void {
    // The tick under way may be nearly over: one more, so that nobody is ever early.
    this.#readBy = this.#clock.tick + ticks + 1;
  }

  /** Nothing is awaited from the client. */
  stopReadClock(): void {
    this.#readBy = NEVER;
    this.#waited = 0;
    this.#moved = 0;
  }

  /**
   * Reads more into the buffer: add the result to `end`, unless it is `null`, which is the end. The
   * runtime's own promise, since another one costs on every request.
   */
  read(): Promise<number | null> {
    if (this.start === this.end) this.#empty();
    else if (this.end === this.buffer.length) this.#makeRoom();
    return this.conn.read(this.end === 0 ? this.buffer : this.buffer.subarray(this.end));
  }

  #empty(): void {
    const { length } = this.buffer;
    const filled = this.end === length;
    this.start = this.end = 0;
    if (length > MAX_KEPT_BYTES) this.buffer = new Uint8Array(INITIAL_BYTES);
    else if (filled && length < MAX_KEPT_BYTES) this.buffer = new Uint8Array(length * 2);
  }

  #makeRoom(): void {
    const size = this.buffered;
    if (this.start > 0) {
      this.buffer.copyWithin(0, this.start, this.end);
      this.useBuffer(this.buffer, size);
      return;
    }
    // The parser refuses what is too long, so this ends.
    const buffer = new Uint8Array(this.buffer.length * 2);
    buffer.set(this.buffer);
    this.useBuffer(buffer, size);
  }

  /** Goes on with the first `size` bytes of `buffer`. */
  useBuffer(buffer: Uint8Array<ArrayBuffer>, size: number): void {
    this.buffer = buffer;
    this.start = 0;
    this.end = size;
  }

  /**
   * Reads a part of a body past the buffer, straight into `into`.
   *
   * @throws {BodyTimeoutError} If the client is too slow, or gone.
   */
  readBody(into: Uint8Array): Promise<number> {
    const { promise, resolve, reject } = Promise.withResolvers<number>();
    this.#rejectBody = reject;
    this.allowRead(this.#limits.bodyTicks);
    this.conn.read(into).then((size) => {
      // Too late: the deadline has passed, and the clock now runs for something else.
      if (this.#rejectBody !== reject) return;
      this.#endBodyRead();
      if (size === null) return reject(cutOff());
      this.#moved += size;
      resolve(size);
    }, (cause) => {
      if (this.#rejectBody === reject) this.#endBodyRead();
      reject(cutOff(cause));
    });
    return promise;
  }

  #endBodyRead(): void {
    this.#rejectBody = undefined;
    this.#readBy = NEVER;
  }

  /** Ends a body read that is overdue; `false` where there is none. */
  failLateBody(): boolean {
    const ms = this.#limits.bodyTimeoutMs;
    return this.failBody(
      new BodyTimeoutError(`Body timed out: nothing, or too little, came for ${ms} ms`),
    );
  }

  /** Ends a body read; bytes that still come for it are lost. `false` where there is none. */
  failBody(reason: Error): boolean {
    const reject = this.#rejectBody;
    if (reject === undefined) return false;
    this.#endBodyRead();
    reject(reason);
    return true;
  }

  /** Starts the deadline of a write of one's own; {@link endWrite} ends it. */
  beginWrite(): void {
    this.#writeBy = this.#clock.tick + this.#limits.bodyTicks + 1;
  }

  endWrite(): void {
    this.#writeBy = NEVER;
  }

  /** Writes all of `bytes`. Rejects where the client is gone, or was shut out as too slow. */
  async write(bytes: Uint8Array): Promise<void> {
    for (let at = 0; at < bytes.length;) {
      this.beginWrite();
      const size = await this.conn.write(at === 0 ? bytes : bytes.subarray(at));
      this.endWrite();
      this.#moved += size;
      at += size;
    }
  }

  /** Called once a tick: which deadline has passed, if any. */
  overdue(): Overdue {
    const { tick } = this.#clock;
    const { bodyTicks, minBytesPerTick } = this.#limits;
    const writing = this.#writeBy !== NEVER;
    if (writing || this.#rejectBody !== undefined) {
      const crawls = ++this.#waited > bodyTicks + this.#moved / minBytesPerTick;
      if (crawls) return writing ? "writing" : "reading";
    }
    if (tick > this.#writeBy) return "writing";
    return tick > this.#readBy ? "reading" : "nothing";
  }

  /** Tells the client that nothing more comes. Never rejects. */
  async closeWrite(): Promise<void> {
    try {
      await this.conn.closeWrite();
    } catch {
      // It is gone already.
    }
  }

  /** Ends the connection; reads and writes under way reject. May be called again. */
  close(): void {
    try {
      this.conn.close();
    } catch {
      // It is closed already.
    }
  }
}

function cutOff(cause?: unknown): BodyTimeoutError {
  return new BodyTimeoutError("Body cut off: the client went away", { cause });
}

/** Whether `error` only says that the client went away, or was shut out, which is nobody's error. */
export function isClientGone(error: unknown): boolean {
  return CLIENT_GONE.some((errorClass) => error instanceof errorClass) ||
    // What the system says of a network, and the runtime has no class for.
    (error instanceof Error && "code" in error);
}
