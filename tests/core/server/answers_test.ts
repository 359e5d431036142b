import { assertEquals } from "@std/assert";
import { DeferredAnswer } from "../../../core/server/answers.ts";
import { type HttpResponse } from "../../../core/http/types.ts";

const teapot = (text: string): HttpResponse => ({ status: 418, body: text });
const failed = (error: unknown): HttpResponse => ({ status: 500, body: String(error) });
const never = (): never => {
  throw new Error("must not be called");
};

Deno.test("DeferredAnswer passes on the answer that is made of the value", async () => {
  const answer = new DeferredAnswer(Promise.resolve("tea"), teapot);
  const finish = (response: HttpResponse) => ({ ...response, etag: '"finished"' });
  assertEquals(await answer.settle(finish, never), {
    status: 418,
    body: "tea",
    etag: '"finished"',
  });
});

Deno.test("DeferredAnswer answers where there is no value, or no answer can be made of it", async () => {
  const refused = new DeferredAnswer(Promise.reject(new Error("full")), never);
  assertEquals(await refused.settle(never, failed), { status: 500, body: "Error: full" });
  const broken = new DeferredAnswer(Promise.resolve(1), never);
  const expected = { status: 500, body: "Error: must not be called" };
  assertEquals(await broken.settle(never, failed), expected);
});
