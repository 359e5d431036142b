import { assert, assertEquals, assertNotEquals } from "@std/assert";
import fc from "fast-check";
import { findHeader, HeadState, RequestHead } from "../../../core/http/head.ts";
import { MAX_HEADERS, parseHead } from "../../../core/http/parser.ts";
import { latin1, RELAXED } from "./testing.ts";

/** Stands before and behind each request, and must not matter. */
const PADDING = "\r\n\r\nX: y\r\n\r\n";

function padded(text: string): Uint8Array {
  return latin1(PADDING + text + PADDING);
}

/** Parses the first `size` characters of `text`, of which `bytes` are the bytes. */
function parse(
  text: string,
  size = text.length,
  bytes = padded(text),
): { head: RequestHead; state: HeadState; bytes: Uint8Array } {
  const head = new RequestHead();
  const start = PADDING.length;
  const state = parseHead(bytes, start, start + size, RELAXED, head);
  return { head, state, bytes };
}

/** What {@link parse} finds. */
function summary(text: string, size = text.length, bytes = padded(text)): unknown {
  const { head, state } = parse(text, size, bytes);
  if (state === HeadState.incomplete) return "incomplete";
  if (state === HeadState.refused) return head.status;
  const { method, path, query, http10, keepAlive, contentLength, chunked, expectsContinue } = head;
  return { method, path, query, http10, keepAlive, contentLength, chunked, expectsContinue };
}

const PLAIN = {
  method: "GET",
  path: "/",
  query: "",
  http10: false,
  keepAlive: true,
  contentLength: undefined,
  chunked: false,
  expectsContinue: false,
};

/** A request with a Host header and these lines more. */
const withHeaders = (...lines: string[]) =>
  ["GET / HTTP/1.1", "Host: x", ...lines, "", ""].join("\r\n");

const withTarget = (target: string, method = "GET") =>
  `${method} ${target} HTTP/1.1\r\nHost: x\r\n\r\n`;

const ACCEPTED: Record<string, [string, Partial<typeof PLAIN> | { contentLength: number }]> = {
  "plain": [withHeaders(), {}],
  "empty line before": ["\r\n" + withHeaders(), {}],
  "query": [withTarget("/a?b=c?d"), { path: "/a", query: "b=c?d" }],
  "empty query": [withTarget("/a?"), { path: "/a" }],
  "escapes and dots stay": [withTarget("/a/../%2F%zz//."), { path: "/a/../%2F%zz//." }],
  "characters that should be escaped": [withTarget('/"<>\\^`{|}'), { path: '/"<>\\^`{|}' }],
  "UTF-8 unescaped": [withTarget("/\xc3\xa4"), { path: "/ä" }],
  "byte order mark stays": [withTarget("/\xef\xbb\xbfa"), { path: "/\ufeffa" }],
  "absolute form": [withTarget("http://h:80/p?q"), { path: "/p", query: "q" }],
  "absolute form, no path": [withTarget("HTTPS://h"), { path: "/" }],
  "absolute form, query alone": [withTarget("http://h?q"), { path: "/", query: "q" }],
  "asterisk form": [withTarget("*", "OPTIONS"), { method: "OPTIONS", path: "*" }],
  "unknown method": [withTarget("/", "BREW-X"), { method: "BREW-X" }],
  "lower case method is another": [withTarget("/", "get"), { method: "get" }],
  "PUT": [withTarget("/", "PUT"), { method: "PUT" }],
  "long path": [withTarget("/" + "a".repeat(4095)), { path: "/" + "a".repeat(4095) }],
  "name in any case": ["GET / HTTP/1.1\r\nhOsT: x\r\n\r\n", {}],
  "empty Host": ["GET / HTTP/1.1\r\nHost:\r\n\r\n", {}],
  "Host with port": ["GET / HTTP/1.1\r\nHost: [::1]:80\r\n\r\n", {}],
  "no blank behind colon": ["GET / HTTP/1.1\r\nHost:x\r\n\r\n", {}],
  "blanks around value": ["GET / HTTP/1.1\r\nHost: \t x \t\r\n\r\n", {}],
  "tab and obs-text in value": [withHeaders("A: b\tc\xff"), {}],
  "empty value": [withHeaders("A:"), {}],
  "content length": [withHeaders("Content-Length: 5"), { contentLength: 5 }],
  "zero length": [withHeaders("Content-Length: 0"), { contentLength: 0 }],
  "leading zeros": [withHeaders("Content-Length: 0005"), { contentLength: 5 }],
  "2^53 - 1": [withHeaders("Content-Length: 9007199254740991"), { contentLength: 2 ** 53 - 1 }],
  "chunked": [withHeaders("Transfer-Encoding: CHUNKED"), { chunked: true }],
  "close": [withHeaders("Connection: close"), { keepAlive: false }],
  "close in a list": [withHeaders("Connection: x,\tClose , y"), { keepAlive: false }],
  "close in a second line": [withHeaders("Connection: x", "Connection: close"), {
    keepAlive: false,
  }],
  "close wins": [withHeaders("Connection: keep-alive, close"), { keepAlive: false }],
  "not quite close": [withHeaders("Connection: closed"), {}],
  "expect": [withHeaders("Expect: 100-Continue"), { expectsContinue: true }],
  "1.0": ["GET / HTTP/1.0\r\n\r\n", { http10: true, keepAlive: false }],
  "1.0 keep-alive": ["GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n", { http10: true }],
  "1.0 cannot expect": ["GET / HTTP/1.0\r\nExpect: 100-continue\r\n\r\n", {
    http10: true,
    keepAlive: false,
  }],
};

