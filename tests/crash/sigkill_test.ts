import { assertEquals, assertGreater, assertInstanceOf, assertRejects } from "@std/assert";
import { TempDir } from "../e2e/program.ts";
import { type Fault, type KeyModel, Violation } from "./model.ts";
import { Dice } from "./dice.ts";
import { crash, type CrashCounts } from "./sigkill.ts";
import { bytesOf } from "./values.ts";

/** KVS_TEST_KILLS: how often servers are killed under writers, over all tests of this file. */
const KILLS = Number(Deno.env.get("KVS_TEST_KILLS") ?? 12);

/** Servers that differ in what is in memory, in the journal and in files when they are killed. */
const SERVERS: readonly (readonly string[])[] = [
  ["--drain", "0"],
  ["--drain", "0", "--journal", "1MiB", "--cache", "64KiB"],
];

for (const [index, args] of SERVERS.entries()) {
  const kills = Math.ceil((KILLS - index) / SERVERS.length);
  Deno.test(`${kills} SIGKILLs under 16 writers lose nothing: kvs server ${args.join(" ")}`, async () => {
    await using dir = new TempDir();
    const counts = await crash({ seed: Dice.seed(), kills, dir: dir.path, args });
    assertEquals(counts.kills, kills);
    assertGreater(counts.inFlightApplied, 0);
    assertGreater(counts.inFlight, counts.inFlightApplied);
    console.log(summary(counts));
  });
}

function summary(counts: CrashCounts): string {
  return `${counts.kills} SIGKILLs under writers (${counts.killsInStop} of them after SIGTERM), ` +
    `${counts.killsInStart} more during a start, ${counts.stops} stops; ${counts.operations} ` +
    `operations, ${counts.acknowledged} acknowledged, ${counts.inFlight} in flight at an end, of ` +
    `which ${counts.inFlightApplied} took effect, ${counts.abandoned} uploads abandoned; ${counts.loads} loads and ${counts.files} plain ` +
    `files compared in every byte: none lost, torn, stale or back after its delete; at most ` +
    `${counts.hiddenBytes} bytes beside the keys after a stop`;
}

/** What would break a promise, done to the plain files of a stopped server. */
const TAMPERINGS: readonly [string, Fault, (key: KeyModel, path: string) => Promise<boolean>][] = [
  ["a value without its last byte", "torn", async ({ current }, path) => {
    if (current === undefined) return false;
    await Deno.truncate(path, current.size - 1);
    return true;
  }],
  ["an empty file", "torn", async ({ current }, path) => {
    if (current === undefined) return false;
    await Deno.truncate(path, 0);
    return true;
  }],
  ["a value with one other byte", "torn", async ({ key, current }, path) => {
    if (current === undefined) return false;
    const bytes = bytesOf(key, current);
    bytes[current.size - 1] = (bytes[current.size - 1] ?? 0) ^ 1;
    await Deno.writeFile(path, bytes);
    return true;
  }],
  ["a value whose second half is of another one", "torn", async ({ key, current }, path) => {
    if (current === undefined) return false;
    const bytes = bytesOf(key, current);
    const other = bytesOf(key, { ...current, sequence: current.sequence + 1 });
    bytes.set(other.subarray(current.size / 2), Math.floor(current.size / 2));
    await Deno.writeFile(path, bytes);
    return true;
  }],
  ["the value before the last one", "stale", async ({ key, current }, path) => {
    if (current === undefined || current.sequence < 2) return false;
    await Deno.writeFile(path, bytesOf(key, { ...current, sequence: current.sequence - 1 }));
    return true;
  }],
  ["no file", "lost", async ({ current }, path) => {
    if (current === undefined) return false;
    await Deno.remove(path);
    return true;
  }],
  ["a deleted key", "back after its delete", async (model, path) => {
    if (model.current !== undefined || model.pending !== undefined) return false;
    const version = model.issue(1000, "bytes", undefined);
    await Deno.writeFile(path, bytesOf(model.key, version));
    return true;
  }],
];

for (const [name, fault, change] of TAMPERINGS) {
  Deno.test(`the crash suite notices ${name}`, async () => {
    await using dir = new TempDir();
    let tampered = false;
    const run = crash({
      seed: Dice.seed(),
      kills: 1,
      dir: dir.path,
      args: ["--drain", "0"],
      ways: ["stop"],
      async tamper(keys) {
        if (tampered) throw new Error("It was not noticed");
        for (const key of keys.filter((key) => !key.mayBeShort && key.pending === undefined)) {
          tampered ||= await change(key, dir.join(key.fileName));
        }
      },
    });
    const error = await assertRejects(() => run, Error, "KVS_TEST_SEED");
    assertInstanceOf(error.cause, Violation);
    assertEquals(error.cause.fault, fault);
  });
}
