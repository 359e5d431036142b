import { assertEquals, assertRejects } from "@std/assert";
import { AnswerAllowance } from "../../../core/server/answer_allowance.ts";
import { streamParts } from "../../../core/server/batch_route.ts";
import { BusyError } from "../../../core/errors.ts";

const MIB = 1024 * 1024;

/** Lets everything go on that can. */
async function turn(): Promise<void> {
  await new Promise((resolve) => setTimeout(resolve, 0));
}

/** Asks for allowance for an answer; `events` gets `name` when it has it. */
function grow(allowance: AnswerAllowance, size: number, name: string, events: string[]) {
  const share = allowance.share();
  const done = share.growTo(size).then(() => {
    events.push(name);
  });
  return { share, done };
}

Deno.test("AnswerAllowance hands out no more than there is, but to one, and in order", async () => {
  const allowance = new AnswerAllowance(4 * MIB);
  const events: string[] = [];
  const asked = ["a", "b", "c", "d", "e"].map((name) => grow(allowance, 3 * MIB, name, events));
  await turn();
  // The second may have more than is left.
  assertEquals(events, ["a", "b"]);
  asked[0]?.share.release();
  await turn();
  assertEquals(events, ["a", "b"]);
  asked[1]?.share.release();
  await turn();
  assertEquals(events, ["a", "b", "c", "d"]);
  asked[2]?.share.release();
  asked[3]?.share.release();
  await Promise.all(asked.map(({ done }) => done));
  assertEquals(events, ["a", "b", "c", "d", "e"]);
});

Deno.test("answers that each hold a part of the allowance do not wait for each other for ever", async () => {
  const allowance = new AnswerAllowance(2 * MIB);
  let ended = 0;
  await Promise.all(Array.from({ length: 20 }, async () => {
    const share = allowance.share();
    for (let size = 0; size < 3 * MIB; size += MIB / 10) {
      await share.growTo(size);
      await turn();
    }
    share.release();
    ended++;
  }));
  assertEquals(ended, 20);
});

Deno.test("AnswerAllowance lets nobody wait for longer than it is told to", async () => {
  const allowance = new AnswerAllowance(MIB, 10);
  const holder = allowance.share();
  await holder.growTo(2 * MIB);
  const share = allowance.share();
  await assertRejects(() => share.growTo(MIB), BusyError);
  share.release();
  holder.release();
  await share.growTo(MIB);
});

Deno.test("a small answer needs no allowance", async () => {
  const allowance = new AnswerAllowance(0);
  const holder = allowance.share();
  await holder.growTo(MIB);
  const share = allowance.share();
  await share.growTo(64 * 1024);
  assertEquals(share.steps, 0);
});

Deno.test("an answer gives its allowance back part by part, while the client reads", async () => {
  const allowance = new AnswerAllowance(4 * MIB);
  const [first, second, third] = [allowance.share(), allowance.share(), allowance.share()];
  await first.growTo(3 * MIB);
  // More than is left.
  await second.growTo(3 * MIB);
  const parts = Array.from({ length: 24 }, () => new Uint8Array(MIB / 8).fill(1));
  const reader = streamParts(parts, (left) => second.shrinkTo(left)).getReader();
  const events: string[] = [];
  const done = third.growTo(MIB).then(() => events.push("third"));
  // What is being sent counts as long as it is.
  for (let read = 0; read < 16; read++) await reader.read();
  await turn();
  assertEquals(events, []);
  for (let read = 16; read < 20; read++) await reader.read();
  await turn();
  assertEquals(events, ["third"]);
  await done;
  await reader.cancel();
  assertEquals(second.steps, 0);
  first.release();
  third.release();
  // All of it is there again: only the second of these has more than is left.
  const [whole, more] = [allowance.share(), allowance.share()];
  await whole.growTo(4 * MIB);
  await more.growTo(MIB);
});
