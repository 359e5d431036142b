/**
 * The built-in load generator, a process of its own: `raw_load.ts TRAFFIC_FILE`. One thread, one
 * request under way on each connection, a `Sample` as JSON on stdout. It speaks the protocols that
 * `wrk` does not, and stands in for `wrk` where that is not installed. It is about as fast, because
 * it calls Linux without Deno's event loop in between.
 */
import { type Frame, FRAMINGS } from "./framings.ts";
import { connectTo, disconnect, EPOLLIN, EPOLLOUT, Poll, receive, send } from "./libc.ts";
import { KEY_DIGITS, type Sample, type Template, type Traffic } from "./types.ts";

const SILENCE_MS = 10_000;
const RECEIVE_BYTES = 128 * 1024;
const GRPC_FRAME_HEADER = 9;

function bytesOf(text: string): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(text, (character) => character.charCodeAt(0));
}

/** A template as bytes that are sent again and again with another key. */
class Request {
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly #keyEnd: number;
  /** Where HTTP/2 frames carry the number of their stream. */
  readonly #streamAt: readonly number[];
  readonly #view: DataView;

  constructor(template: Template, traffic: Traffic) {
    this.bytes = bytesOf(template.before + "0".repeat(KEY_DIGITS) + template.after);
    this.#keyEnd = template.before.length + KEY_DIGITS;
    this.#view = new DataView(this.bytes.buffer);
    const headersBytes = GRPC_FRAME_HEADER + (this.#view.getUint32(0) >>> 8);
    this.#streamAt = traffic.framing === "grpc" ? [5, headersBytes + 5] : [];
  }

  /** Puts a key's number in, and a stream's where there is one. */
  prepare(key: number, stream: number): void {
    let rest = key;
    for (let at = this.#keyEnd - 1; at >= this.#keyEnd - KEY_DIGITS; at--) {
      this.bytes[at] = 48 + rest % 10;
      rest = Math.floor(rest / 10);
    }
    for (const at of this.#streamAt) this.#view.setUint32(at, stream);
  }
}

class Connection {
  socket: number;
  readonly #port: number;
  readonly buffer = new Uint8Array(RECEIVE_BYTES);
  filled = 0;
  sentAt = 0;
  stream = -1;
  /** What did not fit into the socket. */
  unsent: Uint8Array<ArrayBuffer> | undefined;

  constructor(port: number) {
    this.#port = port;
    this.socket = connectTo(port);
  }

  /** Begins anew with another socket. */
  reconnect(): void {
    disconnect(this.socket);
    this.socket = connectTo(this.#port);
    this.filled = 0;
  }

  /** Takes in what has come; whether that completes the answer. */
  take(frame: Frame): boolean {
    const room = this.filled === 0 ? this.buffer : this.buffer.subarray(this.filled);
    const received = receive(this.socket, room);
    if (received === 0) throw new Error("The server closed a connection");
    this.filled += received;
    const length = frame(this.buffer, this.filled);
    if (length === 0) return false;
    this.buffer.copyWithin(0, length, this.filled);
    this.filled -= length;
    return true;
  }
}

function* inOrder(keys: number): Generator<number, undefined> {
  for (let key = 0; key < keys; key++) yield key;
}

function generate(traffic: Traffic): Sample {
  const { port, keys, loadShare } = traffic;
  const loads = traffic.load && new Request(traffic.load, traffic);
  const saves = traffic.save && new Request(traffic.save, traffic);
  const frame = FRAMINGS[traffic.framing];
  const poll = new Poll(traffic.inFlight);
  const once = traffic.seconds === undefined ? inOrder(keys) : undefined;
  const start = performance.now();
  const end = start + (traffic.seconds ?? Infinity) * 1000;
  const latencies: number[] = [];
  let underWay = 0;

  /** Sends all of `bytes`, now or when there is room. */
  function transmit(connection: Connection, index: number, bytes: Uint8Array<ArrayBuffer>): void {
    const sent = send(connection.socket, bytes);
    const waited = connection.unsent !== undefined;
    // The bytes of a request are shared by all connections: what is left must be copied.
    connection.unsent = sent === bytes.length ? undefined : bytes.slice(sent);
    const waits = connection.unsent !== undefined;
    if (waits !== waited) poll.watch(connection.socket, index, waits ? EPOLLOUT : EPOLLIN);
  }

  function next(connection: Connection, index: number): void {
    const now = performance.now();
    const key = once === undefined ? Math.floor(Math.random() * keys) : once.next().value;
    if (key === undefined || now >= end) return;
    const request = Math.random() < loadShare ? loads : saves;
    if (request === undefined) throw new Error("There is no such request in this protocol");
    request.prepare(key, connection.stream += 2);
    connection.sentAt = now;
    underWay++;
    transmit(connection, index, request.bytes);
  }

  const greeting = bytesOf(traffic.greeting);
  const connections = Array.from({ length: traffic.inFlight }, () => new Connection(port));
  connections.forEach((connection, index) => {
    poll.add(connection.socket, index);
    if (greeting.length > 0) transmit(connection, index, greeting);
  });
  connections.forEach(next);

  while (underWay > 0) {
    const ready = poll.wait(SILENCE_MS);
    if (ready === 0) throw new Error(`No answer within ${SILENCE_MS} ms`);
    for (let event = 0; event < ready; event++) {
      const index = poll.index(event);
      const connection = connections[index];
      if (connection === undefined) continue;
      if (connection.unsent !== undefined) {
        transmit(connection, index, connection.unsent);
      } else if (connection.take(frame)) {
        latencies.push(performance.now() - connection.sentAt);
        underWay--;
        if (traffic.closes) {
          connection.reconnect();
          poll.add(connection.socket, index);
        }
        next(connection, index);
      }
    }
  }

  const seconds = (performance.now() - start) / 1000;
  const sorted = Float64Array.from(latencies).sort();
  return {
    perSecond: sorted.length / seconds,
    p50Ms: sorted[Math.floor(sorted.length * 0.5)] ?? NaN,
    p99Ms: sorted[Math.floor(sorted.length * 0.99)] ?? NaN,
    errors: 0,
  };
}

if (import.meta.main) {
  const traffic: Traffic = JSON.parse(Deno.readTextFileSync(Deno.args[0] ?? ""));
  console.log(JSON.stringify(generate(traffic)));
}
