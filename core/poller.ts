/**
 * Waits for sockets with epoll(7) of Linux. The runtime's own way costs each read and each write a
 * promise that goes through its event loop; here one system call tells of all sockets that have
 * something, and a read or a write is a system call and nothing else.
 */
import { type LibC, loadLibC } from "./libc.ts";

// sys/epoll.h and sys/eventfd.h of Linux.
const EPOLL_CLOEXEC = 0o2000000;
const EPOLL_CTL_ADD = 1;
const EPOLLIN = 0x1;
const EPOLLOUT = 0x4;
const EPOLLERR = 0x8;
const EPOLLHUP = 0x10;
const EPOLLRDHUP = 0x2000;
const EPOLLET = 0x8000_0000;
const EFD_CLOEXEC = 0o2000000;

/** `struct epoll_event` is packed on this one only. */
const EVENT_BYTES = Deno.build.arch === "x86_64" ? 12 : 16;
const DATA_OFFSET = EVENT_BYTES - 8;

/** The most sockets that are told of at once. */
const MOST_EVENTS = 256;

/**
 * How often to ask for news in one turn of the event loop, as long as there are some, and how many steps
 * of promises it takes from news to an answer: a turn costs as much as a request.
 */
const MOST_ROUNDS = 8;
const STEPS = 4;

/**
 * Turns of the event loop without news after which a thread is left to wait: that costs two switches
 * of threads, and a client that has just been answered mostly asks again at once.
 */
const IDLE_TURNS = 2;

/** What is waited for. None of these may throw. */
export interface Polled {
  /** There may be something to read, or the other side is gone for good where `isOver`. */
  readable(isOver: boolean): void;
  /** There may be room to write. */
  writable(): void;
  /** It is this one's turn, which {@link Poller.soon} asked for. */
  turn(): void;
}

/**
 * Tells descriptors what happens to them, in turns of the event loop, so that files and timers have
 * theirs in between. It lives as long as it has one to wait for.
 */
export class Poller {
  static #shared: Poller | undefined;

  readonly #calls: NonNullable<LibC>;
  readonly #epoll: number;
  /** Ends a wait. */
  readonly #bell: number;
  /** By descriptor; with each, how many there were before it, since numbers are used again. */
  readonly #polled: (Polled | undefined)[] = [];
  readonly #serials: number[] = [];
  #serial = 0;
  #count = 0;
  readonly #events = new Uint8Array(EVENT_BYTES * MOST_EVENTS);
  readonly #view = new DataView(this.#events.buffer);
  readonly #channel = new MessageChannel();
  #isTurnDue = false;
  #isWaiting = false;
  #idleTurns = 0;
  #soon: Polled[] = [];
  #now: Polled[] = [];

  private constructor(calls: NonNullable<LibC>) {
    this.#calls = calls;
    this.#epoll = calls.epoll_create1(EPOLL_CLOEXEC);
    this.#bell = calls.eventfd(0, EFD_CLOEXEC);
    this.#register(this.#bell, EPOLLIN);
    this.#channel.port1.onmessage = () => this.#turn();
  }

