/** When the checkpoint begins: soon after a few saves, behind a burst of many, and not too late for the journal. */
import { assertEquals, assertGreater, assertLess } from "@std/assert";
import type { OpenFile } from "../../../core/system/files.ts";
// @ts-types="npm:@types/sinonjs__fake-timers@15.0.1"
import { type Clock, install } from "@sinonjs/fake-timers";
import { Value } from "../../../core/value.ts";
import { Random } from "../system/random.ts";
import { SimulatedDisk } from "../system/simulated_disk.ts";
import { type Opened, openOn } from "../../crash/workload.ts";

const MEBIBYTE = 2 ** 20;
const VALUE = new Value("v".repeat(100));
/** More than the checkpoint takes for few. */
const MANY = 2500;
const STEP_MS = 100;
/** Saves a step that are a burst which goes on. */
const FAST = 40;
/** On a slow disk: most of the time one is under way. */
const FLUSH_MS = 70;

/** A disk whose flushes take their time. */
class SlowDisk extends SimulatedDisk {
  override async create(path: string): Promise<OpenFile> {
    return slowed(await super.create(path));
  }

  override async open(path: string): Promise<OpenFile> {
    return slowed(await super.open(path));
  }
}

function slowed(file: OpenFile): OpenFile {
  const syncData = async () => {
    await new Promise((resolve) => setTimeout(resolve, FLUSH_MS));
    await file.syncData();
  };
  return { ...file, syncData };
}

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

  static async use(
    journalBytes: number,
    run: (store: TimedStore) => Promise<void>,
    disk = new SimulatedDisk(new Random(1)),
  ): Promise<void> {
    const opened = await openOn(disk, journalBytes);
    const time = install({ toFake: ["setTimeout", "clearTimeout", "performance"] });
    const timed = new TimedStore(opened, time, disk);
    try {
      await run(timed);
      const closed = opened.store.close();
      await time.runAllAsync();
      await closed;
    } finally {
      time.uninstall();
    }
    assertEquals([opened.fatal, opened.logged, timed.files], [[], [], timed.#saved]);
  }

  /** Saves `count` new keys. */
  async save(count: number): Promise<void> {
    const saves = Array.from({ length: count }, () => this.begin());
    await Promise.all(saves);
  }

  /** Begins to save a new key. */
  async begin(): Promise<void> {
    await this.#opened.store.set(`k${this.#saved++}`, VALUE);
  }

  /** Lets `ms` pass. */
  async rest(ms: number): Promise<void> {
    await this.#time.tickAsync(ms);
  }

  /** Lets `ms` pass; with `perStep`, so many keys are saved every tenth of a second. */
  async pass(ms: number, perStep = 0): Promise<void> {
    for (let passed = 0; passed < ms; passed += STEP_MS) {
      await this.save(perStep);
      await this.#time.tickAsync(STEP_MS);
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

Deno.test("A save that comes alone becomes a file at once, and two are a few", async () => {
  await TimedStore.use(MEBIBYTE, async (store) => {
    for (let round = 0; round < 3; round++) {
      const before = store.files;
      await store.save(1);
      await store.rest(19);
      assertEquals(store.files, before);
      await store.rest(1);
      assertEquals(store.files, before + 1);
      await store.rest(1000);
    }
    await store.save(1);
    await store.rest(10);
    await store.save(1);
    await store.rest(189);
    assertEquals(store.files, 3);
    await store.rest(1);
    assertEquals(store.files, 5);
  });
});

Deno.test("Saves that come alone again and again have their files made together", async () => {
  await TimedStore.use(MEBIBYTE, async (store) => {
    let checkpoints = 0;
    for (let saved = 1; saved <= 100; saved++) {
      const before = store.files;
      await store.save(1);
      await store.rest(40);
      if (store.files > before) checkpoints++;
    }
    // In four seconds: no more than one in a fifth of a second.
    assertGreater(checkpoints, 10);
    assertLess(checkpoints, 22);
  });
});

Deno.test("A few saves become files soon also where a flush is nearly always under way", async () => {
  await TimedStore.use(MEBIBYTE, async (store) => {
    const saves: Promise<void>[] = [];
    for (let saved = 1; saved <= 200; saved++) {
      saves.push(store.begin());
      await store.pass(STEP_MS);
      // A fifth of a second and two flushes: the older ones have their files.
      assertGreater(store.files, saved - 10);
    }
    await Promise.all(saves);
  }, new SlowDisk(new Random(1)));
});

Deno.test("A burst of saves becomes files when it has been quiet for a second, not before", async () => {
  await TimedStore.use(16 * MEBIBYTE, async (store) => {
    await store.pass(20_000, FAST);
    assertEquals(store.files, 0);
    // The last save is a tenth of a second old, and time is looked at every fifth.
    await store.pass(800);
    assertEquals(store.files, 0);
    await store.pass(600);
    assertEquals(store.files, 200 * FAST);
  });
});

Deno.test("Fifty keys at once are few, sixty are a burst, also after a long rest", async () => {
  for (const [count, files] of [[50, 50], [60, 0]] as const) {
    await TimedStore.use(MEBIBYTE, async (store) => {
      for (const before of [0, count]) {
        await store.save(count);
        await store.pass(200);
        assertEquals(store.files, before + files);
        await store.pass(60_000);
        assertEquals(store.files, before + count);
      }
    });
  }
});

Deno.test("Saves at a light pace become files soon, also behind a burst whose files take long", async () => {
  await TimedStore.use(16 * MEBIBYTE, async (store) => {
    const saves = Array.from({ length: 200 }, () => store.begin());
    for (let step = 0; step < 300; step++) {
      saves.push(store.begin());
      await store.pass(STEP_MS);
    }
    // What came in while the files of the burst were made is no burst.
    assertGreater(store.files, 200 + 300 - 20);
    await store.pass(1000);
    await Promise.all(saves);
  }, new SlowDisk(new Random(1)));
});

Deno.test("A full disk gets the room at once that deletes give, whoever keeps trying to save", async () => {
  const disk = new SimulatedDisk(new Random(1));
  const opened = await openOn(disk, MEBIBYTE);
  const { store } = opened;
  const keys = Array.from({ length: 100 }, (_, i) => `k${i}`);
  const time = install({ toFake: ["setTimeout", "clearTimeout", "performance"] });
  try {
    await Promise.all(keys.map((key) => store.set(key, VALUE)));
    await time.tickAsync(5000);
    await Promise.all(keys.map((key) => store.delete(key)));
    let removed = 0;
    disk.fault = ({ kind, path }) => {
      if (kind === "remove" && path.includes("/k")) removed++;
      return kind === "write" && removed === 0 ? "full" : undefined;
    };
    let refused = 0;
    for (; removed === 0 && refused < 100; refused++) {
      await store.set("new", VALUE).catch(() => {});
      await time.tickAsync(STEP_MS);
    }
    assertLess(refused, 5);
    await store.set("new", VALUE);
    const closed = store.close();
    await time.runAllAsync();
    await closed;
    assertEquals(opened.fatal, []);
  } finally {
    time.uninstall();
  }
});

Deno.test("A burst without end begins to become files after a minute, all of it", async () => {
  await TimedStore.use(32 * MEBIBYTE, async (store) => {
    await store.pass(59_000, FAST);
    assertEquals(store.files, 0);
    // Also what is in no sealed segment yet: it is as old.
    await store.pass(2000, FAST);
    assertGreater(store.files, 590 * FAST);
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
