/**
 * Parses the head of an HTTP/1.1 request, strictly by RFC 9112. A head with a fault is refused and
 * never repaired, since a proxy in front may repair it differently (request smuggling).
 *
 * When more bytes have come, a head that is not complete is parsed again from its start. Its size
 * is limited, and a parser without a state gives the same result however the bytes arrive.
 */
import { asciiText, BYTE, isField, isToken, latin1Text, utf8Text } from "./bytes.ts";
import { checkFraming } from "./framing.ts";
import { HeadState, type RequestHead } from "./head.ts";
import { type HttpLimits } from "./types.ts";

/** The most headers in one request. */
export const MAX_HEADERS = 100;

/** The longest method, in bytes; the longest registered one has 17 (UPDATEREDIRECTREF). */
const MAX_METHOD_BYTES = 32;

/** How much of a target that is too long is kept as the path (bytes). */
const SHOWN_PATH_BYTES = 64;

const VERSION_1 = new TextEncoder().encode("HTTP/1.");

/**
 * Parses the head that begins at `start` and ends at or before `end`, and notes it in `head`. If
 * the result is `refused`, only the path, status and detail of `head` are valid.
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

  // RFC 9112 section 2.2: one empty line before a request is ignored.
  if (bytes[at] === BYTE.CR) {
    if (end - at < 2) return incomplete;
    if (bytes[at + 1] !== BYTE.LF) return head.refuse(400, "Bad request line: bare CR");
    at += 2;
  }

  const methodStart = at;
  while (at < end && isToken(bytes[at])) at++;
  if (at - methodStart > MAX_METHOD_BYTES) {
    return head.refuse(400, "Bad request line: the method is too long");
  }
  if (at === end) return incomplete;
  if (at === methodStart || bytes[at] !== BYTE.SPACE) {
    return head.refuse(400, "Bad request line: the method is not one");
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
    // The beginning is enough to tell which routes the client wanted.
    head.path = latin1Text(bytes, targetStart, targetStart + SHOWN_PATH_BYTES);
    return head.refuse(414, `Target too long: at most ${limits.maxTargetBytes} bytes`);
  }
  if (at === end) return incomplete;
  if (at === targetStart || bytes[at] !== BYTE.SPACE) {
    return head.refuse(400, "Bad request line: the target holds what must be escaped");
  }
  const targetEnd = at++;

  for (let i = 0; i < VERSION_1.length; i++) {
    if (at + i === end) return incomplete;
    if (bytes[at + i] === VERSION_1[i]) continue;
    // `HTTP/` is there, so the line names a version that the server does not speak.
    return i < 5
      ? head.refuse(400, "Bad request line: no HTTP version")
      : head.refuse(505, "HTTP version not supported: 1.0 and 1.1 are");
  }
  at += VERSION_1.length;
  if (end - at < 3) return incomplete;
  head.http10 = bytes[at] === BYTE.ZERO;
  if (!head.http10 && bytes[at] !== BYTE.ONE) {
    return head.refuse(505, "HTTP version not supported: 1.0 and 1.1 are");
  }
  if (bytes[at + 1] !== BYTE.CR || bytes[at + 2] !== BYTE.LF) {
    return head.refuse(400, "Bad request line: it must end with CR LF");
  }
  at += 3;

  // Making text of the target is slow, so the rest of the line is checked before.
  const target = parseTarget(head, bytes, targetStart, targetEnd, all > 0x7f);
  if (target !== HeadState.complete) return target;

  const state = parseHeaders(bytes, at, end, limits, head);
  return state === HeadState.complete ? checkFraming(bytes, head) : state;
}

/** Parses the header lines, and notes their positions in `head`. */
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
      if (bytes[at + 1] !== BYTE.LF) return head.refuse(400, "Bad header: bare CR");
      head.headerCount = count;
      head.end = at + 2;
      return HeadState.complete;
    }
    // A folded line, or a blank before the colon, ends here: RFC 9112 section 5.
    if (at === nameStart || bytes[at] !== BYTE.COLON) {
      return head.refuse(400, "Bad header: the name is not one");
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
  // The bytes end within a line.
  return end > last ? refuseSize(head, maxHeaderBytes) : HeadState.incomplete;
}

function methodOf(bytes: Uint8Array, start: number, end: number): string {
  const first = bytes[start];
  const size = end - start;
  // Two common methods without a text of their own. Methods differ in case.
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
  return head.refuse(400, "Bad header: the value holds a control character or a bare CR or LF");
}

function refuseSize(head: RequestHead, maxBytes: number): HeadState {
  const detail = `Headers too large: at most ${maxBytes} bytes in ${MAX_HEADERS} lines`;
  return head.refuse(431, detail);
}

const ABSOLUTE = /^https?:\/\/[A-Za-z0-9\-._~%!$&'()*+,;=:@\[\]]+(?=[/?]|$)/i;

/**
 * Splits the target at `start` to `end` into path and query. A target with scheme and host, as a
 * proxy gets it, is reduced to its path.
 *
 * @param beyondAscii Whether the target has bytes over 0x7f, which must be UTF-8.
 * @returns `complete` if the target is good, else `refused`.
 */
function parseTarget(
  head: RequestHead,
  bytes: Uint8Array,
  start: number,
  end: number,
  beyondAscii: boolean,
): HeadState {
  let target = beyondAscii ? utf8Text(bytes, start, end) : asciiText(bytes, start, end);
  if (target === undefined) {
    return head.refuse(400, "Bad request line: the target is not UTF-8");
  }
  if (head.method === "CONNECT") return head.refuse(501, "CONNECT is not supported");
  if (!target.startsWith("/") && !(target === "*" && head.method === "OPTIONS")) {
    const [origin] = ABSOLUTE.exec(target) ?? [];
    if (origin === undefined) {
      return head.refuse(400, "Bad request line: the target is no path");
    }
    target = target.slice(origin.length);
    if (!target.startsWith("/")) target = "/" + target;
  }
  const mark = target.indexOf("?");
  head.path = mark < 0 ? target : target.slice(0, mark);
  head.query = mark < 0 ? "" : target.slice(mark + 1);
  return HeadState.complete;
}
