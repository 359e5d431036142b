import { assert, assertEquals, assertMatch } from "@std/assert";
import { join } from "@std/path";
import { Dice } from "../crash/dice.ts";
import { bytesOf, identify, sameBytes, type Version } from "../crash/values.ts";
import { PATIENCE_MS, Server, until } from "./program.ts";
import { PAGE_BYTES, SmallDisk } from "./small_disk.ts";

const MEBIBYTE = 1024 * 1024;

/** How often a client hears that the disk is full until it believes it. */
const REFUSALS = 5;

const LOADS_AT_ONCE = 8;

const MOST_DELETES = 150;

/** A way to fill a disk. */
interface Filling {
  readonly name: string;
  readonly diskBytes: number;
  /** How many files the disk can hold; by default as many as fit. */
  readonly files?: number;
  readonly args: readonly string[];
  /** The sizes of values. */
  readonly sizes: readonly [number, number];
  /** Saves in flight. */
  readonly clients: number;
}

const FILLINGS: readonly Filling[] = [
  {
    name: "small values",
    diskBytes: 8 * MEBIBYTE,
    args: [],
    sizes: [0, 4000],
    clients: 16,
  },
  {
    name: "small values with a small journal",
    diskBytes: 8 * MEBIBYTE,
    args: ["--journal", "1MiB", "--cache", "64KiB"],
    sizes: [0, 4000],
    clients: 16,
  },
  {
    name: "values around 64 KiB",
    diskBytes: 16 * MEBIBYTE,
    args: [],
    sizes: [60 * 1024, 70 * 1024],
    clients: 4,
  },
  {
    name: "values of 1 MiB",
    diskBytes: 32 * MEBIBYTE,
    args: ["--cache", "64KiB"],
    sizes: [MEBIBYTE, MEBIBYTE],
    clients: 4,
  },
  {
    name: "more files than the disk can hold",
    diskBytes: 8 * MEBIBYTE,
    files: 4000,
    args: ["--journal", "1MiB"],
    sizes: [100, 4000],
    clients: 4,
  },
];

const impossible = await SmallDisk.whyNot();

for (const filling of FILLINGS) {
  const name = `a full disk answers 507, loses nothing and recovers: ${filling.name}`;
  testOnDisk(name, async () => {
    await using disk = await SmallDisk.mount(filling.diskBytes, filling.files);
    await using shard = await Shard.start(disk, filling.args);
    await disk.fillUpTo(filling.diskBytes / 2);

    await shard.fill(filling);
    await shard.verify();
    await shard.overwriteUntilRefused(filling);
    await shard.deleteWithoutRoom();
    await shard.verify();

    await shard.restart("SIGKILL");
    await shard.verify();
    await shard.restart("SIGTERM");
    await shard.verify();
    await shard.overwriteUntilRefused(filling);
    await shard.verify();

    await disk.free();
    await shard.saveWhenThereIsSpace(filling);
    await shard.verify();
    // A burst may have stayed in the journal, where values lie closer together than as files.
    await disk.grow(4 * filling.diskBytes);
    await shard.restart("SIGTERM");
    await shard.verify();
    await shard.verifyFiles();
  });
}

testOnDisk("whatever room is left, a save is whole or refused", async () => {
  await using disk = await SmallDisk.mount(8 * MEBIBYTE);
  await using shard = await Shard.start(disk, ["--journal", "1MiB"]);
  const sizes = [0, 1, 100, 4000, 5000, 20_000, 65_535, 65_537, 80_000];
  for (let pages = 0; pages <= 24; pages++) {
    for (const size of sizes) {
      await disk.fill();
      await disk.shrink(pages * PAGE_BYTES);
      await shard.save(`size-${size}`, size);
      await shard.save(`pages-${pages}-size-${size}`, size);
    }
    await shard.verify();
    if (pages % 4 === 3) {
      await shard.restart("SIGKILL");
      await shard.verify();
    }
  }
  assert(shard.refused > 0);
  assert(shard.saved > 0);
});

