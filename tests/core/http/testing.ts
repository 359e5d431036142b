/** A server on a free port, and a client that sends bytes as they are, for the tests of core/http. */
import { assertEquals } from "@std/assert";
import { delay } from "@std/async/delay";
import { type HttpServer, type HttpServerOptions, serveHttp } from "../../../core/http/server.ts";
import { type HttpHandler, type HttpRequest, type HttpResponse } from "../../../core/http/types.ts";

/** How long anything in a test may take before it counts as never (milliseconds). */
export const DEADLINE_MS = 20_000;

const encoder = new TextEncoder();
const bufferBytes = 65_536;

/** Options that no test runs into by accident. */
export const RELAXED = {
  headerTimeoutMs: 60_000,
  bodyTimeoutMs: 60_000,
  idleTimeoutMs: 60_000,
  maxConnections: 1000,
  maxHeaderBytes: 8192,
  maxTargetBytes: 4096,
};

/** The request that most tests send. */
export const GET = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";

/** What most tests serve. */
export const hello: HttpHandler = () => text("hello");

/** A server under test. */
export interface Subject {
  readonly server: HttpServer;
  readonly port: number;
  /** What the server logged; a test that expects any takes it out. */
  readonly errors: unknown[];
}

/**
 * Runs `test` against a server, then checks that all its connections come to an end and that it
 * logged nothing but what the test took out of `errors`.
 */
export async function withServer(
  handler: HttpHandler,
  options: Partial<HttpServerOptions>,
  test: (subject: Subject) => Promise<void>,
): Promise<void> {
  const errors: unknown[] = [];
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const server = serveHttp(listener, handler, {
    ...RELAXED,
    onError: (error) => errors.push(error),
    ...options,
  });
  try {
    await test({ server, port: server.addr.port, errors });
    await until(() => server.connections === 0, "all connections to end");
    await server.shutdown();
    assertEquals(errors, []);
  } finally {
    server.close();
  }
}

/** Polls until `condition` holds. @throws If it does not within the deadline. */
export async function until(condition: () => boolean, what: string): Promise<void> {
  for (let waited = 0; !condition(); waited += 5) {
    if (waited > DEADLINE_MS) throw new Error(`Waited in vain for ${what}`);
    await delay(5);
  }
}

/** Latin-1 bytes of `text`. */
export function latin1(text: string): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(text.length);
  for (let at = 0; at < bytes.length; at++) bytes[at] = text.charCodeAt(at);
  return bytes;
}

/** One character a byte. */
export function fromLatin1(bytes: Uint8Array): string {
  let text = "";
  for (let at = 0; at < bytes.length; at += 8192) {
    text += String.fromCharCode(...bytes.subarray(at, at + 8192));
  }
  return text;
}

/** A response as it came. */
export interface Received {
  readonly status: number;
  readonly headers: ReadonlyMap<string, string>;
  /** One character a byte. */
  readonly body: string;
}

/** A connection of a client that knows no HTTP unless asked. */
export class Client {
  readonly conn: Deno.TcpConn;
  #buffer = "";
  #ended = false;
  #closed = false;

  private constructor(conn: Deno.TcpConn) {
    this.conn = conn;
  }

  static async connect(port: number): Promise<Client> {
    return new Client(await Deno.connect({ hostname: "127.0.0.1", port }));
  }

  /** Sends text as UTF-8, or bytes. */
  async send(data: string | Uint8Array): Promise<void> {
    const bytes = typeof data === "string" ? encoder.encode(data) : data;
    for (let at = 0; at < bytes.length;) at += await this.conn.write(bytes.subarray(at));
  }

  /** Sends what the server may refuse to take any longer. */
  async trySend(data: string | Uint8Array): Promise<void> {
    await this.send(data).catch(() => {});
  }

