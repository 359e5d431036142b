/** Requests that are damaged, ambiguous or mere noise. */
import type { Dice } from "../crash/dice.ts";
import { latin1, type Piece, utf8 } from "./good_requests.ts";

/** The key that exists only where a body, or what follows a refused request, was taken for one. */
export const SMUGGLED = "smuggled";

const INNER = `GET /save/${SMUGGLED}/1 HTTP/1.1\r\nHost: x\r\n\r\n`;
const LENGTH = `Content-Length: ${INNER.length}`;
const CHUNKED = "Transfer-Encoding: chunked";

/** Header blocks whose framing nobody can trust; INNER follows each. */
const UNTRUSTED: readonly string[] = [
  `${LENGTH}\r\nContent-Length: ${INNER.length + 1}`,
  `Content-Length: ${INNER.length}, ${INNER.length + 1}`,
  `Content-Length: +${INNER.length}`,
  "Content-Length: -1",
  "Content-Length: 0x10",
  "Content-Length: 1e1",
  "Content-Length: 1 0",
  "Content-Length:",
  "Content-Length: 99999999999999999999",
  "Content-Length: 9007199254740993",
  `${LENGTH}\r\n${CHUNKED}x`,
  `${LENGTH} \r\nContent-Length : 0`,
  "Transfer-Encoding: chunked, chunked",
  "Transfer-Encoding: gzip",
  "Transfer-Encoding: chunked, gzip",
  "Transfer-Encoding: chunked, identity",
  "Transfer-Encoding:",
  "Transfer-Encoding: \vchunked",
  'Transfer-Encoding: "chunked"',
  "Transfer-Encoding : chunked",
  ` ${LENGTH}`,
  "A: b\r\n folded",
  "A: b\r\n\tTransfer-Encoding: chunked",
  "A: b\nTransfer-Encoding: chunked",
  "A: b\rTransfer-Encoding: chunked",
  "A: b\0c",
  "A: b\x7fc\x01",
  "No colon",
  ": no name",
  "A b: c",
  "(A): c",
  "\xe4: c",
  "Host: two",
];

/** Chunked bodies that are damaged; INNER stands within or behind. */
const DAMAGED_CHUNKS: readonly string[] = [
  `zz\r\n${INNER}`,
  `-1\r\n${INNER}`,
  `+5\r\nabcde\r\n0\r\n\r\n${INNER}`,
  `0x5\r\nabcde\r\n0\r\n\r\n${INNER}`,
  `5 5\r\nabcde\r\n0\r\n\r\n${INNER}`,
  `\r\n${INNER}`,
  `fffffffffffffffff\r\n${INNER}`,
  `10000000000000005\r\nabcde\r\n0\r\n\r\n${INNER}`,
  `3\r\nabcde\r\n0\r\n\r\n${INNER}`,
  `5\nabcde\n0\n\n${INNER}`,
  `5\r\nabcde0\r\n\r\n${INNER}`,
  `5;\0\r\nabcde\r\n0\r\n\r\n${INNER}`,
  `5\r\r\nabcde\r\n0\r\n\r\n${INNER}`,
  `0\r\nBad trailer\r\n\r\n${INNER}`,
  `0\r\nA : b\r\n\r\n${INNER}`,
];

/** Request lines that are none. */
const BAD_LINES: readonly string[] = [
  "GET  / HTTP/1.1",
  "GET / HTTP/1.1 ",
  " GET / HTTP/1.1",
  "GET /",
  "GET / http/1.1",
  "GET / HTTP/1.10",
  "GET / HTTP/2.0",
  "GET / HTTP/0.9",
  "GET / HTTP/1.1\0",
  "G\0T / HTTP/1.1",
  "G(T / HTTP/1.1",
  "GET /\0 HTTP/1.1",
  "GET /a b HTTP/1.1",
  "GET /load/\x01 HTTP/1.1",
  "GET\t/\tHTTP/1.1",
  "GET HTTP/1.1",
  "/ HTTP/1.1",
  "PRI * HTTP/2.0",
  "\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03",
];

