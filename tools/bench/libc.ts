/** The few calls of Linux that the built-in load generator makes without Deno's own event loop. */

const AF_INET = 2;
const SOCK_STREAM = 1;
const IPPROTO_TCP = 6;
const TCP_NODELAY = 1;
const F_SETFL = 4;
const O_NONBLOCK = 0o4000;
const MSG_NOSIGNAL = 0x4000;
const EPOLL_CTL_ADD = 1;
const EPOLL_CTL_MOD = 3;

export const EPOLLIN = 1;
export const EPOLLOUT = 4;

// struct epoll_event is packed on x86-64 only.
const EVENT_BYTES = Deno.build.arch === "x86_64" ? 12 : 16;
const EVENT_DATA = EVENT_BYTES - 8;

const { symbols: libc } = Deno.dlopen("libc.so.6", {
  socket: { parameters: ["i32", "i32", "i32"], result: "i32" },
  connect: { parameters: ["i32", "buffer", "u32"], result: "i32" },
  setsockopt: { parameters: ["i32", "i32", "i32", "buffer", "u32"], result: "i32" },
  fcntl: { parameters: ["i32", "i32", "i32"], result: "i32" },
  close: { parameters: ["i32"], result: "i32" },
  send: { parameters: ["i32", "buffer", "usize", "i32"], result: "isize" },
  recv: { parameters: ["i32", "buffer", "usize", "i32"], result: "isize" },
  epoll_create1: { parameters: ["i32"], result: "i32" },
  epoll_ctl: { parameters: ["i32", "i32", "i32", "buffer"], result: "i32" },
  epoll_wait: { parameters: ["i32", "buffer", "i32", "i32"], result: "i32" },
});

function checked(result: number, call: string): number {
  if (result < 0) throw new Error(`${call} failed`);
  return result;
}

/** Connects to a port of loopback; the socket does not block from then on. */
export function connectTo(port: number): number {
  const socket = checked(libc.socket(AF_INET, SOCK_STREAM, 0), "socket");
  const address = new Uint8Array(16);
  const view = new DataView(address.buffer);
  view.setUint16(0, AF_INET, true);
  view.setUint16(2, port);
  address.set([127, 0, 0, 1], 4);
  checked(libc.connect(socket, address, address.length), "connect");
  checked(
    libc.setsockopt(socket, IPPROTO_TCP, TCP_NODELAY, new Uint8Array([1, 0, 0, 0]), 4),
    "setsockopt",
  );
  checked(libc.fcntl(socket, F_SETFL, O_NONBLOCK), "fcntl");
  return socket;
}

/** Closes a socket, which ends all watching of it. */
export function disconnect(socket: number): void {
  libc.close(socket);
}

/** Sends what fits now; returns the number of bytes, 0 where nothing does. */
export function send(socket: number, bytes: Uint8Array<ArrayBuffer>): number {
  return Math.max(0, Number(libc.send(socket, bytes, BigInt(bytes.length), MSG_NOSIGNAL)));
}

/** Receives what is there; returns the number of bytes, 0 where the other side has closed. */
export function receive(socket: number, into: Uint8Array<ArrayBuffer>): number {
  return Math.max(0, Number(libc.recv(socket, into, BigInt(into.length), 0)));
}

/** Waits on many sockets at once (epoll). */
export class Poll {
  readonly #poll = checked(libc.epoll_create1(0), "epoll_create1");
  readonly #events: Uint8Array<ArrayBuffer>;
  readonly #view: DataView;

  constructor(sockets: number) {
    this.#events = new Uint8Array(sockets * EVENT_BYTES);
    this.#view = new DataView(this.#events.buffer);
  }

  /** Watches a socket; `index` is what {@link wait} calls it. */
  add(socket: number, index: number): void {
    this.#control(EPOLL_CTL_ADD, socket, index, EPOLLIN);
  }

  /** Changes what is waited for. */
  watch(socket: number, index: number, events: number): void {
    this.#control(EPOLL_CTL_MOD, socket, index, events);
  }

  #control(operation: number, socket: number, index: number, events: number): void {
    const event = new Uint8Array(EVENT_BYTES);
    const view = new DataView(event.buffer);
    view.setUint32(0, events, true);
    view.setUint32(EVENT_DATA, index, true);
    checked(libc.epoll_ctl(this.#poll, operation, socket, event), "epoll_ctl");
  }

  /** Blocks until sockets are ready, at most `timeoutMs`; returns how many. */
  wait(timeoutMs: number): number {
    const count = this.#events.length / EVENT_BYTES;
    return libc.epoll_wait(this.#poll, this.#events, count, timeoutMs);
  }

  /** The index of the socket of event number `event`. */
  index(event: number): number {
    return this.#view.getUint32(event * EVENT_BYTES + EVENT_DATA, true);
  }
}
