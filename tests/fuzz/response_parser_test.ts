import { assertEquals, assertThrows } from "@std/assert";
import { CutOffAnswer, MalformedAnswer, ResponseParser } from "./response_parser.ts";

const DATE = "date: Tue, 24 Nov 2026 15:35:25 GMT\r\n";

Deno.test("ResponseParser reads interim, sized, chunked and empty answers in order", () => {
  const parser = new ResponseParser(
    `HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n${DATE}content-length: 2\r\n\r\nab` +
      `HTTP/1.1 200 OK\r\n${DATE}transfer-encoding: chunked\r\n\r\n2\r\ncd\r\n0\r\n\r\n` +
      `HTTP/1.1 200 OK\r\n${DATE}content-length: 9\r\n\r\n` +
      `HTTP/1.1 204 No Content\r\n${DATE}connection: close\r\n\r\n`,
  );
  assertEquals(parser.next(false)?.body, "ab");
  assertEquals(parser.next(false)?.body, "cd");
  assertEquals(parser.next(true)?.status, 200);
  assertEquals(parser.next(false)?.closes, true);
  assertEquals(parser.next(false), undefined);
});

for (
  const [what, text] of [
    ["no status line", "hello\r\n\r\n"],
    ["a bare line feed", `HTTP/1.1 200 OK\n${DATE}\r\n`],
    ["space before a colon", `HTTP/1.1 200 OK\r\n${DATE}content-length : 0\r\n\r\n`],
    ["a field twice", `HTTP/1.1 200 OK\r\n${DATE}content-length: 0\r\ncontent-length: 0\r\n\r\n`],
    ["a body without a length", `HTTP/1.1 200 OK\r\n${DATE}\r\nabc`],
    [
      "a chunk that is too long",
      `HTTP/1.1 200 OK\r\n${DATE}transfer-encoding: chunked\r\n\r\n1\r\nab\r\n`,
    ],
    ["no date", "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"],
    ["a stray body of 204", `HTTP/1.1 204 No Content\r\n${DATE}content-length: 1\r\n\r\na`],
  ] as const
) {
  Deno.test(`ResponseParser refuses ${what}`, () => {
    assertThrows(() => new ResponseParser(text).next(false), MalformedAnswer);
  });
}

Deno.test("ResponseParser tells what was cut off from what is wrong", () => {
  const text = `HTTP/1.1 200 OK\r\n${DATE}content-length: 3\r\n\r\nab`;
  assertThrows(() => new ResponseParser(text).next(false), CutOffAnswer);
});
