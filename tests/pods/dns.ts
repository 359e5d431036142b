/** The DNS of a cluster in small: answers questions for addresses over UDP, with TTL 0. */
import { createSocket, type Socket } from "node:dgram";

/** The addresses of a name in lower case, or `undefined` if there is no such name. */
export type Resolve = (name: string) => readonly string[] | undefined;

const HEADER_BYTES = 12;
const TYPE_A = 1;
const CLASS_IN = 1;

/** Answer, authoritative, recursion as desired; RFC 1035, 4.1.1. */
const FLAGS_ANSWER = 0x8580;
const NO_SUCH_NAME = 3;

/** A pointer to the name in the question, which is where the header ends. */
const POINTER_TO_QUESTION = 0xc000 | HEADER_BYTES;

/** A name server on port 53 of `address`. */
export class NameServer implements AsyncDisposable {
  readonly #socket: Socket;

  private constructor(socket: Socket) {
    this.#socket = socket;
  }

  static async listen(address: string, resolve: Resolve): Promise<NameServer> {
    const socket = createSocket("udp4");
    socket.on("message", (query, peer) => {
      const answer = answerTo(query, resolve);
      if (answer !== undefined) socket.send(answer, peer.port, peer.address);
    });
    const bound = Promise.withResolvers<void>();
    socket.once("error", bound.reject);
    socket.bind(53, address, () => bound.resolve());
    await bound.promise;
    return new NameServer(socket);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await new Promise<void>((closed) => this.#socket.close(() => closed()));
  }
}

/** The answer to a query, or `undefined` if it is not one. Other types than A have no records. */
export function answerTo(query: Uint8Array, resolve: Resolve): Uint8Array | undefined {
  const asked = new DataView(query.buffer, query.byteOffset, query.byteLength);
  if (query.length < HEADER_BYTES || asked.getUint16(4) !== 1) return undefined;
  const labels: string[] = [];
  let at = HEADER_BYTES;
  for (let length = query[at] ?? 0; length !== 0; length = query[at] ?? 0) {
    labels.push(new TextDecoder().decode(query.subarray(at + 1, at + 1 + length)));
    at += 1 + length;
  }
  const end = at + 1 + 4;
  if (query.length < end) return undefined;
  const found = resolve(labels.join(".").toLowerCase());
  const addresses = asked.getUint16(at + 1) === TYPE_A ? found ?? [] : [];

  const answer = new Uint8Array(end + addresses.length * 16);
  answer.set(query.subarray(0, end));
  const view = new DataView(answer.buffer);
  view.setUint16(2, FLAGS_ANSWER | (found === undefined ? NO_SUCH_NAME : 0));
  view.setUint16(6, addresses.length);
  view.setUint32(8, 0);
  addresses.forEach((address, index) => {
    const record = end + index * 16;
    view.setUint16(record, POINTER_TO_QUESTION);
    view.setUint16(record + 2, TYPE_A);
    view.setUint16(record + 4, CLASS_IN);
    view.setUint32(record + 6, 0);
    view.setUint16(record + 10, 4);
    answer.set(address.split(".").map(Number), record + 12);
  });
  return answer;
}
