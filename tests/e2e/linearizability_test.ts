import { assertEquals, assertGreater } from "@std/assert";
import { Dice } from "../crash/dice.ts";
import { History, Target } from "./histories.ts";
import { TempDir } from "./program.ts";
import { type Action, apply, format, isLinearizable, type Operation } from "./linearizability.ts";

/** KVS_TEST_HISTORIES: how many are recorded and checked while nothing is killed. */
const HISTORIES = Number(Deno.env.get("KVS_TEST_HISTORIES") ?? 200);
const HISTORIES_AT_ONCE = 8;
const CLIENTS = 6;
const OPERATIONS = 6;

/** Servers that are killed, and the histories that each kill goes through. */
const KILLS = 6;
const HISTORIES_A_KILL = 20;

Deno.test("isLinearizable() accepts what one register can do", () => {
  const table: [string, Operation[]][] = [
    ["nothing", []],
    ["one after the other", [
      at(0, 1, { kind: "get", outcome: { value: undefined } }),
      at(2, 3, { kind: "put", value: "a", outcome: "created" }),
      at(4, 5, { kind: "get", outcome: { value: "a" } }),
      at(6, 7, { kind: "put", value: "b", when: { value: "a" }, outcome: "replaced" }),
      at(8, 9, { kind: "put", value: "c", when: { value: "a" }, outcome: "failed" }),
      at(10, 11, { kind: "delete", when: { value: "b" }, outcome: "deleted" }),
      at(12, 13, { kind: "delete", outcome: "absent" }),
    ]],
    ["a get during a put sees either", [
      at(0, 9, { kind: "put", value: "a", outcome: "saved" }),
      at(1, 2, { kind: "get", outcome: { value: undefined } }),
      at(3, 4, { kind: "get", outcome: { value: "a" } }),
    ]],
    ["puts at the same time, in the order that the gets tell", [
      at(0, 9, { kind: "put", value: "a", outcome: "replaced" }),
      at(0, 9, { kind: "put", value: "b", outcome: "created" }),
      at(1, 2, { kind: "get", outcome: { value: "b" } }),
      at(3, 4, { kind: "get", outcome: { value: "a" } }),
    ]],
    ["one of two conditional puts", [
      at(0, 9, { kind: "put", value: "a", when: { value: undefined }, outcome: "failed" }),
      at(0, 9, { kind: "put", value: "b", when: { value: undefined }, outcome: "created" }),
    ]],
    ["a put without an answer that took effect later", [
      at(0, Infinity, { kind: "put", value: "a" }),
      at(1, 2, { kind: "get", outcome: { value: undefined } }),
      at(3, 4, { kind: "get", outcome: { value: "a" } }),
    ]],
    ["a put without an answer that never did", [
      at(0, 5, { kind: "put", value: "a" }),
      at(6, 7, { kind: "get", outcome: { value: undefined } }),
    ]],
    ["a delete without an answer", [
      at(0, 1, { kind: "put", value: "a", outcome: "created" }),
      at(2, 5, { kind: "delete" }),
      at(6, 7, { kind: "put", value: "b", outcome: "created" }),
    ]],
  ];
  for (const [name, history] of table) assertEquals([name, isLinearizable(history)], [name, true]);
});

Deno.test("isLinearizable() rejects what one register cannot do", () => {
  const created = at(0, 1, { kind: "put", value: "a", outcome: "created" });
  const table: [string, Operation[]][] = [
    ["a stale read", [
      created,
      at(2, 3, { kind: "put", value: "b", outcome: "replaced" }),
      at(4, 5, { kind: "get", outcome: { value: "a" } }),
    ]],
    ["a lost save", [created, at(2, 3, { kind: "get", outcome: { value: undefined } })]],
    ["a lost update: two puts on the same value succeed", [
      created,
      at(2, 9, { kind: "put", value: "b", when: { value: "a" }, outcome: "replaced" }),
      at(2, 9, { kind: "put", value: "c", when: { value: "a" }, outcome: "replaced" }),
    ]],
    ["two puts that the key must be absent for succeed", [
      at(0, 9, { kind: "put", value: "a", when: { value: undefined }, outcome: "created" }),
      at(0, 9, { kind: "put", value: "b", when: { value: undefined }, outcome: "created" }),
    ]],
    ["two creations", [created, at(0, 9, { kind: "put", value: "b", outcome: "created" })]],
    ["two deletes of one value", [
      created,
      at(2, 9, { kind: "delete", outcome: "deleted" }),
      at(2, 9, { kind: "delete", outcome: "deleted" }),
    ]],
    ["a deleted key that is back", [
      created,
      at(2, 3, { kind: "delete", outcome: "deleted" }),
      at(4, 5, { kind: "get", outcome: { value: "a" } }),
    ]],
    ["new, then old, during one put", [
      created,
      at(2, 9, { kind: "put", value: "b", outcome: "replaced" }),
      at(3, 4, { kind: "get", outcome: { value: "b" } }),
      at(5, 6, { kind: "get", outcome: { value: "a" } }),
    ]],
    ["a value that was refused", [
      created,
      at(2, 3, { kind: "put", value: "b", when: { value: undefined }, outcome: "failed" }),
      at(4, 5, { kind: "get", outcome: { value: "b" } }),
    ]],
    ["a refusal without a reason", [
      created,
      at(2, 3, { kind: "put", value: "b", when: { value: "a" }, outcome: "failed" }),
    ]],
    ["a put without an answer, seen and then gone", [
      at(0, Infinity, { kind: "put", value: "a" }),
      at(1, 2, { kind: "get", outcome: { value: "a" } }),
      at(3, 4, { kind: "get", outcome: { value: undefined } }),
    ]],
    ["a put without an answer that comes after its end", [
      at(0, 5, { kind: "put", value: "a" }),
      at(6, 7, { kind: "get", outcome: { value: undefined } }),
      at(8, 9, { kind: "get", outcome: { value: "a" } }),
    ]],
    ["a value from nowhere", [at(0, 1, { kind: "get", outcome: { value: "a" } })]],
  ];
  for (const [name, history] of table) assertEquals([name, isLinearizable(history)], [name, false]);
});