for (const args of [[], ["--journal", "1MiB"]]) {
  const name = ["deletes free a full disk, also behind a restart:", ...args].join(" ");
  testOnDisk(name, async () => {
    const filling = {
      diskBytes: 8 * MEBIBYTE,
      sizes: [9000, 9000],
      clients: 4,
      args,
      name,
    } as const;
    await using disk = await SmallDisk.mount(filling.diskBytes);
    await using shard = await Shard.start(disk, args);
    for (const signal of ["SIGKILL", "SIGTERM", undefined] as const) {
      await shard.fill(filling);
      if (signal !== undefined) await shard.restart(signal);
      await shard.verify();
      await shard.deleteAll();
      // Half of the disk, in less than what the test may take.
      const before = shard.saved;
      await until("there is room for much", async () => {
        while (await shard.save(`new-${shard.saved}`, 9000)) {
          if (shard.saved - before > 400) return true;
        }
        return undefined;
      });
      await shard.verify();
    }
  });
}

testOnDisk(
  "deletes of some keys free a full disk, also with a journal larger than the disk",
  async () => {
    const filling = {
      diskBytes: 8 * MEBIBYTE,
      sizes: [9000, 9000],
      clients: 4,
      args: [],
      name: "9000 bytes",
    } as const;
    await using disk = await SmallDisk.mount(filling.diskBytes);
    await using shard = await Shard.start(disk, filling.args);
    for (const signal of ["SIGKILL", undefined] as const) {
      await shard.fill(filling);
      await shard.deleteEvery(3);
      if (signal !== undefined) await shard.restart(signal);
      const before = shard.saved;
      await until("there is room for others", async () => {
        await shard.save(`new-${shard.saved}`, 9000);
        return shard.saved - before > 50 || undefined;
      });
      await shard.verify();
    }
  },
);

function testOnDisk(name: string, fn: () => Promise<void>): void {
  Deno.test({
    name: impossible === undefined ? name : `${name} (not tested here: ${impossible})`,
    ignore: impossible !== undefined,
    fn,
  });
}

/** A server on a small disk, and what it must hold. */
class Shard implements AsyncDisposable {
  saved = 0;
  refused = 0;
  readonly #disk: SmallDisk;
  readonly #args: readonly string[];
  readonly #versions = new Map<string, Version>();
  readonly #random = new Dice(1);
  #server: Server;
  #sequence = 0;

  private constructor(disk: SmallDisk, args: readonly string[], server: Server) {
    this.#disk = disk;
    this.#args = args;
    this.#server = server;
  }

  static async start(disk: SmallDisk, args: readonly string[]): Promise<Shard> {
    const all = ["--drain", "0", ...args];
    return new Shard(disk, all, await Server.start(disk.dataDir, all));
  }

