import { assertEquals, assertRejects } from "@std/assert";
import { PreconditionFailedError, RemoteError } from "../../../core/errors.ts";
import { modulo } from "../../../core/placement.ts";
import { parseServerList } from "../../../core/client/server_list.ts";
import { ServerSet } from "../../../core/client/server_set.ts";
import { FakeClock } from "./fake_clock.ts";

const refused = () =>
  new RemoteError("s", undefined, "s cannot be reached", {
    cause: new TypeError("error sending request: client error (Connect): refused"),
  });
const cut = () => new RemoteError("s", undefined, "s cut its answer off");
const busy = (retryAfterMs?: number) =>
  new RemoteError("s", 503, "s answered 503", { retryAfterMs });
const status = (status: number) => new RemoteError("s", status, `s answered ${status}`);
const full = () => new RemoteError("s", 507, "s answered 507");

function serverSet(patienceMs?: number) {
  const clock = new FakeClock();
  const retry = patienceMs === undefined ? {} : { retry: { patienceMs, clock, random: () => 1 } };
  const servers = parseServerList("s,t", "LIST");
  return { clock, all: new ServerSet({ servers, placement: modulo, timeoutMs: 1, ...retry }) };
}

/** Fails with each error in turn, then resolves to the attempts' `uncertain`. */
function failing(...errors: readonly Error[]) {
  const uncertain: boolean[] = [];
  return (_: unknown, attempt: { readonly uncertain: boolean }) => {
    uncertain.push(attempt.uncertain);
    const error = errors[uncertain.length - 1];
    return error === undefined ? Promise.resolve(uncertain) : Promise.reject(error);
  };
}

Deno.test("ServerSet.askServer() tries again after a growing wait, and not before Retry-After", async () => {
  const { clock, all } = serverSet(60_000);
  await clock.settle(all.askServer(0, failing(refused(), busy(1000), cut())));
  // The third failure also opens the breaker, whose rest is over by then.
  assertEquals(clock.sleeps, [100, 1200, 400]);
});

Deno.test("ServerSet.askServer() knows which failed attempts may have been carried out", async () => {
  const cases: [Error[], boolean[]][] = [
    [[refused(), busy()], [false, false, false]],
    [[cut(), refused()], [false, true, true]],
    // Of these only a proxy does not know what its server did.
    ...[429, 503].map((n): [Error[], boolean[]] => [[status(n)], [false, false]]),
    ...[502, 504].map((n): [Error[], boolean[]] => [[status(n)], [false, true]]),
  ];
  for (const [errors, uncertain] of cases) {
    const { clock, all } = serverSet(60_000);
    assertEquals(await clock.settle(all.askServer(0, failing(...errors))), uncertain);
  }
});

Deno.test("ServerSet.askServer() tells a failure at once that no repetition changes", async () => {
  const { clock, all } = serverSet(60_000);
  for (let n = 0; n < 5; n++) {
    await assertRejects(() => all.askServer(0, failing(full())), RemoteError, "s answered 507");
  }
  assertEquals(clock.sleeps, []);
});

Deno.test("ServerSet.askServer() takes a condition that does not hold for an answer", async () => {
  const { clock, all } = serverSet(60_000);
  const broken = () => new PreconditionFailedError("the condition does not hold");
  await assertRejects(
    () => clock.settle(all.askServer(0, failing(busy(), busy(), broken()))),
    PreconditionFailedError,
  );
  // Two failures before the answer do not count with the one behind it.
  assertEquals(await clock.settle(all.askServer(0, failing(busy()))), [false, false]);
  assertEquals(clock.sleeps, [100, 200, 100]);
});

Deno.test("ServerSet.askServer() gives up when patience is at its end, and says how often it tried", async () => {
  const { clock, all } = serverSet(5000);
  const start = clock.now();
  const errors = Array.from({ length: 99 }, refused);
  await assertRejects(
    () => clock.settle(all.askServer(0, failing(...errors))),
    RemoteError,
    "s cannot be reached (tried 6 times in ",
  );
  assertEquals(clock.now() - start <= 5000, true);
});

Deno.test("ServerSet.askServer() is as patient after a long transfer, and tries until its patience ends", async () => {
  const { clock, all } = serverSet(300);
  let attempts = 0;
  const transfer = async () => {
    await clock.sleep(10_000);
    if (++attempts === 1) throw cut();
    return "done";
  };
  assertEquals(await clock.settle(all.askServer(0, transfer)), "done");
  const start = clock.now();
  const failed = clock.settle(all.askServer(0, failing(cut(), cut(), cut())));
  await assertRejects(() => failed, RemoteError, "(tried 3 times in 0.3 s)");
  assertEquals(clock.now() - start, 300);
});

Deno.test("ServerSet.askServer() sends once what cannot be repeated, and everything without a policy", async () => {
  const { clock, all } = serverSet(5000);
  await assertRejects(
    () => all.askServer(0, failing(busy(1)), { repeatable: false }),
    RemoteError,
    "s answered 503",
  );
  const { all: plain } = serverSet();
  for (let n = 0; n < 9; n++) await assertRejects(() => plain.askServer(0, failing(refused())));
  assertEquals(await plain.askServer(0, failing()), [false]);
  assertEquals(clock.sleeps, []);
});

Deno.test("ServerSet.askServer() leaves a broken server alone, lets one probe, and wakes those who wait", async () => {
  const { clock, all } = serverSet(10_000);
  let up = false;
  const sent: number[] = [];
  const send = async () => {
    sent.push(clock.now());
    await clock.sleep(10);
    if (!up) throw refused();
    return "up";
  };
  const asks = Promise.all(Array.from({ length: 64 }, () => all.askServer(0, send)));
  const comesUp = clock.sleep(3000).then(() => up = true);
  const answers = await clock.settle(asks);
  await comesUp;
  assertEquals(new Set(answers), new Set(["up"]));
  const start = sent[0] ?? 0;
  const probes = sent.filter((at) => at > start && at < start + 3000);
  // 64 at first; then each probe alone, at the end of each rest (250, 500, 1000, 2000).
  assertEquals(probes.length, 3);
  assertEquals(sent.length, 64 + 3 + 1 + 63);
  // The other server is not concerned.
  assertEquals(await all.askServer(1, failing()), [false]);
});

Deno.test("ServerSet.askServer() fails at once while the rest is longer than patience", async () => {
  const { clock, all } = serverSet(200);
  for (let n = 0; n < 3; n++) {
    await assertRejects(() =>
      clock.settle(all.askServer(0, failing(refused(), refused(), refused())))
    );
  }
  const sleeps = clock.sleeps.length;
  await assertRejects(
    () => all.askServer(0, () => Promise.reject(new Error("sent"))),
    RemoteError,
    "s cannot be reached (left alone after failing repeatedly)",
  );
  assertEquals(clock.sleeps.length, sleeps);
});

Deno.test("ServerSet.askServer() ends with the caller's reason when that gives up", async () => {
  const { clock, all } = serverSet(60_000);
  const stop = new AbortController();
  const asked = all.askServer(0, failing(busy(30_000)), { signal: stop.signal });
  setTimeout(() => stop.abort(new Error("enough")), 0);
  await assertRejects(() => asked, Error, "enough");
  assertEquals(clock.sleeps.length, 1);
  await assertRejects(() => all.askServer(0, failing(), { signal: stop.signal }), Error, "enough");
});
