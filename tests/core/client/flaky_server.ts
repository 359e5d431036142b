/** A server that fails as it is told to, in front of nothing but what the test says. */

import { V1_LAYOUT } from "../../../core/protocol.ts";

/** What becomes of one request. */
export type Fate =
  /** It is answered. */
  | Response
  /** The connection is closed when the request is here, without an answer. */
  | "cut"
  /** No answer ever comes. */
  | "silent"
  /** The answer begins, and the connection is closed within its body. */
  | "cut body";

/** A request as it came in. */
export interface Seen {
  readonly method: string;
  readonly path: string;
  readonly headers: Headers;
  readonly body: string;
}

/** HTTP/1.1 over plain TCP, since a server library would answer, or not, in its own way. */
export class FlakyServer implements AsyncDisposable {
  readonly seen: Seen[] = [];
  readonly #listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  readonly #connections = new Set<Deno.Conn>();
  readonly #serving: Promise<void>;

  constructor(fate: (request: Seen, index: number) => Fate) {
    this.#serving = this.#serve(fate);
  }

  /** As HOST:PORT, the form of a server list. */
  get address(): string {
    const { hostname, port } = this.#listener.addr;
    return `${hostname}:${port}`;
  }

  async #serve(fate: (request: Seen, index: number) => Fate): Promise<void> {
    const answering: Promise<void>[] = [];
    for await (const conn of this.#listener) {
      this.#connections.add(conn);
      // A connection that the client or the end of the test closes is no failure.
      answering.push(this.#answer(conn, fate).catch(() => {}));
    }
    await Promise.all(answering);
  }

  /** One request a connection. */
  async #answer(conn: Deno.Conn, fate: (request: Seen, index: number) => Fate): Promise<void> {
    const request = await readRequest(conn);
    // Clients ask for the layout before anything else. This server knows no layouts, and tells so in good order.
    const decided = request.path === V1_LAYOUT
      ? new Response("", { status: 404 })
      : fate(request, this.seen.push(request) - 1);
    if (decided === "silent") return;
    const encoder = new TextEncoder();
    if (decided === "cut body") {
      await conn.write(encoder.encode("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf"));
    } else if (decided instanceof Response) {
      const body = await decided.bytes();
      const lines = [...decided.headers].map(([name, value]) => `${name}: ${value}\r\n`).join("");
      const length = decided.status === 204 ? "" : `Content-Length: ${body.length}\r\n`;
      const head = `HTTP/1.1 ${decided.status} X\r\n${lines}${length}Connection: close\r\n\r\n`;
      await conn.write(encoder.encode(head));
      await conn.write(body);
    }
    this.#close(conn);
  }

  #close(conn: Deno.Conn): void {
    if (this.#connections.delete(conn)) conn.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#listener.close();
    for (const conn of this.#connections) this.#close(conn);
    await this.#serving;
  }
}

async function readRequest(conn: Deno.Conn): Promise<Seen> {
  let text = "";
  const buffer = new Uint8Array(64 * 1024);
  while (true) {
    const size = await conn.read(buffer);
    if (size === null) throw new Error("The client has gone");
    text += new TextDecoder("latin1").decode(buffer.subarray(0, size));
    const end = text.indexOf("\r\n\r\n");
    if (end < 0) continue;
    const [first = "", ...lines] = text.slice(0, end).split("\r\n");
    const headers = new Headers(lines.map((line): [string, string] => {
      const colon = line.indexOf(":");
      return [line.slice(0, colon), line.slice(colon + 1).trim()];
    }));
    const body = text.slice(end + 4);
    const chunked = headers.has("transfer-encoding");
    const whole = chunked
      ? body.endsWith("0\r\n\r\n")
      : body.length >= Number(headers.get("content-length") ?? 0);
    if (!whole) continue;
    const [method = "", path = ""] = first.split(" ");
    return { method, path, headers, body: chunked ? joinChunks(body) : body };
  }
}

/** The data of a chunked body that is all here. */
function joinChunks(body: string): string {
  let data = "";
  for (let at = 0, size = -1; size !== 0; at += size + 2) {
    const end = body.indexOf("\r\n", at);
    size = parseInt(body.slice(at, end), 16);
    at = end + 2;
    data += body.slice(at, at + size);
  }
  return data;
}
