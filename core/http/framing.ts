/** Where a request ends, by its headers: RFC 9112 sections 6 and 9. Smuggling is refused here. */
import { decimalNumber, equalsName, isHost, latin1Text } from "./bytes.ts";
import { type RequestHead } from "./head.ts";
import { type Refusal } from "./head.ts";

/**
 * Reads the headers that say where the request ends and what becomes of its connection into `head`.
 *
 * @returns Why the request is refused, or `undefined`.
 */
export function checkFraming(bytes: Uint8Array, head: RequestHead): Refusal | undefined {
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
    // These come with many requests, so they are looked at where they lie.
    if (name === "host") {
      hosts++;
      if (!isHost(bytes, from, to)) return refusal(400, "Bad Host header");
      continue;
    }
    if (name === "content-length") {
      lengths++;
      head.contentLength = decimalNumber(bytes, from, to);
      if (head.contentLength === undefined) return refusal(400, "Bad Content-Length header");
      continue;
    }
    const value = latin1Text(bytes, from, to).toLowerCase();
    switch (name) {
      case "expect":
        if (value !== "100-continue") {
          return refusal(417, "Expectation failed: only 100-continue is known");
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
    return refusal(400, "Host header required, once");
  }
  if (lengths > 1) return refusal(400, "Content-Length given more than once");
  // RFC 9112 section 6.1: either is a sign of smuggling, and 1.0 has no Transfer-Encoding.
  if (encodings > 0 && (lengths > 0 || head.http10)) {
    return refusal(400, "Transfer-Encoding cannot stand here");
  }
  if (encodings > 1 || (encodings === 1 && !head.chunked)) {
    return refusal(501, "Transfer-Encoding not supported: only chunked is");
  }
  head.keepAlive = head.http10 ? keeps && !closes : !closes;
  if (head.http10) head.expectsContinue = false;
  return undefined;
}

type FramingName = "host" | "expect" | "connection" | "content-length" | "transfer-encoding";

/** Which of the headers that matter for framing this is; told apart by their lengths. */
function framingName(bytes: Uint8Array, from: number, to: number): FramingName | undefined {
  let name: FramingName;
  switch (to - from) {
    case 4:
      name = "host";
      break;
    case 6:
      name = "expect";
      break;
    case 10:
      name = "connection";
      break;
    case 14:
      name = "content-length";
      break;
    case 17:
      name = "transfer-encoding";
      break;
    default:
      return undefined;
  }
  return equalsName(bytes, from, to, name) ? name : undefined;
}

function refusal(status: number, detail: string): Refusal {
  return { status, detail };
}
