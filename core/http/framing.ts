/**
 * The end of a request, by its headers: RFC 9112 sections 6 and 9. Everything that two programs
 * could read in two ways (request smuggling) is refused here.
 */
import { decimalNumber, equalsName, isHost, latin1Text } from "./bytes.ts";
import { HeadState, type RequestHead } from "./head.ts";

/**
 * Reads the headers that tell the length of the body and whether the connection goes on, and notes
 * them in `head`.
 *
 * @returns `complete` if the headers are good, else `refused`.
 */
export function checkFraming(bytes: Uint8Array, head: RequestHead): HeadState {
  const { positions } = head;
  const last = head.headerCount * 4;
  let hosts = 0;
  let lengths = 0;
  let encodings = 0;
  let closes = false;
  let keeps = false;
  head.contentLength = undefined;
  head.chunked = false;
  head.expectsContinue = false;
  for (let slot = 0; slot < last; slot += 4) {
    const name = framingName(bytes, positions[slot] ?? 0, positions[slot + 1] ?? 0);
    if (name === undefined) continue;
    const from = positions[slot + 2] ?? 0;
    const to = positions[slot + 3] ?? 0;
    // Many requests have these two, so no text is made of them.
    if (name === "host") {
      hosts++;
      if (!isHost(bytes, from, to)) return head.refuse(400, "Bad Host header");
      continue;
    }
    if (name === "content-length") {
      lengths++;
      head.contentLength = decimalNumber(bytes, from, to);
      if (head.contentLength === undefined) return head.refuse(400, "Bad Content-Length header");
      continue;
    }
    const value = latin1Text(bytes, from, to).toLowerCase();
    switch (name) {
      case "expect":
        if (value !== "100-continue") {
          return head.refuse(417, "Expectation failed: only 100-continue is known");
        }
        head.expectsContinue = true;
        break;
      case "connection":
        for (const option of value.split(",")) {
          if (option.trim() === "close") closes = true;
          if (option.trim() === "keep-alive") keeps = true;
        }
        break;
      case "transfer-encoding":
        encodings++;
        head.chunked = value === "chunked";
        break;
    }
  }

  if (hosts > 1 || (hosts === 0 && !head.http10)) {
    return head.refuse(400, "Host header required, once");
  }
  if (lengths > 1) return head.refuse(400, "Content-Length given more than once");
  // RFC 9112 section 6.1: both at once are a sign of smuggling; HTTP/1.0 has no Transfer-Encoding.
  if (encodings > 0 && (lengths > 0 || head.http10)) {
    return head.refuse(400, "Transfer-Encoding cannot stand here");
  }
  if (encodings > 1 || (encodings === 1 && !head.chunked)) {
    return head.refuse(501, "Transfer-Encoding not supported: only chunked is");
  }
  head.keepAlive = head.http10 ? keeps && !closes : !closes;
  if (head.http10) head.expectsContinue = false;
  return HeadState.complete;
}

type FramingName = "host" | "expect" | "connection" | "content-length" | "transfer-encoding";

/** The headers that matter for framing, by their lengths, which all differ. */
const FRAMING_NAMES: Readonly<Record<number, FramingName>> = {
  4: "host",
  6: "expect",
  10: "connection",
  14: "content-length",
  17: "transfer-encoding",
};

/** Which of the headers that matter for framing has this name, if any. */
function framingName(bytes: Uint8Array, from: number, to: number): FramingName | undefined {
  const name = FRAMING_NAMES[to - from];
  return name !== undefined && equalsName(bytes, from, to, name) ? name : undefined;
}