/** Targets that are odd, each with whatever answer but a failure. */
const ODD_TARGETS: readonly string[] = [
  "*",
  "http://",
  "http:///load/a",
  "https://user:pass@h:99999/load/a",
  "ftp://x/",
  "x:80",
  "//load/a",
  "/./load/a",
  "/load/../secret.txt",
  "/load/..%2fsecret.txt",
  "/v1/keys/..%2F..%2Fsecret.txt",
  "/v1/keys/%2e%2e%2fsecret.txt",
  "/v1/keys/.kvs%2flock",
  "/v1/keys/.kvs",
  "/load/.",
  "/load/..",
  "/load/%00",
  "/load/%2",
  "/load/%",
  "/load/%u0041",
  "/load/%ed%a0%80",
  "/load/%c0%af",
  "/load/%f4%90%80%80",
  "/load/a#fragment",
  "/load/\xff\xfe",
  `/load/${utf8("字")}`,
  "/load/a\\..\\b",
  "/save//",
  "/save/a",
  "/v1/keys/",
  "/v1/keys?limit=0",
  "/v1/keys?limit=-1",
  "/v1/keys?limit=1e9",
  "/v1/keys?limit=x",
  "/v1/keys?after=%ff",
  "/v1/keys?prefix=%",
  "/v1/keys?after=+%2B%+",
  "/v1/keys?+=+&%70refix=a",
  "/v1/keys?limit=10000000000",
  "/v1/keys/a?me",
  "/v1/batch?&=",
  "/v1/keys?prefix=a&prefix=b&&=&x",
  "/metrics",
  "/readyz?x",
  "/__proto__",
  "/constructor",
  "/v1/toString",
  "/v2/keys/a",
  `/load/${"a".repeat(300)}`,
  `/load/${"%61".repeat(5000)}`,
  `/${"a/".repeat(3000)}`,
];

const ODD_FIELDS: readonly string[] = [
  "Expect: 200-ok",
  "Expect: 100-continue, 100-continue",
  "If-Match: *",
  'If-Match: W/"a", "b',
  "If-None-Match: ,,,",
  "If-None-Match: \xff",
  'If-Match: "a"\r\nIf-None-Match: *',
  "Range: bytes=0-0,5-1,-9999999999999999999",
  "Range: bytes=-",
  "Upgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings",
  "Connection: close, keep-alive, ,",
  "Connection: Content-Length",
  "Accept: application/x-ndjson",
  "Accept: ;;;,q=9,application/x-ndjson;q=0",
  "Content-Type: \xff\xfe",
  "Content-Encoding: gzip",
  "Authorization: Bearer",
  "Authorization: Basic !!!!",
  "Date: never",
  "Origin: \xff://",
  "Origin: http://[::1",
  "Sec-Fetch-Site: cross-site, none",
  "Content-Range: bytes */0",
  "Content-Encoding: ,",
];