for (const [name, [request, expected]] of Object.entries(ACCEPTED)) {
  Deno.test(`parseHead() accepts: ${name}`, () => {
    assertEquals(summary(request), { ...PLAIN, ...expected });
  });
}

const REFUSED: Record<string, [string, number]> = {
  "two empty lines before": ["\r\n\r\n" + withHeaders(), 400],
  "bare CR before": ["\rGET / HTTP/1.1\r\n", 400],
  "bare LF before": ["\nGET / HTTP/1.1\r\n", 400],
  "blank before method": [" GET / HTTP/1.1\r\nHost: x\r\n\r\n", 400],
  "no method": ["/ HTTP/1.1\r\nHost: x\r\n\r\n", 400],
  "method with a colon": ["G:T / HTTP/1.1\r\nHost: x\r\n\r\n", 400],
  "endless method": ["G".repeat(33), 400],
  "two blanks": ["GET  / HTTP/1.1\r\nHost: x\r\n\r\n", 400],
  "tab for blank": ["GET\t/ HTTP/1.1\r\nHost: x\r\n\r\n", 400],
  "blank in target": ["GET /a b HTTP/1.1\r\nHost: x\r\n\r\n", 400],
  "HTTP/0.9": ["GET /\r\n", 400],
  "no target": ["GET HTTP/1.1\r\nHost: x\r\n\r\n", 400],
  "NUL in target": [withTarget("/a\0b"), 400],
  "DEL in target": [withTarget("/a\x7f"), 400],
  "fragment": [withTarget("/a#b"), 400],
  "not UTF-8": [withTarget("/\xff"), 400],
  "UTF-8 cut off": [withTarget("/\xc3"), 400],
  "overlong UTF-8": [withTarget("/\xc0\xaf"), 400],
  "relative target": [withTarget("a/b"), 400],
  "other scheme": [withTarget("ftp://h/p"), 400],
  "scheme without host": [withTarget("http:///p"), 400],
  "asterisk with GET": [withTarget("*"), 400],
  "CONNECT": [withTarget("h:80", "CONNECT"), 501],
  "target too long": ["GET /" + "a".repeat(4096) + " HTTP/1.1\r\n", 414],
  "target too long, not over yet": ["GET /" + "a".repeat(4096), 414],
  "HTTP/2": ["PRI * HTTP/2.0\r\n\r\n", 505],
  "HTTP/1.2": ["GET / HTTP/1.2\r\n\r\n", 505],
  "HTTP/1.10": ["GET / HTTP/1.10\r\n\r\n", 400],
  "HTTP/11": ["GET / HTTP/11\r\n\r\n", 505],
  "lower case version": ["GET / http/1.1\r\n\r\n", 400],
  "something behind version": ["GET / HTTP/1.1 \r\nHost: x\r\n\r\n", 400],
  "bare LF behind request line": ["GET / HTTP/1.1\nHost: x\n\n", 400],
  "bare LF behind header": ["GET / HTTP/1.1\r\nHost: x\nA: b\r\n\r\n", 400],
  "bare LF at the end": ["GET / HTTP/1.1\r\nHost: x\r\n\n", 400],
  "bare CR in header": [withHeaders("A: b\rc"), 400],
  "bare CR at the end": ["GET / HTTP/1.1\r\nHost: x\r\n\rA", 400],
  "NUL in value": [withHeaders("A: b\0c"), 400],
  "DEL in value": [withHeaders("A: b\x7f"), 400],
  "blank before colon": [withHeaders("A : b"), 400],
  "tab before colon": [withHeaders("A\t: b"), 400],
  "blank before name": ["GET / HTTP/1.1\r\n Host: x\r\n\r\n", 400],
  "folded value": [withHeaders("A: b", " c"), 400],
  "empty name": [withHeaders(": b"), 400],
  "no colon": [withHeaders("A"), 400],
  "name with obs-text": [withHeaders("\xe4: b"), 400],
  "name with a bracket": [withHeaders("A[]: b"), 400],
  "no Host": ["GET / HTTP/1.1\r\n\r\n", 400],
  "two Hosts": ["GET / HTTP/1.1\r\nHost: x\r\nHost: x\r\n\r\n", 400],
  "two Hosts in 1.0": ["GET / HTTP/1.0\r\nHost: x\r\nHost: x\r\n\r\n", 400],
  "blank in Host": ["GET / HTTP/1.1\r\nHost: x y\r\n\r\n", 400],
  "list in Host": ["GET / HTTP/1.1\r\nHost: x/y\r\n\r\n", 400],
  "unknown expectation": [withHeaders("Expect: 200-ok"), 417],
  "headers too large": [withHeaders("A: " + "b".repeat(8192)), 431],
  "headers too large, not over yet": [withHeaders("A: " + "b".repeat(8192)).slice(0, -4), 431],
  "too many headers": [withHeaders(...Array.from({ length: MAX_HEADERS }, () => "A: b")), 431],
};