  async restart(signal: Deno.Signal): Promise<void> {
    this.#server.kill(signal);
    assertEquals(await this.#server.exit(), signal === "SIGKILL" ? 137 : 0);
    this.#server = await Server.start(this.#disk.dataDir, this.#args);
  }

  /** Saves a value; returns whether it was taken, which is the only other answer to 507. */
  async save(key: string, size: number): Promise<boolean> {
    const version = {
      sequence: ++this.#sequence,
      size,
      form: "bytes",
      contentType: undefined,
    } as const;
    const body = bytesOf(key, version);
    const answer = await this.#server.ask(`/v1/keys/${key}`, { method: "PUT", body });
    if (!this.#isTaken(answer, this.#versions.has(key) ? 204 : 201)) return false;
    this.#versions.set(key, version);
    return true;
  }

  /** Saves new keys until the disk is full. */
  async fill({ sizes, clients, diskBytes }: Filling): Promise<void> {
    let bytes = 0;
    let number = 0;
    await Promise.all(Array.from({ length: clients }, async () => {
      for (let refused = 0; refused < REFUSALS;) {
        const size = this.#random.integer(...sizes);
        if (await this.save(`key-${number++}`, size)) bytes += size;
        else refused++;
        assert(bytes <= diskBytes, `${bytes} bytes were taken on a disk of ${diskBytes}`);
      }
    }));
  }

  /** Saves over keys that are there while somebody else takes whatever room there is. */
  async overwriteUntilRefused({ sizes }: Filling): Promise<void> {
    const end = performance.now() + PATIENCE_MS;
    for (let refused = 0; refused < REFUSALS;) {
      assert(performance.now() < end, "Saves succeed for ever on a disk without room");
      await this.#disk.fill();
      const key = this.#random.of([...this.#versions.keys()]);
      if (!await this.save(key, this.#random.integer(...sizes))) refused++;
    }
  }

  /** Deletes up to half of the keys: these need room as well where they are written down first. */
  async deleteWithoutRoom(): Promise<void> {
    const keys = [...this.#versions.keys()];
    for (const key of keys.slice(0, Math.min(keys.length / 2, MOST_DELETES))) {
      await this.#disk.fill();
      const answer = await this.#server.ask(`/v1/keys/${key}`, { method: "DELETE" });
      if (this.#isTaken(answer, 204)) this.#versions.delete(key);
    }
  }

  /** Deletes all keys; each delete is taken. */
  async deleteAll(): Promise<void> {
    await this.deleteEvery(1);
  }

  /** Deletes one key in `step`; each delete is taken. */
  async deleteEvery(step: number): Promise<void> {
    for (const [index, key] of [...this.#versions.keys()].entries()) {
      if (index % step !== 0) continue;
      const { status, body } = await this.#server.ask(`/v1/keys/${key}`, { method: "DELETE" });
      assertEquals([key, status, body], [key, 204, ""]);
      this.#versions.delete(key);
    }
  }

  async saveWhenThereIsSpace({ sizes }: Filling): Promise<void> {
    const known = [...this.#versions.keys()].slice(0, 5);
    // The journal may have room for one of them before the checkpoint tries again.
    for (const key of ["again", ...known, "new-0", "new-1", "new-2", "new-3", "new-4"]) {
      await until(`a save of ${key} succeeds again`, async () => {
        return await this.save(key, this.#random.integer(...sizes)) || undefined;
      });
    }
  }

  /** All values byte for byte, none that was refused, and signs of life. */
  async verify(): Promise<void> {
    const versions = this.#versions.entries();
    await Promise.all(Array.from({ length: LOADS_AT_ONCE }, async () => {
      for (const [key, version] of versions) {
        const response = await fetch(`http://${this.#server.address}/v1/keys/${key}`);
        const bytes = await response.bytes();
        assertEquals([key, response.status], [key, 200]);
        if (sameBytes(bytes, bytesOf(key, version))) continue;
        throw new Error(`${key} is ${JSON.stringify(identify(key, bytes))}`);
      }
    }));
    const listed = await this.#server.ask("/allKeys");
    assertEquals(listed.body, [...this.#versions.keys()].sort().join());
    for (const path of ["/healthz", "/readyz"]) {
      assertEquals((await this.#server.ask(path)).status, 200);
    }
  }

  /** The plain files are the values. */
  async verifyFiles(): Promise<void> {
    await until("the plain files are up to date", () => {
      const names = Array.from(Deno.readDirSync(this.#disk.dataDir), ({ name }) => name);
      const keys = names.filter((name) => !name.startsWith("."));
      return keys.sort().join() === [...this.#versions.keys()].sort().join() || undefined;
    });
    for (const [key, version] of this.#versions) {
      const bytes = await Deno.readFile(join(this.#disk.dataDir, key));
      assert(sameBytes(bytes, bytesOf(key, version)), `The file of ${key} is not its value`);
    }
  }

  #isTaken({ status, body }: { status: number; body: string }, expected: number): boolean {
    if (status === 507) {
      assertMatch(body, /^[^\n]+\n?$/);
      this.refused++;
      return false;
    }
    assertEquals([status, body], [expected, ""]);
    this.saved++;
    return true;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#server[Symbol.asyncDispose]();
  }
}
