import { assertEquals } from "@std/assert";
import { Journal } from "../../core/journal.ts";
import { FrameBuffer } from "../../core/journal_record.ts";
import { replayJournal } from "../../core/journal_replay.ts";
import { Value } from "../../core/store.ts";
import { Random } from "./random.ts";
import { SimulatedDisk } from "./simulated_disk.ts";

/** A disk on which the next flush of a folder can be held up. */
class SlowDisk extends SimulatedDisk {
  hold: Promise<void> | undefined;

  override async syncFolder(folder: string): Promise<void> {
    const { hold } = this;
    this.hold = undefined;
    await hold;
    await super.syncFolder(folder);
  }
}

function frame(key: string): FrameBuffer {
  const frame = new FrameBuffer();
  frame.putValue(key, new Value(key));
  return frame;
}

Deno.test("Journal does not write over a dropped segment whose old name could come back", async () => {
  const disk = new SlowDisk(new Random(1));
  const journal = new Journal("/h", { files: disk, found: new Map(), leastSpareBytes: 1 });
  for (const key of ["a", "b"]) {
    await journal.append(frame(key));
    journal.seal();
  }
  const { promise: hold, resolve: letGo } = Promise.withResolvers<void>();
  disk.hold = hold;
  let cut: SimulatedDisk | undefined;
  disk.fault = ({ kind, path }) => {
    // The power goes when the next segment has its header, or the spare one its old name behind it.
    if (kind === "flush" && path.endsWith("/h")) cut ??= disk.afterPowerCut("nothing survives");
    return undefined;
  };
  const dropped = journal.drop(1);
  const appended = journal.append(frame("c"));
  await appended;
  letGo();
  await dropped;
  const found: string[] = [];
  const segments = [...cut?.contents().keys() ?? []].filter((path) => path.includes("journal-"));
  assertEquals(segments.sort(), ["/h/journal-00000001", "/h/journal-00000002"]);
  const options = { folder: "/h", files: cut ?? disk, log() {} };
  await replayJournal([1, 2], ({ key }) => found.push(key), options);
  assertEquals(found, ["a", "b"]);
  // From then on it may be used.
  journal.seal();
  await journal.append(frame("d"));
  assertEquals([...disk.contents().keys()].some((path) => path.endsWith("/spare")), false);
  await journal.close();
});