// Each made a proxy and a server disagree on the end of a request.
const SMUGGLING: Record<string, [string[], number]> = {
  "both lengths": [["Content-Length: 4", "Transfer-Encoding: chunked"], 400],
  "both lengths, other order": [["Transfer-Encoding: chunked", "Content-Length: 4"], 400],
  "two equal lengths": [["Content-Length: 4", "Content-Length: 4"], 400],
  "two lengths": [["Content-Length: 4", "Content-Length: 5"], 400],
  "list of lengths": [["Content-Length: 4, 4"], 400],
  "plus": [["Content-Length: +4"], 400],
  "minus": [["Content-Length: -4"], 400],
  "hexadecimal": [["Content-Length: 0x4"], 400],
  "exponent": [["Content-Length: 1e3"], 400],
  "fraction": [["Content-Length: 4.0"], 400],
  "underscore": [["Content-Length: 1_0"], 400],
  "blank within": [["Content-Length: 4 4"], 400],
  "no digits": [["Content-Length:"], 400],
  "other digits": [["Content-Length: \xb2"], 400],
  "2^53": [["Content-Length: 9007199254740992"], 400],
  "2^64 + 4": [["Content-Length: 18446744073709551620"], 400],
  "blank before colon": [["Content-Length : 4"], 400],
  "tab before colon": [["Transfer-Encoding\t: chunked"], 400],
  "vertical tab": [["Transfer-Encoding: \x0bchunked"], 400],
  "folded": [["Transfer-Encoding:", " chunked"], 400],
  "bare LF": [["A: b\nTransfer-Encoding: chunked"], 400],
  "bare CR": [["A: b\rTransfer-Encoding: chunked"], 400],
  "identity": [["Transfer-Encoding: identity"], 501],
  "gzip, chunked": [["Transfer-Encoding: gzip, chunked"], 501],
  "chunked, identity": [["Transfer-Encoding: chunked, identity"], 501],
  "chunked twice": [["Transfer-Encoding: chunked, chunked"], 501],
  "chunked in two lines": [["Transfer-Encoding: chunked", "Transfer-Encoding: chunked"], 501],
  "two codings in two lines": [["Transfer-Encoding: chunked", "Transfer-Encoding: x"], 501],
  "quoted": [['Transfer-Encoding: "chunked"'], 501],
  "xchunked": [["Transfer-Encoding: xchunked"], 501],
  "parameter": [["Transfer-Encoding: chunked;a=b"], 501],
  "empty": [["Transfer-Encoding:"], 501],
  "obs-text blank": [["Transfer-Encoding: \xa0chunked"], 501],
};
for (const [name, [lines, status]] of Object.entries(SMUGGLING)) {
  REFUSED[`smuggling: ${name}`] = [withHeaders(...lines), status];
}
REFUSED["smuggling: chunked in 1.0"] = [
  "GET / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n",
  400,
];

