/**
 * TCP connections by system calls, for a server with many small requests: {@link Poller} tells when
 * there is something to do.
 */
import { type HttpListener, type PlainConn } from "./http_types.ts";
import { lastError, type LibC, loadLibC } from "./libc.ts";
import { type Polled, Poller } from "./poller.ts";
import { addressKey, addressOf } from "./socket_address.ts";

// sys/socket.h, netinet/tcp.h and errno.h of Linux.
const SHUT_WR = 1;
const SOCK_NONBLOCK = 0o4000;
const SOCK_CLOEXEC = 0o2000000;
const SOL_SOCKET = 1;
const SO_ACCEPTCONN = 30;
const IPPROTO_TCP = 6;
const TCP_NODELAY = 1;
const MSG_NOSIGNAL = 0x4000;
const EINTR = 4;
const EAGAIN = 11;
const EPIPE = 32;
const ECONNABORTED = 103;
const ECONNRESET = 104;
const ETIMEDOUT = 110;

/** Among the descriptors below is that of a listener that has just been opened. */
const MOST_DESCRIPTORS = 4096;

/** The most that one call hands to the system (bytes), so that a large value holds up nobody. */
const MOST_SENT_BYTES = 262_144;

const ON = new Uint8Array([1, 0, 0, 0]);

type Calls = NonNullable<LibC>;

/**
 * Takes over a listener of the runtime's, or returns it as it is where this system has no such calls,
 * or another kind of them than is known.
 */
export function pollListener(listener: Deno.TcpListener): HttpListener {
  const calls = loadLibC();
  const found = calls === undefined ? undefined : findDescriptor(calls, listener.addr);
  if (calls === undefined || found === undefined) return listener;
  const descriptor = calls.dup(found);
  const poller = Poller.get();
  if (poller === undefined) return listener;
  const polled = new PolledListener(calls, poller, descriptor, listener.addr);
  if (!poller.add(descriptor, polled)) return listener;
  // The system listens as long as one of the two is open.
  listener.close();
  return polled;
}

function findDescriptor(calls: Calls, { hostname, port }: Deno.NetAddr): number | undefined {
  const wanted = addressKey(hostname, port);
  for (let descriptor = 0; descriptor < MOST_DESCRIPTORS; descriptor++) {
    if (addressOf(descriptor, calls.getsockname) !== wanted) continue;
    // Connections that were accepted from an earlier listener have the same address.
    const result = new Uint32Array([0, Uint32Array.BYTES_PER_ELEMENT]);
    const [value, length] = [result.subarray(0, 1), result.subarray(1)];
    calls.getsockopt(descriptor, SOL_SOCKET, SO_ACCEPTCONN, value, length);
    if (result[0] === 1) return descriptor;
  }
  return undefined;
}

/** What is asked for and not there yet. */
interface Asked<T> {
  readonly promise: Promise<T>;
  readonly resolve: (value: T) => void;
  readonly reject: (reason: Error) => void;
}

class PolledListener implements HttpListener, Polled {
  readonly addr: Deno.NetAddr;
  readonly #calls: Calls;
  readonly #poller: Poller;
  readonly #descriptor: number;
  #mayHaveOne = false;
  #asked: Asked<PlainConn> | undefined;
  #isClosed = false;

  constructor(calls: Calls, poller: Poller, descriptor: number, addr: Deno.NetAddr) {
    this.#calls = calls;
    this.#poller = poller;
    this.#descriptor = descriptor;
    this.addr = addr;
  }

