/** What goes in front of a body, and answers that go out whole: RFC 9112 section 6. */
import {
  type HeaderBlock,
  headersOf,
  isBodyless,
  NO_HEADERS,
  SharedHeaders,
  statusLine,
} from "./headers.ts";
import { type HttpOutput } from "./output.ts";
import { type HttpResponse } from "./types.ts";

/** How a request wants to be answered. */
export interface AnswerMode {
  /** Whether the connection goes on. */
  readonly keepAlive: boolean;
  /** Whether the client speaks HTTP/1.0: no chunks, and keep-alive must be said. */
  readonly http10: boolean;
  /** Whether this answers HEAD: a header without its body. */
  readonly headOnly: boolean;
  /** The `date` header as a line with its CRLF. */
  readonly dateLine: string;
}

/** An answer that is known to be one that can be sent. */
export interface PreparedResponse {
  readonly response: HttpResponse;
  readonly block: HeaderBlock;
}

/** How the end of a body that is a stream is told. */
export type StreamFraming = "none" | "length" | "chunked" | "close";

/** The header of an answer whose body is a stream. */
export interface StreamHead {
  /** Latin-1, with the empty line. */
  readonly text: string;
  readonly framing: StreamFraming;
  /** What `content-length` says, in bytes. */
  readonly length: number;
}

const NOTHING = new Uint8Array();
const encoder = new TextEncoder();

/**
 * Checks what the handler gave.
 *
 * @throws {RangeError} If the status is none.
 * @throws {TypeError} If a header cannot be sent.
 */
export function checkResponse(response: HttpResponse): HeaderBlock {
  statusLine(response.status);
  return headersOf(response);
}

/**
 * Adds an answer of the kind that most are: shared headers, kept alive. `false`, and nothing changed,
 * where it is another one, or does not fit.
 */
export function addCommonResponse(
  out: HttpOutput,
  { status, headers = NO_HEADERS, etag = "", body = "", close }: HttpResponse,
  dateLine: string,
): boolean {
  if (!(headers instanceof SharedHeaders) || headers.close || close === true) return false;
  if (status === 204) return out.addBodyless(headers.prefix(status, dateLine), etag);
  if (status !== 200 && status !== 201 && status !== 404) return false;
  if (typeof body !== "string" && !(body instanceof Uint8Array)) return false;
  return out.addPlain(headers.prefix(status, dateLine), etag, body);
}

/** Adds a whole answer to `out`; `false`, and nothing changed, where it is a stream or does not fit. */
export function addResponse(
  out: HttpOutput,
  { response, block }: PreparedResponse,
  mode: AnswerMode,
): boolean {
  const { status, body = "" } = response;
  if (body instanceof ReadableStream) return false;
  const bytes = encodeBody(body);
  const before = out.size;
  if (!out.addText(formatHead({ response, block }, bytes.length, mode))) return false;
  if (mode.headOnly || isBodyless(status) || out.addBytes(bytes)) return true;
  out.size = before;
  return false;
}

/** The header of an answer with a body of `size` bytes, as Latin-1 text with the empty line. */
export function formatHead(
  { response, block }: PreparedResponse,
  size: number,
  mode: AnswerMode,
): string {
  const { status } = response;
  let length: number | undefined = size;
  // RFC 9110 section 8.6: with HEAD and 304 the length is that of the body which is not sent, and
  // it can be left out; with 204 it must be.
  if (status === 204) length = undefined;
  else if (status === 304) length = block.contentLength;
  else if (mode.headOnly) length = block.contentLength ?? size;
  const framing = length === undefined ? "" : `content-length: ${length}\r\n`;
  return `${statusLine(status)}${block.text}${connectionLine(mode)}${mode.dateLine}${framing}\r\n`;
}

/** The header of an answer whose body is a stream, and how the end of that is told. */
export function formatStreamHead(
  { response, block }: PreparedResponse,
  mode: AnswerMode,
): StreamHead {
  const { status } = response;
  const { contentLength } = block;
  let framing: StreamFraming = "chunked";
  if (mode.headOnly || isBodyless(status)) framing = "none";
  else if (contentLength !== undefined) framing = "length";
  else if (mode.http10) framing = "close";
  let line = "";
  if (contentLength !== undefined && status !== 204) line = `content-length: ${contentLength}\r\n`;
  else if (framing === "chunked") line = "transfer-encoding: chunked\r\n";
  // RFC 9112 section 6.3: without a length, 1.0 knows the end of a body by that of the connection.
  const connection = connectionLine(framing === "close" ? { ...mode, keepAlive: false } : mode);
  const text = `${statusLine(status)}${block.text}${connection}${mode.dateLine}${line}\r\n`;
  return { text, framing, length: contentLength ?? 0 };
}

function connectionLine({ keepAlive, http10 }: AnswerMode): string {
  if (!keepAlive) return "connection: close\r\n";
  return http10 ? "connection: keep-alive\r\n" : "";
}

/** The bytes of a body as they are sent. */
export function encodeBody(body: string | Uint8Array): Uint8Array {
  if (typeof body !== "string") return body;
  return body === "" ? NOTHING : encoder.encode(body);
}

/** The bytes of Latin-1 text: one a character. */
export function encodeLatin1(text: string): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(text, (character) => character.charCodeAt(0));
}