  /** The one of this process; `undefined` where the system has no such thing. */
  static get(): Poller | undefined {
    if (Poller.#shared !== undefined) return Poller.#shared;
    const calls = loadLibC();
    if (calls === undefined) return undefined;
    const poller = new Poller(calls);
    if (poller.#epoll < 0 || poller.#bell < 0) {
      poller.#end();
      return undefined;
    }
    return Poller.#shared = poller;
  }

  /** Waits for `descriptor` from now on, until {@link remove}. Returns whether the system can. */
  add(descriptor: number, polled: Polled): boolean {
    // Once and for all: told of each change, not as long as a state lasts.
    const events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET;
    if (!this.#register(descriptor, events)) {
      this.#endIfUnused();
      return false;
    }
    this.#polled[descriptor] = polled;
    this.#serials[descriptor] = this.#serial;
    this.#count++;
    if (!this.#isWaiting) this.#turnSoon();
    return true;
  }

  /** To be called before `descriptor` is closed, which ends the system's part. */
  remove(descriptor: number): void {
    this.#polled[descriptor] = undefined;
    this.#count--;
    this.#endIfUnused();
  }

  #endIfUnused(): void {
    if (this.#count > 0) return;
    if (Poller.#shared === this) Poller.#shared = undefined;
    if (this.#isWaiting) {
      this.#calls.write(this.#bell, new Uint8Array([1, 0, 0, 0, 0, 0, 0, 0]), 8n);
    } else this.#end();
  }

  /** Calls `polled.turn` in the next turn, and all others that are due before it again. */
  soon(polled: Polled): void {
    this.#soon.push(polled);
    this.#turnSoon();
  }

  #register(descriptor: number, events: number): boolean {
    const event = new DataView(new ArrayBuffer(EVENT_BYTES));
    event.setUint32(0, events, true);
    event.setInt32(DATA_OFFSET, descriptor, true);
    this.#serial = (this.#serial + 1) & 0x3fff_ffff;
    event.setInt32(DATA_OFFSET + 4, this.#serial, true);
    const bytes = new Uint8Array(event.buffer);
    return this.#calls.epoll_ctl(this.#epoll, EPOLL_CTL_ADD, descriptor, bytes) === 0;
  }

  #turnSoon(): void {
    if (this.#isTurnDue) return;
    this.#isTurnDue = true;
    this.#channel.port2.postMessage(0);
  }

  async #turn(): Promise<void> {
    const due = this.#soon;
    this.#soon = this.#now;
    this.#now = due;
    for (const polled of due) polled.turn();
    due.length = 0;
    if (this.#isWaiting || this.#count === 0) {
      this.#isTurnDue = false;
      return;
    }
    this.#idleTurns++;
    for (let round = 0; round < MOST_ROUNDS; round++) {
      const count = this.#calls.epoll_wait(this.#epoll, this.#events, MOST_EVENTS, 0);
      if (count <= 0) break;
      this.#idleTurns = 0;
      this.#tell(count);
      if (this.#count === 0) return;
      // Who has been told answers meanwhile.
      for (let step = 0; step < STEPS; step++) await null;
    }
    this.#isTurnDue = false;
    if (this.#count === 0) return;
    if (this.#idleTurns > IDLE_TURNS && this.#soon.length === 0) this.#wait();
    else this.#turnSoon();
  }

  async #wait(): Promise<void> {
    this.#isWaiting = true;
    this.#idleTurns = 0;
    const count = await this.#calls.epoll_wait_elsewhere(
      this.#epoll,
      this.#events,
      MOST_EVENTS,
      -1,
    );
    this.#isWaiting = false;
    if (this.#count === 0) return this.#end();
    this.#tell(count);
    if (this.#count > 0) this.#turnSoon();
  }

  #tell(count: number): void {
    for (let at = 0; at < count * EVENT_BYTES; at += EVENT_BYTES) {
      const events = this.#view.getUint32(at, true);
      const descriptor = this.#view.getInt32(at + DATA_OFFSET, true);
      const polled = this.#polled[descriptor];
      // It was closed since the system told, and maybe its number given to another.
      if (this.#serials[descriptor] !== this.#view.getInt32(at + DATA_OFFSET + 4, true)) continue;
      if (polled === undefined) continue;
      const isOver = (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) !== 0;
      if (isOver || (events & EPOLLIN) !== 0) polled.readable(isOver);
      if (isOver || (events & EPOLLOUT) !== 0) polled.writable();
    }
  }

  #end(): void {
    this.#channel.port1.close();
    this.#channel.port2.close();
    if (this.#bell >= 0) this.#calls.close(this.#bell);
    if (this.#epoll >= 0) this.#calls.close(this.#epoll);
  }
}
