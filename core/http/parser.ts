/**
 * The head of an HTTP/1.1 request from bytes, strictly by RFC 9112: what is not allowed is refused,
 * never repaired, since a proxy in front may read it differently (request smuggling).
 *
 * A head that is not complete is parsed anew when more has come: its size is bounded, and a parser
 * without a state cannot be brought into a wrong one by how the bytes were cut.
 */
import { asciiText, BYTE, isField, isToken, latin1Text, utf8Text } from "./bytes.ts";
import { checkFraming } from "./framing.ts";
import { type Refusal, type RequestHead } from "./head.ts";
import { type HttpLimits } from "./types.ts";

/** What {@link parseHead} found. */
export const HeadState = { incomplete: 0, complete: 1, refused: 2 } as const;

/** One of {@link HeadState}. */
export type HeadState = typeof HeadState[keyof typeof HeadState];

/** The most headers in one request. */
export const MAX_HEADERS = 100;

/** The longest method, in bytes; the longest registered one has 17 (UPDATEREDIRECTREF). */
const MAX_METHOD_BYTES = 32;

/** How much of a target that is too long is told, in bytes. */
const SHOWN_PATH_BYTES = 64;

const VERSION_1 = [0x48, 0x54, 0x54, 0x50, 0x2f, 0x31, 0x2e];
// HTTP/1.

/**
 * Parses the head that begins at `start` and ends at or before `end` into `head`, which is of use
 * only where the result is `complete`, or for its status and detail where it is `refused`.
 */
export function parseHead(
  bytes: Uint8Array,
  start: number,
  end: number,
  limits: HttpLimits,
  head: RequestHead,
): HeadState {
  const { incomplete } = HeadState;
  head.method = head.path = head.query = "";
  let at = start;

  // RFC 9112 section 2.2: an empty line before a request is ignored; one, not any number.
  if (bytes[at] === BYTE.CR) {
    if (end - at < 2) return incomplete;
    if (bytes[at + 1] !== BYTE.LF) return refuse(head, 400, "Bad request line: bare CR");
    at += 2;
  }

  const methodStart = at;
  while (at < end && isToken(bytes[at])) at++;
  if (at - methodStart > MAX_METHOD_BYTES) {
    return refuse(head, 400, "Bad request line: the method is too long");
  }
  if (at === end) return incomplete;
  if (at === methodStart || bytes[at] !== BYTE.SPACE) {
    return refuse(head, 400, "Bad request line: the method is not one");
  }
  head.method = methodOf(bytes, methodStart, at);

  const targetStart = ++at;
  let all = 0;
  for (let byte = 0; at < end; at++) {
    byte = bytes[at] ?? 0;
    if (byte <= BYTE.SPACE || byte === BYTE.DEL || byte === BYTE.HASH) break;
    all |= byte;
  }
  if (at - targetStart > limits.maxTargetBytes) {
    // Enough to tell which routes it was meant for.
    head.path = latin1Text(bytes, targetStart, targetStart + SHOWN_PATH_BYTES);
    return refuse(head, 414, `Target too long: at most ${limits.maxTargetBytes} bytes`);
  }
  if (at === end) return incomplete;
  if (at === targetStart || bytes[at] !== BYTE.SPACE) {
    return refuse(head, 400, "Bad request line: the target holds what must be escaped");
  }
  const targetEnd = at++;

  for (let i = 0; i < VERSION_1.length; i++) {
    if (at + i === end) return incomplete;
    if (bytes[at + i] === VERSION_1[i]) continue;
    // Anything that names the protocol is a version that we do not have; the rest is noise.
    return i < 5
      ? refuse(head, 400, "Bad request line: no HTTP version")
      : refuse(head, 505, "HTTP version not supported: 1.0 and 1.1 are");
  }
  at += VERSION_1.length;
  if (end - at < 3) return incomplete;
  head.http10 = bytes[at] === BYTE.ZERO;
  if (!head.http10 && bytes[at] !== BYTE.ONE) {
    return refuse(head, 505, "HTTP version not supported: 1.0 and 1.1 are");
  }
  if (bytes[at + 1] !== BYTE.CR || bytes[at + 2] !== BYTE.LF) {
    return refuse(head, 400, "Bad request line: it must end with CR LF");
  }
  at += 3;

  // Only after the whole line is known to be good: a target is costlier than the rest of it.
  const problem = parseTarget(head, bytes, targetStart, targetEnd, all > 0x7f);
  if (problem !== undefined) return refuse(head, problem.status, problem.detail);

  const state = parseHeaders(bytes, at, end, limits, head);
  if (state !== HeadState.complete) return state;
  const fault = checkFraming(bytes, head);
  return fault === undefined ? state : refuse(head, fault.status, fault.detail);
}

