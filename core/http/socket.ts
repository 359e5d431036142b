/**
 * The socket of a connection, with a read buffer and deadlines. Deadlines are counted in ticks of
 * the server's one timer. To set one is one assignment, and after a pause of the process no client
 * is late.
 */
import { BodyTimeoutError } from "../errors.ts";
import { type ClientWatch, type HttpConn } from "./types.ts";

/** Limits of a socket, with times in ticks. */
export interface SocketLimits {
  readonly headerTicks: number;
  readonly bodyTicks: number;
  readonly idleTicks: number;
  /** How long a client that still sends may take to read its last answer. */
  readonly lingerTicks: number;
  /** The least speed of a body or an answer, in bytes a tick. */
  readonly minBytesPerTick: number;
  /** The same as `bodyTicks` in milliseconds, for messages. */
  readonly bodyTimeoutMs: number;
}

/** The server's timer. */
export interface TickSource {
  readonly tick: number;
}

/** Which of its deadlines a connection has missed. */
export type Overdue = "nothing" | "reading" | "writing";

/** Later than any tick, and a number that V8 stores without an allocation. */
const NEVER = 0x3fff_ffff;

/** The first size of a read buffer (bytes). Each connection has one, and most requests fit. */
const INITIAL_BYTES = 4096;

/** The largest buffer that is kept between requests, for clients that fill smaller ones (bytes). */
const MAX_KEPT_BYTES = 16_384;

/** The errors of reads and writes on a connection that either side ended. */
const CLIENT_GONE = [
  BodyTimeoutError,
  Deno.errors.BadResource,
  Deno.errors.BrokenPipe,
  Deno.errors.ConnectionAborted,
  Deno.errors.ConnectionReset,
  Deno.errors.Interrupted,
  // TLS: the client speaks something else, or does not trust the certificate.
  Deno.errors.InvalidData,
  Deno.errors.NotConnected,
  Deno.errors.TimedOut,
  Deno.errors.UnexpectedEof,
];

/** The most bytes that are read while a client is watched: the beginning of its next request. */
const AHEAD_BYTES = 1024;

/** A read that began before its bytes are wanted, to notice that the client has gone. */
class ReadAhead implements ClientWatch {
  readonly bytes = new Uint8Array(AHEAD_BYTES);
  /** Resolves as the read of a connection does. */
  readonly size: Promise<number | null>;
  readonly gone: Promise<void>;
  isGone = false;

  constructor(conn: HttpConn) {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.gone = promise;
    this.size = conn.read(this.bytes);
    const end = () => {
      this.isGone = true;
      resolve();
    };
    this.size.then((size) => size === null && end(), end);
  }
}

/** The socket of one connection. */
export class HttpSocket {
  /** Holds the bytes that were read and not used yet, from `start` to `end`. */
  buffer: Uint8Array<ArrayBuffer> = new Uint8Array(INITIAL_BYTES);
  start = 0;
  end = 0;
  readonly conn: HttpConn;
  readonly #clock: TickSource;
  readonly #limits: SocketLimits;
  #readBy = NEVER;
  #writeBy = NEVER;
  /** Ticks spent waiting for the client within one request. */
  #waited = 0;
  /** Bytes of bodies and answers that were read or written within one request. */
  #moved = 0;
  #ahead: ReadAhead | undefined;
  #rejectBody: ((reason: unknown) => void) | undefined;

  constructor(conn: HttpConn, clock: TickSource, limits: SocketLimits) {
    this.conn = conn;
    this.#clock = clock;
    this.#limits = limits;
  }

  /** How many bytes were read and not used yet. */
  get buffered(): number {
    return this.end - this.start;
  }

  /** Allows the client to be silent for `ticks` from now on. */
  allowRead(ticks: number): void {
    // The current tick may be nearly over, so one more is allowed.
    this.#readBy = this.#clock.tick + ticks + 1;
  }

  /** Ends the deadline of reads: the client does not have to send anything now. */
  stopReadClock(): void {
    this.#readBy = NEVER;
    this.#waited = 0;
    this.#moved = 0;
  }

