/** The head of a request, and the request as the handler gets it. */
import { equalsName, latin1Text } from "./bytes.ts";
import { type ClientWatch, type HttpBody, type HttpRequest } from "./types.ts";

/** The result of parsing a head. */
export const HeadState = { incomplete: 0, complete: 1, refused: 2 } as const;

/** One of {@link HeadState}. */
export type HeadState = typeof HeadState[keyof typeof HeadState];

/** A parsed head. A connection has one, which `parseHead` fills anew for each request. */
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
  /** The position at which the body begins. */
  end = 0;
  /** The reason if the request was refused: a status and one line. */
  status = 0;
  detail = "";
  /**
   * Four positions for each header: the start and end of its name, the start and end of its value.
   */
  readonly positions: number[] = [];
  headerCount = 0;

  /** Notes why the request is refused. */
  refuse(status: number, detail: string): HeadState {
    this.status = status;
    this.detail = detail;
    return HeadState.refused;
  }
}

/** The value of the header `name`, which is in lower case; several values are joined by `, `. */
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

/** A request as the handler gets it: its headers are read from the bytes only when it asks. */
export class ParsedRequest implements HttpRequest {
  readonly method: string;
  readonly path: string;
  readonly query: string;
  readonly contentLength: number | undefined;
  readonly chunked: boolean;
  readonly body: HttpBody | undefined;
  readonly #bytes: Uint8Array;
  readonly #watch: (() => ClientWatch | undefined) | undefined;
  #head: RequestHead | undefined;

  /** @param watch Begins to watch the connection. */
  constructor(
    bytes: Uint8Array,
    head: RequestHead,
    body: HttpBody | undefined,
    watch?: () => ClientWatch | undefined,
  ) {
    this.method = head.method;
    this.path = head.path;
    this.query = head.query;
    this.contentLength = head.contentLength;
    this.chunked = head.chunked;
    this.body = body;
    this.#bytes = bytes;
    this.#head = head;
    this.#watch = watch;
  }

  header(name: string): string | undefined {
    return this.#head === undefined ? undefined : findHeader(this.#bytes, this.#head, name);
  }

  watchClient(): ClientWatch | undefined {
    return this.#watch?.();
  }

  /**
   * Hides the headers from a handler that kept the request: the buffer will hold another request.
   */
  end(): void {
    this.#head = undefined;
  }
}