  /** Reads more; `false` at the end. */
  async more(): Promise<boolean> {
    if (this.#ended) return false;
    const chunk = new Uint8Array(bufferBytes);
    const timer = setTimeout(() => this.close(), DEADLINE_MS);
    const size = await this.conn.read(chunk).catch(() => null);
    clearTimeout(timer);
    if (size === null) this.#ended = true;
    else this.#buffer += fromLatin1(chunk.subarray(0, size));
    return size !== null;
  }

  /** Everything up to the end of the connection. */
  async rest(): Promise<string> {
    while (await this.more());
    const text = this.#buffer;
    this.#buffer = "";
    return text;
  }

  /** Reads up to and with `mark`. */
  async readTo(mark: string): Promise<string> {
    while (!this.#buffer.includes(mark)) {
      if (!(await this.more())) throw new Error(`Ended before ${JSON.stringify(mark)}`);
    }
    return this.#take(this.#buffer.indexOf(mark) + mark.length);
  }

  /** Reads one response; `undefined` if the connection ended instead. */
  async response(method = "GET"): Promise<Received | undefined> {
    while (!this.#buffer.includes("\r\n\r\n")) {
      if (!(await this.more())) {
        if (this.#buffer !== "") throw new Error(`Cut off: ${JSON.stringify(this.#buffer)}`);
        return undefined;
      }
    }
    const [statusLine = "", ...lines] = (await this.readTo("\r\n\r\n")).split("\r\n");
    const status = Number(/^HTTP\/1\.1 (\d{3}) /.exec(statusLine)?.[1]);
    const headers = new Map<string, string>();
    for (const line of lines.slice(0, -2)) {
      const [, name = "", value = ""] = /^([a-z-]+): (.*)$/.exec(line) ?? [];
      if (name === "" || headers.has(name)) throw new Error(`Bad header: ${JSON.stringify(line)}`);
      headers.set(name, value);
    }
    return { status, headers, body: await this.#body(method, status, headers) };
  }

  async #body(
    method: string,
    status: number,
    headers: ReadonlyMap<string, string>,
  ): Promise<string> {
    if (method === "HEAD" || status < 200 || status === 204 || status === 304) return "";
    const length = headers.get("content-length");
    if (length !== undefined) return await this.#read(Number(length));
    if (headers.get("transfer-encoding") !== "chunked") return await this.rest();
    let body = "";
    while (true) {
      const line = await this.readTo("\r\n");
      if (!/^[0-9a-f]+\r\n$/.test(line)) throw new Error(`Bad chunk: ${JSON.stringify(line)}`);
      const size = parseInt(line, 16);
      body += await this.#read(size);
      if ((await this.#read(2)) !== "\r\n") throw new Error("Chunk has no end");
      if (size === 0) return body;
    }
  }

  async #read(size: number): Promise<string> {
    while (this.#buffer.length < size) {
      if (!(await this.more())) throw new Error(`Cut off within a body of ${size} bytes`);
    }
    return this.#take(size);
  }

  #take(size: number): string {
    const text = this.#buffer.slice(0, size);
    this.#buffer = this.#buffer.slice(size);
    return text;
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.conn.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

/** Sends `data`, then the end, and returns all that came. */
export async function talk(port: number, data: string | Uint8Array): Promise<string> {
  using client = await Client.connect(port);
  await client.trySend(data);
  await client.conn.closeWrite().catch(() => {});
  return await client.rest();
}

/** A plain text answer. */
export function text(body: string, status = 200): HttpResponse {
  return { status, headers: { "content-type": "text/plain; charset=utf-8" }, body };
}

/** Answers with method, target, and body of the request. */
export async function echo(request: HttpRequest): Promise<HttpResponse> {
  const body = await request.body?.bytes(1 << 24) ?? new Uint8Array();
  const target = request.path + (request.query === "" ? "" : `?${request.query}`);
  return text(`${request.method} ${target} ${new TextDecoder().decode(body)}`);
}

/** Sends one request on a connection of its own and returns the raw answer without its date. */
export async function raw(handler: HttpHandler, request: string): Promise<string> {
  let answer = "";
  await withServer(handler, {}, async ({ port }) => {
    answer = (await talk(port, request)).replace(/date: [^\r]*\r\n/, "");
  });
  return answer;
}
