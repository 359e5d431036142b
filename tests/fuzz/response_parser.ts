/** A strict reader of what a server sent on one connection: whatever RFC 9112 does not allow throws. */

/** One final answer. */
export interface ParsedAnswer {
  readonly status: number;
  readonly headers: ReadonlyMap<string, string>;
  /** One character a byte. */
  readonly body: string;
  /** Whether the server said that it closes after this answer. */
  readonly closes: boolean;
}

/** What the server sent is not HTTP/1.1. */
export class MalformedAnswer extends Error {}

/** Some of an answer is missing: an error too, unless the connection was reset. */
export class CutOffAnswer extends MalformedAnswer {}

const STATUS_LINE = /^HTTP\/1\.1 ([1-5][0-9]{2}) [\x20-\x7e]*$/;
const FIELD = /^([!#$%&'*+\-.^_`|~0-9A-Za-z]+):[ ]?([\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?)?$/;

/** Reads answers one after the other. */
export class ResponseParser {
  #at = 0;

  /** @param text All that was received, one character a byte. */
  constructor(readonly text: string) {}

  get rest(): string {
    return this.text.slice(this.#at);
  }

  /** The next final answer, interim ones skipped; undefined at the end. */
  next(toHead: boolean): ParsedAnswer | undefined {
    while (this.#at < this.text.length) {
      const answer = this.#one(toHead);
      if (answer !== undefined) return answer;
    }
    return undefined;
  }

  #one(toHead: boolean): ParsedAnswer | undefined {
    const line = this.#line();
    const status = Number(STATUS_LINE.exec(line)?.[1] ?? this.#fail(`status line ${line}`));
    const headers = new Map<string, string>();
    for (let field = this.#line(); field !== ""; field = this.#line()) {
      const match = FIELD.exec(field) ?? this.#fail(`field ${field}`);
      const name = (match[1] ?? "").toLowerCase();
      if (headers.has(name)) this.#fail(`field twice: ${name}`);
      headers.set(name, match[2] ?? "");
    }
    if (status < 200) {
      if (status !== 100) this.#fail(`interim status ${status}`);
      return undefined;
    }
    const length = headers.get("content-length");
    const coding = headers.get("transfer-encoding");
    if (length !== undefined && !/^(0|[1-9][0-9]*)$/.test(length)) this.#fail(`length ${length}`);
    if (length !== undefined && coding !== undefined) this.#fail("length and transfer-encoding");
    if (coding !== undefined && coding !== "chunked") this.#fail(`coding ${coding}`);
    if (status === 204 && (length ?? coding) !== undefined) this.#fail("204 with a framed body");
    if (!headers.has("date")) this.#fail("no date");
    const connection = headers.get("connection")?.toLowerCase();
    let body = "";
    if (!toHead && status !== 204 && status !== 304) {
      if (coding !== undefined) body = this.#chunks();
      else if (length !== undefined) body = this.#take(Number(length));
      else this.#fail("a body without a length");
    }
    return { status, headers, body, closes: connection === "close" };
  }

  #chunks(): string {
    let body = "";
    while (true) {
      const line = this.#line();
      if (!/^[0-9a-fA-F]{1,8}$/.test(line)) this.#fail(`chunk size ${line}`);
      const size = parseInt(line, 16);
      if (size > 0) body += this.#take(size);
      if (this.#line() !== "") this.#fail("no end of a chunk");
      if (size === 0) return body;
    }
  }

  #line(): string {
    const end = this.text.indexOf("\r\n", this.#at);
    if (end < 0) throw new CutOffAnswer(`No end of line: ${JSON.stringify(this.rest)}`);
    const line = this.text.slice(this.#at, end);
    this.#at = end + 2;
    return line;
  }

  #take(size: number): string {
    const end = this.#at + size;
    if (end > this.text.length) {
      throw new CutOffAnswer(`${this.text.length - this.#at} bytes of a body of ${size}`);
    }
    const taken = this.text.slice(this.#at, end);
    this.#at = end;
    return taken;
  }

  #fail(what: string): never {
    throw new MalformedAnswer(`Not HTTP/1.1: ${JSON.stringify(what.slice(0, 300))}`);
  }
}