/** Parses the lines between the request line and the body, and notes where they are. */
function parseHeaders(
  bytes: Uint8Array,
  start: number,
  end: number,
  { maxHeaderBytes }: HttpLimits,
  head: RequestHead,
): HeadState {
  const { positions } = head;
  const last = start + maxHeaderBytes;
  let count = 0;
  let at = start;
  while (true) {
    const nameStart = at;
    while (at < end && isToken(bytes[at])) at++;
    if (at === end) break;
    if (at === nameStart && bytes[at] === BYTE.CR) {
      if (end - at < 2) return HeadState.incomplete;
      if (bytes[at + 1] !== BYTE.LF) return refuse(head, 400, "Bad header: bare CR");
      head.headerCount = count;
      head.end = at + 2;
      return HeadState.complete;
    }
    // A blank here is a folded line or a blank before the colon: RFC 9112 section 5.
    if (at === nameStart || bytes[at] !== BYTE.COLON) {
      return refuse(head, 400, "Bad header: the name is not one");
    }
    const nameEnd = at++;
    while (at < end && isBlank(bytes[at])) at++;
    const valueStart = at;
    while (at < end && isField(bytes[at])) at++;
    if (at === end) break;
    if (bytes[at] !== BYTE.CR) return refuseValue(head);
    if (at + 1 === end) break;
    if (bytes[at + 1] !== BYTE.LF) return refuseValue(head);
    let valueEnd = at;
    while (valueEnd > valueStart && isBlank(bytes[valueEnd - 1])) valueEnd--;
    at += 2;
    if (count === MAX_HEADERS || at > last) return refuseSize(head, maxHeaderBytes);
    const slot = count++ * 4;
    positions[slot] = nameStart;
    positions[slot + 1] = nameEnd;
    positions[slot + 2] = valueStart;
    positions[slot + 3] = valueEnd;
  }
  // Cut off within a line.
  return end > last ? refuseSize(head, maxHeaderBytes) : HeadState.incomplete;
}

function methodOf(bytes: Uint8Array, start: number, end: number): string {
  const first = bytes[start];
  const size = end - start;
  // The common ones without making a string; a method in lower case is another one.
  if (
    size === 3 && first === 0x47 && bytes[start + 1] === 0x45 && bytes[start + 2] === 0x54
  ) return "GET";
  if (
    size === 3 && first === 0x50 && bytes[start + 1] === 0x55 && bytes[start + 2] === 0x54
  ) return "PUT";
  return asciiText(bytes, start, end);
}

function isBlank(byte: number | undefined): boolean {
  return byte === BYTE.SPACE || byte === BYTE.TAB;
}

function refuseValue(head: RequestHead): HeadState {
  return refuse(head, 400, "Bad header: the value holds a control character or a bare CR or LF");
}

function refuseSize(head: RequestHead, maxBytes: number): HeadState {
  const detail = `Headers too large: at most ${maxBytes} bytes in ${MAX_HEADERS} lines`;
  return refuse(head, 431, detail);
}

function refuse(head: RequestHead, status: number, detail: string): HeadState {
  head.status = status;
  head.detail = detail;
  return HeadState.refused;
}

/** Where the target goes to. */
export interface TargetSink {
  readonly method: string;
  path: string;
  query: string;
}

const ABSOLUTE = /^https?:\/\/[A-Za-z0-9\-._~%!$&'()*+,;=:@\[\]]+(?=[/?]|$)/i;

/**
 * Splits the target at `start` to `end` into path and query, as they came. One with scheme and host,
 * as it is sent to a proxy, is reduced to its path.
 *
 * @param beyondAscii Whether it has bytes over 0x7f; they must be UTF-8, which clients send unescaped.
 * @returns Why it is refused, or `undefined`.
 */
export function parseTarget(
  sink: TargetSink,
  bytes: Uint8Array,
  start: number,
  end: number,
  beyondAscii: boolean,
): Refusal | undefined {
  let target = beyondAscii ? utf8Text(bytes, start, end) : asciiText(bytes, start, end);
  if (target === undefined) {
    return { status: 400, detail: "Bad request line: the target is not UTF-8" };
  }
  if (sink.method === "CONNECT") return { status: 501, detail: "CONNECT is not supported" };
  if (!target.startsWith("/") && !(target === "*" && sink.method === "OPTIONS")) {
    const [origin] = ABSOLUTE.exec(target) ?? [];
    if (origin === undefined) {
      return { status: 400, detail: "Bad request line: the target is no path" };
    }
    target = target.slice(origin.length);
    if (!target.startsWith("/")) target = "/" + target;
  }
  const mark = target.indexOf("?");
  sink.path = mark < 0 ? target : target.slice(0, mark);
  sink.query = mark < 0 ? "" : target.slice(mark + 1);
  return undefined;
}
