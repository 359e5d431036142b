/** One request as the handler sees it: a view on the bytes of its head. */
import { findHeader, headerIs, type RequestHead } from "./http_head.ts";
import { type HttpBody, type HttpRequest } from "./http_types.ts";

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
