import { assertEquals, assertThrows } from "@std/assert";
import type { Piece } from "./good_requests.ts";
import { judge } from "./session.ts";

const DATE = "date: Tue, 24 Nov 2026 15:35:25 GMT\r\n";
const answer = (status: number, body: string, more = "") =>
  `HTTP/1.1 ${status} X\r\n${DATE}${more}content-length: ${body.length}\r\n\r\n${body}`;
const piece = (outcome: Piece["outcome"], body = ""): Piece => ({
  bytes: "",
  toHead: false,
  outcome,
  check: (answer) => answer.body === body ? undefined : `body ${answer.body}`,
});
const PIPELINE = [piece("answer", "a"), piece("refused"), piece("answer", "never")];
const RIGHT = answer(200, "a") + answer(400, "no", "connection: close\r\n");

Deno.test("judge() takes the answers that a pipeline must get, and counts them", () => {
  const statuses = new Map<number, number>();
  judge(PIPELINE, { received: RIGHT, reset: false }, statuses, false);
  assertEquals([...statuses], [[200, 1], [400, 1]]);
});

for (
  const [what, received, message] of [
    ["an answer of another request", RIGHT.replace("\r\n\r\na", "\r\n\r\nb"), "body b"],
    ["a refusal that stays open", answer(200, "a") + answer(400, "no"), "refused and closed"],
    ["a good answer to what is damaged", answer(200, "a") + answer(200, ""), "refused and closed"],
    ["more after the last answer", RIGHT + answer(200, "never"), "More after"],
    ["a missing answer", answer(200, "a"), "No answer to request 1"],
    ["a failure", answer(500, "Internal error"), "Status 500"],
    ["503 from a server that serves", answer(503, "_shutting_down_"), "Status 503"],
    ["a file from outside", answer(200, "SECRET"), "outside"],
    ["half an answer", RIGHT.slice(0, -1), "1 bytes of a body of 2"],
  ] as const
) {
  Deno.test(`judge() finds ${what}`, () => {
    assertThrows(
      () => judge(PIPELINE, { received, reset: false }, new Map(), false),
      Error,
      message,
    );
  });
}

Deno.test("judge() finds an answer too many", () => {
  const received = answer(200, "a") + answer(200, "smuggled");
  assertThrows(
    () => judge([piece("answer", "a")], { received, reset: false }, new Map(), false),
    Error,
    "An answer too many",
  );
});