  /**
   * Reads more into the buffer. Resolves to the number of bytes, which the caller has to add to
   * `end`, or to `null` at the end of the connection. An async function here would cost each
   * request a promise.
   */
  read(): Promise<number | null> {
    if (this.start === this.end) this.#empty();
    else if (this.end === this.buffer.length) this.#makeRoom();
    if (this.#ahead !== undefined) return this.#takeAhead(this.#ahead);
    return this.conn.read(this.end === 0 ? this.buffer : this.buffer.subarray(this.end));
  }

  /** Watches whether the client goes. To be called when no read is under way, and none but {@link read} follows. */
  watch(): ClientWatch {
    this.#ahead ??= new ReadAhead(this.conn);
    return this.#ahead;
  }

  async #takeAhead({ size, bytes }: ReadAhead): Promise<number | null> {
    const read = await size;
    this.#ahead = undefined;
    if (read === null) return null;
    while (this.buffer.length - this.end < read) this.#makeRoom();
    this.buffer.set(bytes.subarray(0, read), this.end);
    return read;
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
    // The parser refuses heads that are too long, so the buffer stops growing.
    const buffer = new Uint8Array(this.buffer.length * 2);
    buffer.set(this.buffer);
    this.useBuffer(buffer, size);
  }

  /** Takes `buffer` in place of the current one; its first `size` bytes were read. */
  useBuffer(buffer: Uint8Array<ArrayBuffer>, size: number): void {
    this.buffer = buffer;
    this.start = 0;
    this.end = size;
  }

  /**
   * Reads a part of a body into `into`, without the buffer.
   *
   * @throws {BodyTimeoutError} If the client is too slow or gone.
   */
  readBody(into: Uint8Array): Promise<number> {
    const { promise, resolve, reject } = Promise.withResolvers<number>();
    this.#rejectBody = reject;
    this.allowRead(this.#limits.bodyTicks);
    this.conn.read(into).then((size) => {
      // The deadline has passed, so the promise was rejected already.
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

  /** Rejects a body read that is overdue; returns `false` if there is none. */
  failLateBody(): boolean {
    const ms = this.#limits.bodyTimeoutMs;
    return this.failBody(
      new BodyTimeoutError(`Body timed out: nothing, or too little, came for ${ms} ms`),
    );
  }

  /** Rejects a body read, whose bytes are then lost; returns `false` if there is none. */
  failBody(reason: Error): boolean {
    const reject = this.#rejectBody;
    if (reject === undefined) return false;
    this.#endBodyRead();
    reject(reason);
    return true;
  }

  /** Starts the deadline of a write that the caller makes itself; {@link endWrite} ends it. */
  beginWrite(): void {
    this.#writeBy = this.#clock.tick + this.#limits.bodyTicks + 1;
  }

  /** Ends the deadline of a write. */
  endWrite(): void {
    this.#writeBy = NEVER;
  }

  /** Writes all of `bytes`. Rejects if the client is gone, or if its connection was ended. */
  async write(bytes: Uint8Array): Promise<void> {
    for (let at = 0; at < bytes.length;) {
      this.beginWrite();
      const size = await this.conn.write(at === 0 ? bytes : bytes.subarray(at));
      this.endWrite();
      this.#moved += size;
      at += size;
    }
  }

  /** Which deadline has passed, if any. To be called once a tick. */
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

  /** Tells the client that no more bytes follow. Never rejects. */
  async closeWrite(): Promise<void> {
    try {
      await this.conn.closeWrite();
    } catch {
      // The client is gone already.
    }
  }

  /** Closes the connection. Reads and writes under way reject. May be called again. */
  close(): void {
    try {
      this.conn.close();
    } catch {
      // The connection is closed already.
    }
  }
}

function cutOff(cause?: unknown): BodyTimeoutError {
  return new BodyTimeoutError("Body cut off: the client went away", { cause });
}

/** Whether `error` only says that the connection ended, which is no fault of the server. */
export function isClientGone(error: unknown): boolean {
  return CLIENT_GONE.some((errorClass) => error instanceof errorClass) ||
    // Errors of the system for which the runtime has no class.
    (error instanceof Error && "code" in error);
}
