/** Response headers as they go over the wire, checked so that no value can start a line of its own. */
import { STATUS_TEXT } from "@std/http/status";

/** Names in lower case; the server itself sets Date, Connection, and Transfer-Encoding. */
export type HeaderRecord = Readonly<Record<string, string>>;

/** Headers of a response as lines, without those that say how the connection goes on. */
export interface HeaderBlock {
  /** Lines, each with its CRLF, in Latin-1. */
  readonly text: string;
  /** Whether they say `connection: close`. */
  readonly close: boolean;
  /** Their `content-length`, in bytes. */
  readonly contentLength: number | undefined;
}

const NOTHING = new Uint8Array();
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

/** The first line of a response. @throws {RangeError} If `status` is no status of a final response. */
export function statusLine(status: number): string {
  if (!Number.isInteger(status) || status < 200 || status > 599) {
    throw new RangeError(`Response status must be an integer from 200 to 599: received ${status}`);
  }
  return STATUS_LINES.get(status) ?? statusLineOf(status, "");
}

/**
 * Headers as lines.
 *
 * @throws {TypeError} If a name or a value is not one, or is for the server alone to say.
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

/** Headers that many answers share: they are formatted once, not once an answer. */
export class SharedHeaders implements HeaderBlock {
  readonly text: string;
  readonly close: boolean;
  readonly contentLength: number | undefined;
  #prefix: Uint8Array<ArrayBuffer> = NOTHING;
  #status = 0;
  #dateLine = "";

  /** @throws {TypeError} If a header cannot be sent. */
  constructor(headers: HeaderRecord) {
    ({ text: this.text, close: this.close, contentLength: this.contentLength } = formatHeaders(
      headers,
    ));
  }

  /**
   * A whole header up to the digits of the length, or to the empty line where `status` allows no body.
   * Kept for the last status and second, so an answer like the one before costs one copy.
   */
  prefix(status: number, dateLine: string): Uint8Array<ArrayBuffer> {
    if (status !== this.#status || dateLine !== this.#dateLine) {
      const length = isBodyless(status) ? "" : "content-length: ";
      const text = statusLine(status) + this.text + dateLine + length;
      // Latin-1, as the text is: one byte a character.
      this.#prefix = Uint8Array.from(text, (character) => character.charCodeAt(0));
      this.#status = status;
      this.#dateLine = dateLine;
    }
    return this.#prefix;
  }
}

/** Those of an answer that has none of its own. */
export const NO_HEADERS = new SharedHeaders({});

/** The headers of a response and its ETag, if it has one. */
export interface ResponseHeaders {
  readonly headers?: HeaderRecord | SharedHeaders;
  readonly etag?: string;
}

/** The headers of a response as lines. @throws {TypeError} If one cannot be sent. */
export function headersOf({ headers = NO_HEADERS, etag = "" }: ResponseHeaders): HeaderBlock {
  const block = headers instanceof SharedHeaders ? headers : formatHeaders(headers);
  if (etag === "") return block;
  const { close, contentLength } = block;
  return { text: block.text + formatHeaders({ etag }).text, close, contentLength };
}

/** Whether answers with `status` never have a body: RFC 9112 section 6.3. */
export function isBodyless(status: number): boolean {
  return status === 204 || status === 304;
}
