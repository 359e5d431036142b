/** The target of a request: RFC 9112 section 3.2. */
import { asciiText, utf8Text } from "./http_bytes.ts";

/** Where the target goes to. */
export interface TargetSink {
  readonly method: string;
  path: string;
  query: string;
}

/** A status and one line that says why. */
export interface Refusal {
  readonly status: number;
  readonly detail: string;
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
