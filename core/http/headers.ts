/** The headers of an answer as lines, checked so that no value can begin a line of its own. */
import { STATUS_TEXT } from "@std/http/status";
import { encodeLatin1 } from "./bytes.ts";

/** Headers by name in lower case, without those that the server itself sends, as `date`. */
export type HeaderRecord = Readonly<Record<string, string>>;

/** Headers of an answer as lines, without `connection` and `content-length`. */
export interface HeaderBlock {
  /** Lines, each with its CRLF, in Latin-1. */
  readonly text: string;
  /** Whether the headers have `connection: close`. */
  readonly close: boolean;
  /** The `content-length` of the headers, in bytes. */
  readonly contentLength: number | undefined;
}

const NAME = /^[!#$%&'*+.^_`|~0-9a-z-]+$/;
// RFC 9110 section 5.5: visible characters, obs-text, and blanks between them.
const BAD_VALUE = /[^\t\x20-\x7e\x80-\xff]|^[ \t]|[ \t]$/;
const LENGTH = /^\d{1,15}$/;

const STATUS_LINES = new Map(
  Object.entries(STATUS_TEXT).map(([status, text]) => [Number(status), statusLineOf(status, text)]),
);

function statusLineOf(status: number | string, text: string): string {
  return `HTTP/1.1 ${status} ${text}\r\n`;
}

/**
 * The first line of an answer.
 *
 * @throws {RangeError} If `status` is not an integer from 200 to 599.
 */
export function statusLine(status: number): string {
  if (!Number.isInteger(status) || status < 200 || status > 599) {
    throw new RangeError(`Response status must be an integer from 200 to 599: received ${status}`);
  }
  return STATUS_LINES.get(status) ?? statusLineOf(status, "");
}

/**
 * Headers as lines.
 *
 * @throws {TypeError} If a name or a value is not allowed, or the server itself sends that header.
 */
function formatHeaders(headers: HeaderRecord): HeaderBlock {
  let text = "";
  let close = false;
  let contentLength: number | undefined;
  for (const name in headers) {
    const value = headers[name] ?? "";
    if (name === "content-length" && LENGTH.test(value)) {
      contentLength = Number(value);
    } else if (name === "connection" && value === "close") {
      close = true;
    } else if (isServersOwn(name) || !NAME.test(name) || BAD_VALUE.test(value)) {
      throw new TypeError(`Response header cannot be sent: ${JSON.stringify([name, value])}`);
    } else {
      text += `${name}: ${value}\r\n`;
    }
  }
  return { text, close, contentLength };
}

function isServersOwn(name: string): boolean {
  return name === "content-length" || name === "connection" || name === "transfer-encoding" ||
    name === "date";
}

/** Headers that many answers share. Checking and formatting is done once, not for each answer. */
export class SharedHeaders {
  readonly block: HeaderBlock;
  #prefix = new Uint8Array();
  #status = 0;
  #dateLine = "";

  /** @throws {TypeError} If a header cannot be sent. */
  constructor(headers: HeaderRecord) {
    this.block = formatHeaders(headers);
  }

  /**
   * The head of an answer up to the digits of its length, or, if `status` allows no body, up to the
   * empty line. The bytes are kept for the last status and second, so an equal answer costs one
   * copy.
   */
  prefix(status: number, dateLine: string): Uint8Array<ArrayBuffer> {
    if (status !== this.#status || dateLine !== this.#dateLine) {
      const length = isBodyless(status) ? "" : "content-length: ";
      const text = statusLine(status) + this.block.text + dateLine + length;
      this.#prefix = encodeLatin1(text);
      this.#status = status;
      this.#dateLine = dateLine;
    }
    return this.#prefix;
  }
}

/** The headers of an answer that has none. */
export const NO_HEADERS = new SharedHeaders({});

/** The headers of an answer, and its ETag, if it has one. */
export interface ResponseHeaders {
  readonly headers?: HeaderRecord | SharedHeaders;
  readonly etag?: string;
}

/** The headers of an answer as lines. @throws {TypeError} If one cannot be sent. */
export function headersOf({ headers = NO_HEADERS, etag = "" }: ResponseHeaders): HeaderBlock {
  const block = headers instanceof SharedHeaders ? headers.block : formatHeaders(headers);
  if (etag === "") return block;
  return { ...block, text: block.text + formatHeaders({ etag }).text };
}

/** Whether answers with `status` never have a body: RFC 9112 section 6.3. */
export function isBodyless(status: number): boolean {
  return status === 204 || status === 304;
}
