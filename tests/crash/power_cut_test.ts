import { assert, assertEquals } from "@std/assert";
import { type PowerCut, SimulatedDisk } from "../core/system/simulated_disk.ts";
import { Random } from "../core/system/random.ts";
import { faultyOperations, SEEDS } from "./cases.ts";
import { openOn, Workload } from "./workload.ts";

type End = PowerCut | "killed";

/** How the first process ends, and how the one that recovers. */
const ENDS: readonly (readonly [End, End])[] = [
  ["killed", "killed"],
  ["nothing survives", "nothing survives"],
  ["all survives", "all survives"],
  ["some survives", "some survives"],
  ["some survives", "some survives"],
  // What the second one finds there need not be durable.
  ["killed", "nothing survives"],
  ["killed", "some survives"],
];

// Bytes of journal: all in it, some checkpoints, checkpoints without end.
const JOURNALS = [1_000_000, 20_000, 700];
const WRITES = 25;

Deno.test("JournalStore keeps what it acknowledged when all ends at any operation", async () => {
  let cases = 0;
  for (let seed = 0; seed < SEEDS; seed++) {
    for (const journalBytes of JOURNALS) {
      const operations = await countOperations(seed, journalBytes);
      for (const end of faultyOperations(operations, seed)) {
        const ends = ENDS[(end + seed) % ENDS.length] ?? ["killed", "killed"];
        await endAt(end, ends, seed, journalBytes);
        cases++;
      }
    }
  }
  console.log(`power cuts and kills: ${cases} cases, each with a second one while it recovers`);
});

async function countOperations(seed: number, journalBytes: number): Promise<number> {
  const random = new Random(seed);
  const disk = new SimulatedDisk(random);
  disk.vary(seed);
  const { store, logged } = await openOn(disk, journalBytes);
  const workload = new Workload(random);
  await workload.run(store, WRITES);
  await store.close();
  assertEquals(disk.openFiles, 0);
  assertEquals(logged, []);
  const hidden = [...disk.contents().keys()].filter((path) => path.startsWith("/data/.kvs/"));
  assertEquals(hidden.filter((path) => !/\/(content-types|oldest-\d+-clean)$/.test(path)), []);
  const again = await openOn(disk, journalBytes);
  await workload.check(again.store, `seed ${seed}`);
  await again.store.close();
  return disk.operations;
}

async function endAt(
  end: number,
  ends: readonly [End, End],
  seed: number,
  journalBytes: number,
): Promise<void> {
  const label = `seed ${seed}, journal ${journalBytes}, operation ${end}, ${ends.join(", then ")}`;
  const random = new Random(seed);
  const workload = new Workload(random);
  let disk = new SimulatedDisk(random);
  disk.vary(seed);
  const endings = [end, random.integer(0, 30), Infinity];
  for (const [i, ending] of endings.entries()) {
    let next: SimulatedDisk | undefined;
    const current = disk;
    const cut = ends[i] ?? "killed";
    current.fault = ({ index }) => {
      if (index < ending) return undefined;
      next ??= cut === "killed" ? current.afterKill() : current.afterPowerCut(cut);
      return "broken";
    };
    try {
      const { store } = await openOn(current, journalBytes);
      try {
        if (i > 0 && ending === Infinity) await workload.check(store, label);
        await workload.run(store, WRITES);
      } finally {
        await store.close().catch(() => {});
      }
    } catch (error) {
      if (next === undefined || !isBroken(error)) throw error;
    }
    assertEquals(current.openFiles, 0, label);
    disk = next ?? current;
  }
  disk.fault = () => undefined;
  // All was closed: what it left is durable.
  disk = disk.afterPowerCut("nothing survives");
  const { store, fatal } = await openOn(disk, journalBytes);
  await workload.check(store, label);
  assert(fatal.length === 0, label);
  await store.close();
}

function isBroken(error: unknown): boolean {
  return error instanceof Error && error.message.includes("os error 5");
}