/** A request whose answer must not be trusted to be a good one; `keys` begins the keys it may write. */
export function badRequest(dice: Dice, keys: string): Piece {
  const url = `${keys}${dice.integer(0, 20)}`;
  const piece = (bytes: string, outcome: Piece["outcome"]): Piece => ({
    bytes,
    outcome,
    toHead: bytes.startsWith("HEAD "),
  });
  switch (dice.integer(0, 9)) {
    case 0:
    case 1: {
      const line = dice.of([`PUT /v1/keys/${url}`, `GET /load/${url}`, "POST /v1/batch", "GET /"]);
      const fields = dice.of(UNTRUSTED);
      return piece(`${line} HTTP/1.1\r\nHost: x\r\n${fields}\r\n\r\n${INNER}`, "refused");
    }
    case 2:
    case 3: {
      const line = dice.of([`PUT /v1/keys/${url}`, "POST /v1/batch"]);
      const body = dice.of(DAMAGED_CHUNKS);
      // A batch is answered while it comes in, so the damage may cut off an answer that is under way.
      const outcome = line.startsWith("PUT") ? "refused" : "noise";
      return piece(`${line} HTTP/1.1\r\nHost: x\r\n${CHUNKED}\r\n\r\n${body}`, outcome);
    }
    case 4:
      return piece(`${dice.of(BAD_LINES)}\r\nHost: x\r\n\r\n${INNER}`, "refused");
    case 5:
      return piece(
        dice.of([
          `GET /load/${url} HTTP/1.1\r\n\r\n`,
          `GET /load/${url} HTTP/1.1\r\nHost: x\r\nHost: x\r\n\r\n`,
          `GET /load/${url} HTTP/1.1\r\nHost: x\r\nA: ${"b".repeat(100_000)}\r\n\r\n`,
          `GET /load/${url} HTTP/1.1\r\nHost: x\r\n${"A: b\r\n".repeat(5000)}\r\n`,
          `GET /load/${"a".repeat(100_000)} HTTP/1.1\r\nHost: x\r\n\r\n`,
          `${"A".repeat(70_000)} / HTTP/1.1\r\nHost: x\r\n\r\n`,
        ]) + INNER,
        "refused",
      );
    case 6: {
      const method = dice.of(["GET", "HEAD", "PUT", "DELETE", "POST", "OPTIONS", "TRACE", "BREW"]);
      const fields = dice.chance(0.5) ? [LENGTH] : [];
      for (let count = dice.integer(0, 3); count > 0; count--) fields.push(dice.of(ODD_FIELDS));
      const block = ["Host: x", ...fields].join("\r\n");
      const target = dice.of(ODD_TARGETS);
      const body = fields.includes(LENGTH) ? INNER : "";
      // Odd targets may end within the key names that INNER uses, never in INNER itself.
      return piece(`${method} ${target} HTTP/1.1\r\n${block}\r\n\r\n${body}`, "either");
    }
    case 7: {
      const coded = `${INNER.length.toString(16)}\r\n${INNER}\r\n0\r\n\r\n`;
      const [fields, body] = dice.of<[string, string]>([
        // RFC 9112 6.3 lets a server take these by the chunks, but then it has to close.
        [`${LENGTH}\r\n${CHUNKED}`, coded],
        [`${CHUNKED}\r\n${LENGTH}`, coded],
        [`${LENGTH}\r\n${LENGTH}`, INNER],
        [`Content-Length: ${INNER.length}, ${INNER.length}`, INNER],
        [`${CHUNKED}\r\n${CHUNKED}`, coded],
        [`Content-Length: 0${INNER.length}`, INNER],
        [`Content-Length: 70000`, INNER.padEnd(70_000, INNER)],
        [`Expect: 100-continue\r\nContent-Length: 70000`, INNER.padEnd(70_000, INNER)],
        [
          `${CHUNKED}\r\nExpect: 100-continue`,
          `11170\r\n${INNER.padEnd(70_000, INNER)}\r\n0\r\n\r\n`,
        ],
      ]);
      const line = dice.of([`PUT /v1/keys/${url}`, `GET /load/${url}`, "PUT /healthz", "GET /x/y"]);
      return piece(`${line} HTTP/1.1\r\nHost: x\r\n${fields}\r\n\r\n${body}`, "either");
    }
    case 8: {
      const body = dice.of([
        "\n\n\n",
        "null\n[]\n1\n",
        '{"op":"put"}\n{"op":"fly","key":"a"}\n',
        '{"op":"get","key":"__proto__"}\n{"__proto__":{"op":"get"}}\n',
        `{"op":"put","key":"${url}","base64":"***"}\n`,
        `{"op":"put","key":"${url}","value":1}\n{"op":"put","key":7,"value":"x"}`,
        `{"op":"put","key":"\\ud800","value":"x"}\n`,
        `{"op":"put","key":"${url}","value":"\\ud800"}\n`,
        `{"op":"put","key":"..","value":"x"}\n{"op":"get","key":"../secret.txt"}\n`,
        `{"op":"get","key":"${"k".repeat(60_000)}"}\n`,
        "[".repeat(50_000),
        "\xff\xfe\n",
        "\0\0\0\n",
      ]);
      const fields = `Host: x\r\nContent-Length: ${body.length}`;
      return piece(`POST /v1/batch HTTP/1.1\r\n${fields}\r\n\r\n${body}`, "either");
    }
    default:
      return dice.chance(0.3) ? noise(dice) : mutated(dice, url);
  }
}

function noise(dice: Dice): Piece {
  const length = Math.floor(dice.logarithmic(1, 3000));
  // Whatever it begins as, it ends as no request: else the one behind it would be its end.
  const bytes = latin1(Uint8Array.from({ length }, () => dice.integer(0, 255))) + "\x01";
  return { bytes, toHead: false, outcome: "noise" };
}

/** A good request with some damage, which may be none. */
function mutated(dice: Dice, url: string): Piece {
  let bytes = dice.of([
    `GET /save/${url}/word HTTP/1.1\r\nHost: x\r\nAccept: */*\r\n\r\n`,
    `GET /load/${url} HTTP/1.1\r\nHost: x\r\nConnection: keep-alive\r\n\r\n`,
    `PUT /v1/keys/${url} HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nIf-Match: "a"\r\n\r\nabcde`,
    `PUT /v1/keys/${url} HTTP/1.1\r\nHost: x\r\n${CHUNKED}\r\n\r\n5;a=b\r\nabcde\r\n0\r\n\r\n`,
    `POST /v1/batch HTTP/1.1\r\nHost: x\r\nContent-Length: 25\r\n\r\n{"op":"get","key":"mut1"}`,
    `GET /v1/keys?prefix=${url}&limit=3 HTTP/1.1\r\nHost: x\r\nAccept: application/x-ndjson\r\n\r\n`,
  ]);
  for (let count = dice.integer(1, 5); count > 0; count--) {
    const at = dice.integer(0, bytes.length);
    const end = Math.min(bytes.length, at + dice.integer(0, 4));
    const instead = dice.of([
      "",
      bytes.slice(at, end).repeat(2),
      String.fromCharCode(dice.integer(0, 255)),
      dice.of(["\r\n", "\n", "\r", "\0", " ", "\t", ":", ";", "%", "/", "?", "\r\n\r\n", "-", "9"]),
    ]);
    bytes = bytes.slice(0, at) + instead + bytes.slice(end);
  }
  return { bytes, toHead: false, outcome: "noise" };
}
