/** Well-formed requests whose answers a model knows. */
import { Dice } from "../crash/dice.ts";
import type { ParsedAnswer } from "./response_parser.ts";

/** What is sent for one request, and what must come back. */
export interface Piece {
  /** One character a byte. */
  readonly bytes: string;
  readonly toHead: boolean;
  /**
   * - `answer`: one answer, which `check` looks at, and the next request is served.
   * - `refused`: one answer, 4xx, 501 or 505, and the connection closes.
   * - `either`: one answer, no other 5xx; the connection may close or go on.
   * - `noise`: nothing is known of what is answered from here on, but its form.
   */
  readonly outcome: "answer" | "refused" | "either" | "noise";
  readonly check?: (answer: ParsedAnswer) => string | undefined;
}

interface Value {
  readonly bytes: string;
  readonly type: string;
  readonly etag: string;
}

/** UTF-8 of a text, one character a byte. */
export function utf8(text: string): string {
  return latin1(new TextEncoder().encode(text));
}

/** Bytes as a text of one character a byte. */
export function latin1(bytes: Uint8Array): string {
  let text = "";
  for (let at = 0; at < bytes.length; at += 8192) {
    text += String.fromCharCode(...bytes.subarray(at, at + 8192));
  }
  return text;
}

const DEFAULT_TYPE = "application/octet-stream";
const TAILS = ["a", "b", "c", "d e", "ü", "字", "😀", "a/b", "100%", "..", "a,b", "\u0001", "x'\""];

/** Header fields that change nothing. */
const HARMLESS = [
  "Accept: */*",
  "Accept-Encoding: gzip, br;q=0, *;q=0.1",
  "Range: bytes=9999-",
  'If-Range: "x"',
  "X-Empty:",
  "x-TABS:\t a\tb \t",
  'Cookie: a=b; c="d"',
  "X-Bytes: \xe4\xf6\xfc",
  "Connection: keep-alive",
  "Via: 1.1 proxy (comment)",
  "Forwarded: for=127.0.0.1;host=evil",
  "X-HTTP-Method-Override: DELETE",
  "If-Modified-Since: Thu, 01 Jan 2099 00:00:00 GMT",
  "TE: trailers",
  "Sec-Fetch-Site: none",
  "Sec-Fetch-Mode: cors",
];

/** Keys that one worker alone uses, with what is known of them, and requests about them. */
export class KnownKeys {
  readonly #values = new Map<string, Value | undefined>();
  readonly #dice: Dice;

  /** @param prefix What all its keys begin with, and no other key. */
  constructor(readonly prefix: string, dice: Dice) {
    this.#dice = dice;
  }

  /** A request whose answer is known, given that all before it were carried out. */
  next(): Piece {
    const dice = this.#dice;
    const key = this.prefix + dice.of(TAILS);
    const url = dice.chance(0.5)
      ? encodeURIComponent(key)
      : [...utf8(key)].map((c) => /[a-z0-9]/.test(c) ? c : escape(c)).join("");
    const value = this.#values.get(key);
    switch (dice.integer(0, 11)) {
      case 0: {
        const word = dice.of(["x", "a b", "%2F", "ü", "字/字", ""]) + dice.integer(0, 1e9);
        this.#values.set(key, { bytes: utf8(word), type: DEFAULT_TYPE, etag: "" });
        return this.#get(`/save/${url}/${encodeURIComponent(word)}`, 200, utf8(word));
      }
      case 1:
      case 2:
        return this.#get(`/load/${url}`, 200, value?.bytes ?? "_key_not_found_");
      case 3:
      case 4:
        return this.#put(key, url, value);
      case 5:
      case 6:
        return this.#read(url, key, value);
      case 7: {
        if (value !== undefined && dice.chance(0.3)) {
          return this.#plain(`DELETE /v1/keys/${url}`, 412, ['If-Match: "no such"']);
        }
        this.#values.set(key, undefined);
        return this.#plain(`DELETE /v1/keys/${url}`, value === undefined ? 404 : 204);
      }
      case 8:
        return this.#batch(key, value);
      case 9: {
        const keys = [...this.#values].filter(([, value]) => value !== undefined).map(([key]) =>
          key
        );
        return {
          ...this.#plain(`GET /v1/keys?prefix=${encodeURIComponent(this.prefix)}&limit=100`, 200),
          check: ({ status, body }) => {
            if (status !== 200) return `status ${status}, not 200`;
            const page: unknown = JSON.parse(new TextDecoder().decode(bytesOf(body)));
            const wanted = keys.sort((a, b) => utf8(a) < utf8(b) ? -1 : 1);
            const same = JSON.stringify(page) === JSON.stringify({ keys: wanted, next: null });
            return same
              ? undefined
              : `listed ${JSON.stringify(page)}, not ${JSON.stringify(wanted)}`;
          },
        };
      }
      case 10:
        return dice.of([
          this.#plain("GET /healthz", 200),
          this.#plain("GET /", 200),
          this.#plain("GET /v1/stats", 200),
          this.#plain(`GET /load/${url}/more`, 404),
          this.#plain("GET /load", 404),
          this.#plain(`GET /load/%zz`, 400),
          this.#plain(`GET /load/%C3%28`, 400),
          this.#plain(`GET /v1/keys/%ff`, 400),
          this.#plain(`GET /save/_shutting_down_/x`, 400),
          this.#plain(`GET /v1/keys/${"k".repeat(256)}`, 400),
          this.#plain(`GET /nowhere/${url}`, 404),
          this.#plain("HEAD /v1/keys", 200, dice.of([[], ["Accept: application/x-ndjson"]])),
          this.#plain("HEAD /v1/stats", 200),
          this.#plain("HEAD /metrics", 200),
          this.#refused(url),
          this.#foreign(url),
        ]);
      default: {
        const body = this.#smuggled("GET", url);
        const method = dice.of(["POST", "PUT", "PATCH", "DELETE", "BREW", "OPTIONS"]);
        return {
          ...this.#plain(`${method} /load/${url}`, 405, [`Content-Length: ${body.length}`], body),
          check: ({ status, headers }) =>
            status === 405 && headers.has("allow") ? undefined : `status ${status} or no Allow`,
        };
      }
    }
  }

