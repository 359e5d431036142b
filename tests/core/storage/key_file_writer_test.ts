/** How a segment of the journal becomes files, where the disk is not as it should be. */
import { assert, assertEquals } from "@std/assert";
import { deadline } from "@std/async/deadline";
import { ContentTypes } from "../../../core/storage/content_types.ts";
import type { BulkFiles } from "../../../core/system/files.ts";
import { KeyFiles } from "../../../core/storage/key_files.ts";
import { Overlay } from "../../../core/storage/overlay.ts";
import { KeyFileWriter } from "../../../core/storage/key_file_writer.ts";
import { Value } from "../../../core/value.ts";
import { ValueCache } from "../../../core/storage/value_cache.ts";
import { Random } from "../system/random.ts";
import { SimulatedDisk } from "../system/simulated_disk.ts";
import { DEADLINE_MS } from "../http/testing.ts";

const LEAST_FILES = 32;
const TEXT = "value";

/** A disk that flushes many files at once, and few one by one. */
class GroupingDisk extends SimulatedDisk {
  override canFlushAll = true;
  /** How often all was flushed. */
  flushes = 0;
  /** Where a folder is in the way. */
  readonly blocked = new Set<string>();

  constructor() {
    super(new Random(1));
  }

  override openBulkFiles(path: string): BulkFiles | undefined {
    const fileSystem = super.openBulkFiles(path);
    return fileSystem && {
      ...fileSystem,
      leastFiles: LEAST_FILES,
      flush: () => {
        this.flushes++;
        return fileSystem.flush();
      },
    };
  }

  override async remove(path: string): Promise<void> {
    if (this.blocked.has(path)) {
      throw new Deno.errors.IsADirectory(`Is a directory (os error 21): ${path}`);
    }
    await super.remove(path);
  }
}

/** What is written, and with what. */
async function prepare(disk: SimulatedDisk) {
  const folder = "/data";
  const hiddenFolder = "/data/.kvs";
  const overlay = new Overlay(new ValueCache(0));
  const keyFiles = new KeyFiles(folder);
  const log = () => {};
  await keyFiles.load(disk, log);
  const contentTypes = await ContentTypes.open(hiddenFolder, { files: disk, log, isNew: true });
  const parts = { folder, hiddenFolder, files: disk, overlay, keyFiles, contentTypes };
  const pace = {
    concurrency: () => 2,
    pauseMs: () => 0,
    isStopped: () => false,
    checkRoom() {},
    progressed() {},
  };
  const fill = (segment: number, count: number) => {
    for (let i = 0; i < count; i++) overlay.put(`k${segment}-${i}`, new Value(TEXT), segment);
  };
  return { parts, pace, overlay, fill };
}

Deno.test("SegmentWriter flushes few files one by one, also after it had many", async () => {
  const disk = new GroupingDisk();
  const { parts, pace, fill } = await prepare(disk);
  const writer = new KeyFileWriter(parts, pace);
  fill(1, LEAST_FILES);
  await writer.write(1);
  assertEquals(disk.flushes, 1);
  fill(2, LEAST_FILES - 1);
  await writer.write(2);
  assertEquals(disk.flushes, 1);
  fill(3, LEAST_FILES);
  await writer.write(3);
  assertEquals(disk.flushes, 2);
  writer.close();
  assertEquals(disk.openFiles, 0);
  const names = [...disk.contents().keys()].filter((path) => path.startsWith("/data/k"));
  assertEquals(names.length, 3 * LEAST_FILES - 1);
});

Deno.test("SegmentWriter writes all others where the old file of a key cannot be removed", async () => {
  const disk = new GroupingDisk();
  // Names that a person gave: as files of the key they would be escaped.
  disk.put("/data/100%", new Uint8Array(1));
  disk.put("/data/50%", new Uint8Array(1));
  disk.blocked.add("/data/100%").add("/data/50%");
  const { parts, pace, overlay, fill } = await prepare(disk);
  fill(1, LEAST_FILES);
  overlay.put("100%", new Value(TEXT), 1);
  overlay.put("50%", undefined, 1);
  fill(1, 2 * LEAST_FILES);
  const writer = new KeyFileWriter(parts, pace);
  const left = await writer.write(1);
  writer.close();
  assertEquals(left.map(({ key }) => key).sort(), ["100%", "50%"]);
  for (let i = 0; i < 2 * LEAST_FILES; i++) assertEquals(overlay.get(`k1-${i}`), undefined);
  assertEquals([...disk.contents().keys()].filter((path) => path.includes("save-")), []);
});

Deno.test("SegmentWriter ends a long pause when the disk is not needed by others any more", async () => {
  const disk = new GroupingDisk();
  const { parts, pace, fill } = await prepare(disk);
  fill(1, LEAST_FILES);
  let looks = 0;
  const writer = new KeyFileWriter(parts, {
    ...pace,
    // As after work on a disk that is very slow.
    pauseMs: () => ++looks < 3 ? 1_000_000 : 0,
  });
  await deadline(writer.write(1), DEADLINE_MS);
  writer.close();
  assert(looks >= 3);
});