for (const [name, [request, status]] of Object.entries(REFUSED)) {
  Deno.test(`parseHead() refuses: ${name}`, () => {
    assertEquals(summary(request), status);
  });
}

Deno.test("parseHead() gives the same result however the bytes come", () => {
  const all = [...Object.values(ACCEPTED), ...Object.values(REFUSED)].map(([request]) => request);
  for (const request of all) {
    const whole = summary(request);
    const bytes = padded(request);
    let first: unknown = "incomplete";
    for (let size = 0; size <= request.length && first === "incomplete"; size++) {
      first = summary(request, size, bytes);
    }
    assertEquals(first, whole, request);
  }
});

Deno.test("parseHead() takes exactly the limits", () => {
  const line = "A: " + "b".repeat(8192 - "Host: x\r\n".length - "A: \r\n".length);
  assertEquals(summary(withHeaders(line)), PLAIN);
  assertEquals(summary(withHeaders(line + "b")), 431);
  const lines = Array.from({ length: MAX_HEADERS - 1 }, () => "A: b");
  assertEquals(summary(withHeaders(...lines)), PLAIN);
});

Deno.test("parseHead() leaves what is behind the head", () => {
  const request = withHeaders("Content-Length: 3");
  const { head, bytes } = parse(request + "abc");
  assertEquals(String.fromCharCode(...bytes.subarray(head.end, head.end + 3)), "abc");
});

Deno.test("findHeader() returns values as they came, joined, undefined if absent", () => {
  const { head, bytes } = parse(withHeaders("A: b, c", 'ETag:\t"x\xe4" ', "a:d", "A-B: 1", "E:"));
  assertEquals(findHeader(bytes, head, "a"), "b, c, d");
  assertEquals(findHeader(bytes, head, "etag"), '"xä"');
  assertEquals(findHeader(bytes, head, "a-b"), "1");
  assertEquals(findHeader(bytes, head, "e"), "");
  assertEquals(findHeader(bytes, head, "b"), undefined);
});

Deno.test("findHeader() maps every byte over 0x7f to its own character", () => {
  const value = Array.from({ length: 128 }, (_, i) => String.fromCharCode(128 + i)).join("");
  const { head, bytes } = parse(withHeaders(`A: ${value}`));
  assertEquals(findHeader(bytes, head, "a"), value);
});

