/** The head of an answer, and answers that are sent as a whole: RFC 9112 section 6. */
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

/** How an answer has to be sent. */
export interface AnswerMode {
  /** Whether the connection goes on. */
  readonly keepAlive: boolean;
  /** Whether the client speaks HTTP/1.0, which has no chunks and closes by default. */
  readonly http10: boolean;
  /** Whether the request is a HEAD, so that no body is sent. */
  readonly headOnly: boolean;
  /** The `date` header as a line with its CRLF. */
  readonly dateLine: string;
}

/** An answer that was checked, with its headers as lines. */
export interface PreparedResponse {
  readonly response: HttpResponse;
  readonly block: HeaderBlock;
}

/** How the client knows the end of a body that is a stream; `none` if there is no body. */
export type StreamFraming = "none" | "length" | "chunked" | "close";

/** The head of an answer whose body is a stream. */
export interface StreamHead {
  /** All lines, with the empty one, in Latin-1. */
  readonly text: string;
  readonly framing: StreamFraming;
  /** The `content-length` in bytes; 0 if there is none. */
  readonly length: number;
}

const NOTHING = new Uint8Array();
const encoder = new TextEncoder();

/**
 * Checks an answer of the handler, and returns its headers as lines.
 *
 * @throws {RangeError} If the status is not an integer from 200 to 599.
 * @throws {TypeError} If a header cannot be sent.
 */
export function checkResponse(response: HttpResponse): HeaderBlock {
  statusLine(response.status);
  return headersOf(response);
}

/**
 * Adds an answer of the most frequent kind in the fastest way: shared headers, on a connection that
 * goes on. `false`, and nothing changed, if it is of another kind or does not fit.
 */
export function addCommonResponse(
  out: HttpOutput,
  { status, headers = NO_HEADERS, etag = "", body = "", close }: HttpResponse,
  dateLine: string,
): boolean {
  if (!(headers instanceof SharedHeaders) || headers.block.close || close === true) return false;
  const bodyless = status === 204;
  if (!bodyless && status !== 200 && status !== 201 && status !== 404) return false;
  if (body instanceof ReadableStream) return false;
  const before = out.size;
  if (
    out.addBytes(headers.prefix(status, dateLine)) &&
    (bodyless || out.addLine(String(body.length))) &&
    (etag === "" || (out.addAscii("etag: ") && out.addLine(etag))) &&
    out.addLine("") &&
    (bodyless || (typeof body === "string" ? out.addAscii(body) : out.addBytes(body)))
  ) return true;
  out.size = before;
  return false;
}

/**
 * Adds a whole answer to `out`; `false`, and nothing changed, if it is a stream or does not fit.
 */
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

/** The head of an answer with a body of `size` bytes, as Latin-1 text with the empty line. */
export function formatHead(
  { response, block }: PreparedResponse,
  size: number,
  mode: AnswerMode,
): string {
  const { status } = response;
  let length: number | undefined = size;
  // RFC 9110 section 8.6: for HEAD and 304 the length is that of the body that is not sent, if it
  // is known. A 204 must not have one.
  if (status === 204) length = undefined;
  else if (status === 304) length = block.contentLength;
  else if (mode.headOnly) length = block.contentLength ?? size;
  const framing = length === undefined ? "" : `content-length: ${length}\r\n`;
  return `${statusLine(status)}${block.text}${connectionLine(mode)}${mode.dateLine}${framing}\r\n`;
}

/** The head of an answer whose body is a stream, and how the client knows its end. */
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
  // RFC 9112 section 6.3: in HTTP/1.0 a body without a length ends with the connection.
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
