/**
 * One HTTP/1.0 request over a plain connection, for the paths that fetch cannot send: the URL
 * standard resolves the segments `.` and `..` away, also when they are percent-encoded, so the key
 * `..` would be asked for as something else.
 */

import { type Access, OPEN_ACCESS } from "../access.ts";

/** What {@link rawRequest} sends. */
export interface RawRequest {
  readonly method: string;
  readonly headers: Headers;
  readonly body: Uint8Array | undefined;
  /** Ends the request wherever it is. */
  readonly signal: AbortSignal;
}

const DOT_SEGMENT = /\/\.{1,2}(?=\/|$)/;
const encoder = new TextEncoder();

/** Whether the path of `target` (path and query) has a segment that fetch would resolve away. */
export function hasDotSegment(target: string): boolean {
  const query = target.indexOf("?");
  return DOT_SEGMENT.test(query < 0 ? target : target.slice(0, query));
}

/**
 * Sends one request, with `target` byte for byte as it is, and resolves to the whole response.
 *
 * @param origin As `http://host` or `https://host:port`.
 * @param access Who vouches for a server with TLS; a token has to be among the headers.
 * @throws {Deno.errors.InvalidData} If the answer is not HTTP/1.0, or ends too early.
 * @throws The reason of `signal` when that fires; what the runtime throws when there is no connection.
 */
export async function rawRequest(
  origin: string,
  target: string,
  { method, headers, body, signal }: RawRequest,
  access: Access = OPEN_ACCESS,
): Promise<Response> {
  const conn = await connectTo(origin, signal, access);
  const close = () => conn.close();
  signal.addEventListener("abort", close);
  try {
    signal.throwIfAborted();
    let head = `${method} ${target} HTTP/1.0\r\nHost: ${
      new URL(origin).host
    }\r\nConnection: close\r\n`;
    for (const [name, value] of headers) head += `${name}: ${value}\r\n`;
    if (body !== undefined) head += `Content-Length: ${body.length}\r\n`;
    await writeAll(conn, encoder.encode(head + "\r\n"));
    if (body !== undefined) await writeAll(conn, body);
    return parseResponse(await readToEnd(conn));
  } catch (error) {
    signal.throwIfAborted();
    throw error;
  } finally {
    signal.removeEventListener("abort", close);
    if (!signal.aborted) close();
  }
}

/** Connects to the server of `origin`. @throws The reason of `signal` when that fires first. */
async function connectTo(origin: string, signal: AbortSignal, access: Access): Promise<Deno.Conn> {
  signal.throwIfAborted();
  const connecting = connect(new URL(origin), access);
  const { promise, resolve, reject } = Promise.withResolvers<Deno.Conn>();
  const giveUp = () => {
    reject(signal.reason);
    connecting.then((conn) => conn.close(), () => {});
  };
  signal.addEventListener("abort", giveUp);
  connecting.then(resolve, reject);
  try {
    return await promise;
  } finally {
    signal.removeEventListener("abort", giveUp);
  }
}

async function connect(
  { protocol, hostname: host, port }: URL,
  { caCerts }: Access,
): Promise<Deno.Conn> {
  const hostname = host.replace(/^\[(.*)\]$/, "$1");
  if (protocol !== "https:") return await Deno.connect({ hostname, port: Number(port || 80) });
  const conn = await Deno.connectTls({
    hostname,
    port: Number(port || 443),
    caCerts: [...caCerts],
  });
  try {
    // Connecting does not wait for it, and what is sent must go to nobody else.
    await conn.handshake();
    return conn;
  } catch (error) {
    conn.close();
    throw error;
  }
}

async function writeAll(conn: Deno.Conn, bytes: Uint8Array): Promise<void> {
  for (let at = 0; at < bytes.length;) at += await conn.write(bytes.subarray(at));
}

async function readToEnd(conn: Deno.Conn): Promise<Uint8Array<ArrayBuffer>> {
  const chunks: Uint8Array<ArrayBuffer>[] = [];
  while (true) {
    const chunk = new Uint8Array(64 * 1024);
    const size = await conn.read(chunk);
    if (size === null) break;
    chunks.push(chunk.subarray(0, size));
  }
  return await new Blob(chunks).bytes();
}

/** Reads a response whose body ends where the connection did. */
function parseResponse(bytes: Uint8Array<ArrayBuffer>): Response {
  const text = new TextDecoder("latin1").decode(bytes.subarray(0, 64 * 1024));
  const end = text.indexOf("\r\n\r\n");
  const [statusLine = "", ...lines] = text.slice(0, Math.max(end, 0)).split("\r\n");
  const status = Number(/^HTTP\/1\.[01] ([2-5]\d\d)\b/.exec(statusLine)?.[1]);
  if (end < 0 || Number.isNaN(status)) {
    throw new Deno.errors.InvalidData("The answer is not HTTP/1.0");
  }
  const headers = new Headers();
  for (const line of lines) {
    const colon = line.indexOf(":");
    if (colon > 0) headers.append(line.slice(0, colon), line.slice(colon + 1).trim());
  }
  const body = bytes.subarray(end + 4);
  const length = headers.get("content-length");
  if (headers.has("transfer-encoding") || (length !== null && Number(length) !== body.length)) {
    throw new Deno.errors.InvalidData("The answer is cut off, or encoded as HTTP/1.0 has it not");
  }
  // A Response with one of these refuses any body, even an empty one.
  const bodyless = status === 204 || status === 205 || status === 304;
  return new Response(bodyless ? null : body, { status, headers });
}