  /** A body that does harm where it is taken for a request. */
  #smuggled(method: string, url: string): string {
    return `${method} /save/${url}/smuggled HTTP/1.1\r\nHost: x\r\n\r\n`;
  }

  /** A save that must not be carried out, since a part of what it says would be ignored. */
  #refused(url: string): Piece {
    const [framing, body] = framed("refused", this.#dice);
    const put = `PUT /v1/keys/${url}`;
    const piece = this.#dice.of([
      this.#plain(`${put}?ttl-of=1`, 400, [framing], body),
      this.#plain(put, 400, [framing, "Content-Range: bytes 1-7/8"], body),
      this.#plain(put, 415, [framing, "Content-Encoding: gzip"], body),
    ]);
    // An answer that comes before the last chunk closes the connection, an answer behind it does not.
    return framing.startsWith("Transfer") ? { ...piece, outcome: "either" } : piece;
  }

  /** A request of a page of another site, which must come to nothing. */
  #foreign(url: string): Piece {
    const field = this.#dice.of([
      "Origin: http://evil.example",
      "Origin: null",
      "Sec-Fetch-Site: cross-site",
    ]);
    return this.#dice.of([
      this.#plain(`GET /save/${url}/foreign`, 403, [field]),
      this.#plain(`DELETE /v1/keys/${url}`, 403, [field]),
      this.#plain("GET /allKeys", 403, [field]),
    ]);
  }

  #put(key: string, url: string, value: Value | undefined): Piece {
    const dice = this.#dice;
    const bytes = dice.chance(0.3)
      ? this.#smuggled("GET", url)
      : latin1(Uint8Array.from({ length: Math.floor(dice.logarithmic(1, 3000)) - 1 }, () =>
        dice.integer(0, 255)));
    const type = dice.chance(0.5) ? DEFAULT_TYPE : dice.of(["text/plain", 'a/b; c="d e"']);
    const fields = type === DEFAULT_TYPE && dice.chance(0.5) ? [] : [`Content-Type: ${type}`];
    let status = value === undefined ? 201 : 204;
    const condition = dice.integer(0, 9);
    if (condition < 2) {
      fields.push("If-None-Match: *");
      if (value !== undefined) status = 412;
    } else if (condition < 4) {
      fields.push(value === undefined ? "If-Match: *" : 'If-Match: "no such"');
      status = 412;
    }
    if (dice.chance(0.2)) fields.push("Expect: 100-continue");
    if (status !== 412) this.#values.set(key, { bytes, type, etag: "" });
    const [framing, body] = framed(bytes, dice);
    return this.#plain(`PUT /v1/keys/${url}`, status, [...fields, framing], body);
  }

  #read(url: string, key: string, value: Value | undefined): Piece {
    const method = this.#dice.of(["GET", "HEAD"]);
    if (this.#dice.chance(0.1)) {
      return this.#plain(`${method} /v1/keys/${url}`, 412, ['If-Match: "no such"']);
    }
    if (value === undefined) return this.#plain(`${method} /v1/keys/${url}`, 404);
    const conditional = value.etag !== "" && this.#dice.chance(0.4);
    const fields = conditional ? [`If-None-Match: "other", ${value.etag}`] : [];
    return {
      ...this.#plain(`${method} /v1/keys/${url}`, conditional ? 304 : 200, fields),
      check: ({ status, headers, body }) => {
        if (status !== (conditional ? 304 : 200)) return `status ${status}`;
        const etag = headers.get("etag") ?? "";
        if (!/^"[^"]+"$/.test(etag)) return `etag ${etag}`;
        if (this.#values.get(key) === value) this.#values.set(key, { ...value, etag });
        if (conditional) return undefined;
        if (headers.get("content-type") !== value.type) return `type of ${value.type} is lost`;
        if (headers.get("content-length") !== String(value.bytes.length)) return "another length";
        return method === "HEAD" || body === value.bytes ? undefined : "other bytes";
      },
    };
  }

  #batch(key: string, value: Value | undefined): Piece {
    const text = `batch ${this.#dice.integer(0, 1e9)}`;
    const lines = [
      { op: "get", key },
      { op: "put", key, value: text },
      { op: "get", key: `${key}-absent` },
    ].map((line) => utf8(JSON.stringify(line)) + "\n");
    this.#values.set(key, { bytes: text, type: DEFAULT_TYPE, etag: "" });
    const [framing, body] = framed(lines.join(""), this.#dice);
    const wanted = [value === undefined ? 404 : 200, value === undefined ? 201 : 204, 404].join();
    return {
      ...this.#plain("POST /v1/batch", 200, [framing], body),
      check: ({ body }) => {
        const statuses = body.trimEnd().split("\n").map((line) => JSON.parse(line).status).join();
        return statuses === wanted ? undefined : `batch answered ${statuses}, not ${wanted}`;
      },
    };
  }

  #get(path: string, status: number, body: string): Piece {
    return {
      ...this.#plain(`GET ${path}`, status),
      check: (answer) => {
        if (answer.status !== status) return `status ${answer.status}, not ${status}`;
        if (answer.headers.get("content-type") !== "text/plain; charset=utf-8") return "other type";
        if (answer.body === body) return undefined;
        return `body ${JSON.stringify(answer.body)}, not ${JSON.stringify(body)}`;
      },
    };
  }

  #plain(line: string, status: number, fields: readonly string[] = [], body = ""): Piece {
    const dice = this.#dice;
    const [method = "", target = ""] = line.split(" ");
    const path = dice.chance(0.05) ? `http://any.example:1${target}` : target;
    const host = dice.of(["Host: x", "hOST:localhost:80", "Host:  [::1]:80  "]);
    const all = [host, ...fields];
    for (let count = dice.integer(0, 3); count > 0; count--) {
      const field = dice.of(HARMLESS);
      if (!all.includes(field)) all.splice(dice.integer(0, all.length), 0, field);
    }
    return {
      bytes: `${method} ${path} HTTP/1.1\r\n${all.join("\r\n")}\r\n\r\n${body}`,
      toHead: method === "HEAD",
      outcome: "answer",
      check: (answer) => answer.status === status ? undefined : `${answer.status}, not ${status}`,
    };
  }
}

/** A text of one character a byte as bytes. */
export function bytesOf(text: string): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
  return bytes;
}

/** The header field and the body as they are sent: with a length, or in chunks of all sorts. */
export function framed(bytes: string, dice: Dice): [string, string] {
  if (dice.chance(0.5)) return [`Content-Length: ${bytes.length}`, bytes];
  let body = "";
  for (let at = 0; at < bytes.length;) {
    const size = Math.min(bytes.length - at, Math.floor(dice.logarithmic(1, 2000)));
    const hex = size.toString(16).padStart(dice.integer(1, 4), "0");
    const extension = dice.of(["", "", "", ";a", ";a=b", ';a="b c"']);
    body += `${dice.chance(0.5) ? hex : hex.toUpperCase()}${extension}\r\n`;
    body += `${bytes.slice(at, at + size)}\r\n`;
    at += size;
  }
  const trailer = dice.chance(0.2) ? "X-Trailer: Content-Length: 5\r\n" : "";
  return [`Transfer-Encoding: ${dice.of(["chunked", "Chunked"])}`, `${body}0\r\n${trailer}\r\n`];
}

function escape(byte: string): string {
  return `%${byte.charCodeAt(0).toString(16).padStart(2, "0")}`;
}
