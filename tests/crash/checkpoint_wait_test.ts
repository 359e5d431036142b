/** When the checkpoint begins: soon after a few saves, behind a burst of many, and not too late for the journal. */
import { assertEquals, assertGreater, assertLess } from "@std/assert";
// @ts-types="npm:@types/sinonjs__fake-timers@15.0.1"
import { type Clock, install } from "@sinonjs/fake-timers";
import { Value } from "../../core/store.ts";
import { Random } from "./random.ts";
import { SimulatedDisk } from "./simulated_disk.ts";
import { type Opened, openOn } from "./workload.ts";

const MEBIBYTE = 2 ** 20;
const VALUE = new Value("v".repeat(100));
/** More than the checkpoint takes for few. */
const MANY = 2500;
const STEP_MS = 100;

/** A store whose time stands still but for `pass`. */
class TimedStore {
  /** Key files that were begun. */
  files = 0;
  readonly #opened: Opened;
  readonly #time: Clock;
  #saved = 0;

  private constructor(opened: Opened, time: Clock, disk: SimulatedDisk) {
    this.#opened = opened;
    this.#time = time;
    disk.fault = ({ kind, path }) => {
      if (kind === "create" && path.includes("/save-")) this.files++;
      return undefined;
    };
  }

  static async use(journalBytes: number, run: (store: TimedStore) => Promise<void>): Promise<void> {
    const disk = new SimulatedDisk(new Random(1));
    const opened = await openOn(disk, journalBytes);
    const time = install({ toFake: ["setTimeout", "clearTimeout"] });
    const timed = new TimedStore(opened, time, disk);
    try {
      await run(timed);
      await opened.store.close();
    } finally {
      time.uninstall();
    }
    assertEquals([opened.fatal, opened.logged, timed.files], [[], [], timed.#saved]);
  }

  /** Saves `count` new keys. */
  async save(count: number): Promise<void> {
    const saves = Array.from({ length: count }, () => {
      return this.#opened.store.set(`k${this.#saved++}`, VALUE);
    });
    await Promise.all(saves);
  }

  /** Lets `ms` pass; with `perStep`, so many keys are saved every tenth of a second. */
  async pass(ms: number, perStep = 0): Promise<void> {
    for (let passed = 0; passed < ms; passed += STEP_MS) {
      await this.save(perStep);
      await this.#time.tickAsync(STEP_MS);
      await this.#time.runMicrotasks();
    }
  }
}

Deno.test("A few saves become files a fifth of a second later, also while more come in", async () => {
  await TimedStore.use(MEBIBYTE, async (store) => {
    await store.save(3);
    await store.pass(100);
    assertEquals(store.files, 0);
    await store.pass(100);
    assertEquals(store.files, 3);
    await store.pass(2000, 1);
    assertGreater(store.files, 15);
  });
});

Deno.test("A burst of saves becomes files when it has been quiet for a second, not before", async () => {
  await TimedStore.use(16 * MEBIBYTE, async (store) => {
    await store.save(MANY);
    await store.pass(20_000, 1);
    assertEquals(store.files, 0);
    // Time is looked at every fifth of a second.
    await store.pass(600);
    assertEquals(store.files, 0);
    await store.pass(600);
    assertEquals(store.files, MANY + 200);
  });
});

Deno.test("A burst without end begins to become files after a minute", async () => {
  await TimedStore.use(16 * MEBIBYTE, async (store) => {
    await store.save(MANY);
    await store.pass(59_000, 1);
    assertEquals(store.files, 0);
    await store.pass(2000, 1);
    assertGreater(store.files, MANY);
  });
});

Deno.test("A burst begins to become files when three quarters of the journal's memory are in use", async () => {
  await TimedStore.use(4 * MEBIBYTE, async (store) => {
    let saved = MANY;
    await store.save(MANY);
    for (; store.files === 0; saved += 100) await store.pass(STEP_MS, 100);
    // An entry of the overlay takes some 530 bytes, so 4 MiB hold about 7,900.
    assertGreater(saved, 5000);
    assertLess(saved, 7000);
  });
});