/** The same grammar as one expression on text, from RFC 9112 and 9110, without a line of the parser. */
const GRAMMAR = new RegExp(
  "^(?:\\r\\n)?" +
    "(?<method>[!#$%&'*+.^_`|~0-9A-Za-z-]{1,32}) (?<target>/[!\"$-~]*) HTTP/1\\.(?<minor>[01])\\r\\n" +
    "(?<fields>(?:[!#$%&'*+.^_`|~0-9A-Za-z-]+:[\\t\\x20-\\x7e\\x80-\\xff]*\\r\\n)*)\\r\\n",
);

/** Whether a careful reader would take `text`, and as what; `undefined`: it must be refused. */
function model(text: string): { method: string; target: string; end: number } | undefined {
  const match = GRAMMAR.exec(text);
  if (match === null) return undefined;
  const { method = "", target = "", minor, fields = "" } = match.groups ?? {};
  const values = (name: string) =>
    fields.split("\r\n").filter((line) => line.toLowerCase().startsWith(name + ":"))
      .map((line) => line.slice(name.length + 1).replace(/^[ \t]+|[ \t]+$/g, ""));
  const hosts = values("host");
  const lengths = values("content-length");
  const encodings = values("transfer-encoding");
  if (hosts.length > 1 || (hosts.length === 0 && minor === "1")) return undefined;
  if (hosts.some((host) => /[^A-Za-z0-9\-._~%!$&'()*+,;=:[\]]/.test(host))) return undefined;
  if (lengths.length > 1 || lengths.some((length) => !/^\d{1,15}$/.test(length))) return undefined;
  if (encodings.length > 1 || encodings.some((it) => it.toLowerCase() !== "chunked")) {
    return undefined;
  }
  if (encodings.length > 0 && (lengths.length > 0 || minor === "0")) return undefined;
  if (values("expect").some((it) => it.toLowerCase() !== "100-continue")) return undefined;
  if (method === "CONNECT") return undefined;
  return { method, target, end: match[0].length };
}

Deno.test("parseHead() agrees with the grammar on requests with a few bytes changed", () => {
  const pieces = fc.constantFrom(
    "GET",
    "PUT",
    " ",
    "/",
    "/a?b",
    "HTTP/1.1",
    "HTTP/1.0",
    "\r\n",
    "\r",
    "\n",
    "\t",
    ":",
    "Host: x",
    "Host:",
    "Content-Length: 4",
    "Content-Length:",
    "Transfer-Encoding: chunked",
    "Connection: close",
    "A: b",
    "A",
    "4",
    ",",
    "\0",
    "\x7f",
    "\xe4",
    "#",
    "\r\n\r\n",
    "Expect: 100-continue",
  );
  const edit = fc.record({
    at: fc.nat(200),
    remove: fc.nat(3),
    insert: fc.oneof(fc.constant(""), pieces),
  });
  const lines = fc.array(
    fc.constantFrom(
      "Content-Length: 4",
      "Transfer-Encoding: chunked",
      "Connection: close",
      "A: b \xff",
      "b:",
    ),
    { maxLength: 3 },
  );
  let taken = 0;
  let refused = 0;
  fc.assert(
    fc.property(lines, fc.array(edit, { maxLength: 3 }), (headers, edits) => {
      let text = withHeaders(...headers);
      for (const { at, remove, insert } of edits) {
        const place = at % (text.length + 1);
        text = text.slice(0, place) + insert + text.slice(place + remove);
      }
      const expected = model(text);
      const { head, state, bytes } = parse(text);
      if (expected === undefined) {
        refused++;
        assertNotEquals(state, HeadState.complete, JSON.stringify(text));
      } else {
        taken++;
        assertEquals(state, HeadState.complete, JSON.stringify(text) + head.detail);
        const target = head.path + (expected.target.includes("?") ? `?${head.query}` : "");
        assertEquals(
          { method: head.method, target, end: head.end - (bytes.length - text.length) / 2 },
          expected,
        );
      }
    }),
    { numRuns: 20_000 },
  );
  // The edits must not be so wild, or so tame, that one side is hardly tried.
  assert(taken > 500 && refused > 500, `${taken} taken, ${refused} refused`);
});
