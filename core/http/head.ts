/** What is known of a request once its head has been parsed. */
import { equalsName, latin1Text } from "./bytes.ts";
import { type HttpBody, type HttpRequest } from "./types.ts";

/** The head of a request. Filled by `parseHead` and used again for the next one. */
export class RequestHead {
  method = "";
  path = "";
  query = "";
  /** Whether the client speaks HTTP/1.0. */
  http10 = false;
  /** Whether the connection may serve another request after this one. */
  keepAlive = false;
  contentLength: number | undefined;
  chunked = false;
  /** Whether the client waits for `100 Continue` before it sends its body. */
  expectsContinue = false;
  /** Where the body begins. */
  end = 0;
  /** Why the request was refused: a status and one line. */
  status = 0;
  detail = "";
  /** Four positions a header: its name from and to, its value from and to. */
  readonly positions: number[] = [];
  headerCount = 0;
}

/** The value of a header of `head` by its name in lower case. */
export function findHeader(
  bytes: Uint8Array,
  head: RequestHead,
  name: string,
): string | undefined {
  const { positions, headerCount } = head;
  let found: string | undefined;
  for (let slot = 0; slot < headerCount * 4; slot += 4) {
    if (!equalsName(bytes, positions[slot] ?? 0, positions[slot + 1] ?? 0, name)) continue;
    const value = latin1Text(bytes, positions[slot + 2] ?? 0, positions[slot + 3] ?? 0);
    found = found === undefined ? value : `${found}, ${value}`;
  }
  return found;
}

/** Whether `head` has one header of this name, which is in lower case, and that is `value`, which is ASCII. */
export function headerIs(
  bytes: Uint8Array,
  head: RequestHead,
  name: string,
  value: string,
): boolean {
  const { positions, headerCount } = head;
  let found = false;
  for (let slot = 0; slot < headerCount * 4; slot += 4) {
    if (!equalsName(bytes, positions[slot] ?? 0, positions[slot + 1] ?? 0, name)) continue;
    if (found) return false;
    const start = positions[slot + 2] ?? 0;
    if ((positions[slot + 3] ?? 0) - start !== value.length) return false;
    for (let i = 0; i < value.length; i++) {
      if (bytes[start + i] !== value.charCodeAt(i)) return false;
    }
    found = true;
  }
  return found;
}

/** One request as the handler sees it: a view on the bytes of its head. */
export class ParsedRequest implements HttpRequest {
  readonly method: string;
  readonly path: string;
  readonly query: string;
  readonly contentLength: number | undefined;
  readonly chunked: boolean;
  readonly body: HttpBody | undefined;
  readonly #bytes: Uint8Array;
  #head: RequestHead | undefined;

  constructor(bytes: Uint8Array, head: RequestHead, body: HttpBody | undefined) {
    this.method = head.method;
    this.path = head.path;
    this.query = head.query;
    this.contentLength = head.contentLength;
    this.chunked = head.chunked;
    this.body = body;
    this.#bytes = bytes;
    this.#head = head;
  }

  header(name: string): string | undefined {
    return this.#head === undefined ? undefined : findHeader(this.#bytes, this.#head, name);
  }

  headerIs(name: string, value: string): boolean {
    return this.#head !== undefined && headerIs(this.#bytes, this.#head, name, value);
  }

  /** The bytes are about to be those of another request: a handler that kept this one sees none. */
  end(): void {
    this.#head = undefined;
  }
}

/** A status and one line that says why. */
export interface Refusal {
  readonly status: number;
  readonly detail: string;
}
