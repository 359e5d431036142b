import { assert, assertEquals } from "@std/assert";
import { Breaker, type Rest, type Ticket } from "../../../core/client/breaker.ts";
import { FakeClock } from "./fake_clock.ts";

function ticketOf(breaker: Breaker): Ticket {
  const admission = breaker.admit();
  assert("succeed" in admission, "not admitted");
  return admission;
}

function restOf(breaker: Breaker): Rest {
  const admission = breaker.admit();
  assert("waitMs" in admission, "admitted");
  return admission;
}

function broken(clock: FakeClock): Breaker {
  const breaker = new Breaker(clock);
  for (let n = 0; n < 3; n++) ticketOf(breaker).fail();
  return breaker;
}

Deno.test("Breaker leaves a server alone after three failures in a row, not before", () => {
  const breaker = new Breaker(new FakeClock());
  for (let round = 0; round < 5; round++) {
    ticketOf(breaker).fail();
    ticketOf(breaker).fail();
    ticketOf(breaker).succeed();
  }
  for (let n = 0; n < 3; n++) ticketOf(breaker).fail();
  assertEquals(restOf(breaker), { waitMs: 250, change: undefined });
});

Deno.test("Breaker lets one probe through, and the rest grows as long as probes fail", () => {
  const clock = new FakeClock();
  const breaker = broken(clock);
  const rests: number[] = [];
  for (let n = 0; n < 7; n++) {
    const { waitMs } = restOf(breaker);
    rests.push(waitMs);
    clock.pass(waitMs - 1);
    assertEquals(restOf(breaker).waitMs, 1);
    clock.pass(1);
    const probe = ticketOf(breaker);
    assertEquals(restOf(breaker).waitMs, Infinity);
    probe.fail();
  }
  assertEquals(rests, [250, 500, 1000, 2000, 4000, 4000, 4000]);
  clock.pass(4000);
  ticketOf(breaker).succeed();
  // As new: two failures are nothing, and the third brings the first rest.
  for (let n = 0; n < 3; n++) ticketOf(breaker).fail();
  assertEquals(restOf(breaker).waitMs, 250);
});

Deno.test("Breaker counts what was under way when the rest began as nothing new", () => {
  const clock = new FakeClock();
  const breaker = new Breaker(clock);
  const tickets = Array.from({ length: 64 }, () => ticketOf(breaker));
  clock.pass(100);
  for (const ticket of tickets.slice(0, 32)) ticket.fail();
  clock.pass(100);
  for (const ticket of tickets.slice(32, 63)) ticket.fail();
  assertEquals(restOf(breaker).waitMs, 150);
  // But an answer is an answer.
  tickets[63]?.succeed();
  ticketOf(breaker).succeed();
});

Deno.test("Breaker rests as long as the server asked, where that is longer", () => {
  const breaker = new Breaker(new FakeClock());
  for (let n = 0; n < 3; n++) ticketOf(breaker).fail(1000);
  assertEquals(restOf(breaker).waitMs, 1000);
});

Deno.test("Breaker tells those who wait when the probe has ended, however it did", async () => {
  for (const end of ["succeed", "fail", "drop"] as const) {
    const clock = new FakeClock();
    const breaker = broken(clock);
    clock.pass(250);
    const probe = ticketOf(breaker);
    const { change } = restOf(breaker);
    probe[end]();
    await change;
    const next = breaker.admit();
    assertEquals([end, "succeed" in next], [end, end !== "fail"]);
  }
});

Deno.test("Breaker leaves a server alone for as long as that asks, but not for days", () => {
  for (const [askedMs, waitMs] of [[0, 250], [5000, 5000], [999_999_999_000, 60_000]] as const) {
    const breaker = new Breaker(new FakeClock());
    for (let n = 0; n < 3; n++) ticketOf(breaker).fail(askedMs);
    assertEquals(restOf(breaker), { waitMs, change: undefined });
  }
});