Deno.test("isLinearizable() says what trying every order says", () => {
  const verdicts = { true: 0, false: 0 };
  for (let seed = 0; seed < 5000; seed++) {
    const random = new Dice(seed);
    const history = Array.from({ length: random.integer(1, 6) }, () => {
      const call = random.integer(0, 12);
      return at(call, call + random.integer(1, 6), randomAction(random));
    });
    const expected = someOrder(history, undefined);
    assertEquals([seed, isLinearizable(history)], [seed, expected]);
    verdicts[`${expected}`]++;
  }
  assertGreater(verdicts.true, 500);
  assertGreater(verdicts.false, 500);
});

Deno.test(`${HISTORIES} histories of one key under concurrent writes are linearizable`, async () => {
  await using dir = new TempDir();
  await using target = await Target.start(dir.path);
  const seed = Dice.seed();
  const random = new Dice(seed);
  const counts = new Map<string, number>();
  const indexes = Array(HISTORIES).keys();
  await Promise.all(Array.from({ length: HISTORIES_AT_ONCE }, async () => {
    for (const index of indexes) {
      const history = new History(target, `history-${index}`);
      await history.record(CLIENTS, OPERATIONS, random.fork());
      check(history, seed, counts);
    }
  }));
  // What does not come out shows nothing.
  assertEquals([...counts.keys()].sort(), [
    "delete when unchanged: deleted",
    "delete when unchanged: failed",
    "delete: absent",
    "delete: deleted",
    "get: absent",
    "get: found",
    "put when absent: created",
    "put when absent: failed",
    "put when unchanged: failed",
    "put when unchanged: replaced",
    "put: created",
    "put: replaced",
    "put: saved",
  ]);
  console.log(text(counts));
});

Deno.test(`${KILLS * HISTORIES_A_KILL} histories through ${KILLS} SIGKILLs are linearizable`, async () => {
  await using dir = new TempDir();
  await using target = await Target.start(dir.path);
  const seed = Dice.seed();
  const random = new Dice(seed);
  const counts = new Map<string, number>();
  for (let kill = 0; kill < KILLS; kill++) {
    const histories = Array.from(
      { length: HISTORIES_A_KILL },
      (_, index) => new History(target, `history-${kill}-${index}`),
    );
    const operations = HISTORIES_A_KILL * CLIENTS * OPERATIONS;
    await Promise.all([
      target.restartAfter(random.integer(operations / 10, operations * 9 / 10)),
      ...histories.map((history) => history.record(CLIENTS, OPERATIONS, random.fork())),
    ]);
    for (const history of histories) check(history, seed, counts);
  }
  assertGreater(counts.get("put: no answer") ?? 0, 0);
  assertGreater(counts.get("delete: no answer") ?? 0, 0);
  console.log(text(counts));
});

/** Checks a history and counts what came out of its operations. */
function check(history: History, seed: number, counts: Map<string, number>): void {
  const { operations, key } = history;
  if (!isLinearizable(operations)) {
    throw new Error(`Not linearizable: ${key}, KVS_TEST_SEED=${seed}\n${format(operations)}`);
  }
  for (const operation of operations) {
    const { kind, outcome } = operation;
    const when = kind === "get" || operation.when === undefined
      ? ""
      : operation.when.value === undefined
      ? " when absent"
      : " when unchanged";
    const seen = typeof outcome === "object"
      ? outcome.value === undefined ? "absent" : "found"
      : outcome ?? "no answer";
    const name = `${kind}${when}: ${seen}`;
    counts.set(name, (counts.get(name) ?? 0) + 1);
  }
}

function text(counts: Map<string, number>): string {
  const total = counts.values().reduce((sum, count) => sum + count, 0);
  return `${total} operations: ` +
    [...counts].map(([name, count]) => `${name} ${count}`).join(", ");
}

function at(call: number, end: number, action: Action): Operation {
  return { call, end, ...action };
}

/** Any action with any outcome on a register of few values. */
function randomAction(random: Dice): Action {
  const value = random.of(["a", "b"]);
  const when = random.chance(0.4) ? { when: { value } } : {};
  switch (random.integer(0, 2)) {
    case 0:
      return { kind: "get", outcome: { value: random.of([value, null]) ?? undefined } };
    case 1: {
      const condition = random.chance(0.3) ? { when: { value: undefined } } : when;
      const outcome = random.of(["created", "replaced", "saved", "failed", null] as const);
      const seen = outcome ?? undefined;
      return { kind: "put", value: random.of(["a", "b"]), ...condition, outcome: seen };
    }
    default: {
      const outcome = random.of(["deleted", "absent", "failed", null] as const);
      return { kind: "delete", ...when, outcome: outcome ?? undefined };
    }
  }
}

/** The definition itself: whether some order that is true to real time explains every outcome. */
function someOrder(left: readonly Operation[], state: string | undefined): boolean {
  return left.length === 0 || left.some((first) => {
    const others = left.filter((operation) => operation !== first);
    if (others.some((other) => other.end < first.call)) return false;
    return apply(first, state).some((next) => someOrder(others, next));
  });
}