  /** One at a time. @throws {Deno.errors.BadResource} If it is closed. */
  accept(): Promise<PlainConn> {
    if (this.#isClosed) return Promise.reject(closed());
    this.#asked = Promise.withResolvers();
    if (this.#mayHaveOne) this.#poller.soon(this);
    return this.#asked.promise;
  }

  readable(): void {
    this.#mayHaveOne = true;
    this.turn();
  }

  writable(): void {}

  turn(): void {
    const asked = this.#asked;
    if (asked === undefined || this.#isClosed) return;
    const flags = SOCK_NONBLOCK | SOCK_CLOEXEC;
    const descriptor = this.#calls.accept4(this.#descriptor, null, null, flags);
    if (descriptor >= 0) {
      this.#asked = undefined;
      const conn = new PolledConn(this.#calls, this.#poller, descriptor);
      if (this.#poller.add(descriptor, conn)) return asked.resolve(conn);
    }
    const error = lastError();
    if (error === EAGAIN) this.#mayHaveOne = false;
    else if (error === EINTR) this.#poller.soon(this);
    else {
      this.#asked = undefined;
      asked.reject(systemError(error));
    }
  }

  /** @throws {Deno.errors.BadResource} If it is closed already. */
  close(): void {
    if (this.#isClosed) throw closed();
    this.#isClosed = true;
    this.#poller.remove(this.#descriptor);
    this.#calls.close(this.#descriptor);
    this.#asked?.reject(closed());
  }
}

class PolledConn implements PlainConn, Polled {
  readonly #calls: Calls;
  readonly #poller: Poller;
  readonly #descriptor: number;
  /** Whether a read may find something. */
  #mayHaveMore = false;
  /** Whether the other side has said that nothing more comes: then every read finds something. */
  #isOver = false;
  #into: Uint8Array<ArrayBuffer> | undefined;
  #reading: Asked<number | null> | undefined;
  /** For the next room to write. */
  #writing: Asked<void> | undefined;
  #isClosed = false;

  constructor(calls: Calls, poller: Poller, descriptor: number) {
    this.#calls = calls;
    this.#poller = poller;
    this.#descriptor = descriptor;
  }

  read(into: Uint8Array<ArrayBuffer>): Promise<number | null> {
    if (this.#isClosed) return Promise.reject(closed());
    if (this.#reading !== undefined) {
      const next = () => this.read(into);
      return this.#reading.promise.then(next, next);
    }
    this.#into = into;
    this.#reading = Promise.withResolvers();
    // Not now: who sends without end must not keep others from their turn.
    if (this.#mayHaveMore) this.#poller.soon(this);
    return this.#reading.promise;
  }

  readable(isOver: boolean): void {
    this.#mayHaveMore = true;
    if (isOver) this.#isOver = true;
    this.turn();
  }

  turn(): void {
    const into = this.#into;
    const reading = this.#reading;
    if (into === undefined || reading === undefined) return;
    const size = this.#calls.recv(this.#descriptor, into, BigInt(into.length), 0);
    if (size >= 0) {
      // As epoll(7) has it: less than there is room for was all that there was.
      if (size < into.length && !this.#isOver) this.#mayHaveMore = false;
      this.#into = this.#reading = undefined;
      return reading.resolve(size === 0 ? null : size);
    }
    const error = lastError();
    if (error === EAGAIN) {
      this.#mayHaveMore = this.#isOver = false;
    } else if (error === EINTR) {
      this.#poller.soon(this);
    } else {
      this.#into = this.#reading = undefined;
      reading.reject(systemError(error));
    }
  }

  write(bytes: Uint8Array<ArrayBuffer>): Promise<number> {
    if (this.#isClosed) return Promise.reject(closed());
    const again = () => this.write(bytes);
    if (this.#writing !== undefined) return this.#writing.promise.then(again);
    const most = Math.min(bytes.length, MOST_SENT_BYTES);
    const size = this.#calls.send(this.#descriptor, bytes, BigInt(most), MSG_NOSIGNAL);
    if (size >= 0) return Promise.resolve(size);
    const error = lastError();
    if (error === EINTR) return again();
    if (error !== EAGAIN) return Promise.reject(systemError(error));
    this.#writing = Promise.withResolvers();
    return this.#writing.promise.then(again);
  }

  writable(): void {
    this.#writing?.resolve();
    this.#writing = undefined;
  }

  closeWrite(): Promise<void> {
    this.#calls.shutdown(this.#descriptor, SHUT_WR);
    return Promise.resolve();
  }

  setNoDelay(): void {
    this.#calls.setsockopt(this.#descriptor, IPPROTO_TCP, TCP_NODELAY, ON, ON.length);
  }

  /** @throws {Deno.errors.BadResource} If it is closed already. */
  close(): void {
    if (this.#isClosed) throw closed();
    this.#isClosed = true;
    this.#poller.remove(this.#descriptor);
    this.#calls.close(this.#descriptor);
    this.#reading?.reject(closed());
    this.#writing?.reject(closed());
    this.#into = this.#reading = this.#writing = undefined;
  }
}

function closed(): Error {
  return new Deno.errors.BadResource("Socket is closed");
}

/** The runtime's error for an error number of the system. */
function systemError(number: number): Error {
  const message = `Socket failed: error ${number} of the system`;
  switch (number) {
    case EPIPE:
      return new Deno.errors.BrokenPipe(message);
    case ECONNABORTED:
      return new Deno.errors.ConnectionAborted(message);
    case ECONNRESET:
      return new Deno.errors.ConnectionReset(message);
    case ETIMEDOUT:
      return new Deno.errors.TimedOut(message);
    default:
      return new Error(message);
  }
}
