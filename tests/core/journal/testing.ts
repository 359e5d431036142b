/** What tests of the journal alone share: frames of one record, and which of them are found again. */
import { FrameBuffer } from "../../../core/journal/frame_buffer.ts";
import { replayJournal } from "../../../core/journal/replay.ts";
import { Value } from "../../../core/value.ts";
import type { SimulatedDisk } from "../system/simulated_disk.ts";

/** A frame that saves `key` under itself. */
export function frame(key: string): FrameBuffer {
  const frame = new FrameBuffer();
  frame.putValue(key, new Value(key));
  return frame;
}

/** The keys that a replay of these segments in `/h` finds, in order. */
export async function keysFound(
  disk: SimulatedDisk,
  segments: readonly number[],
): Promise<string[]> {
  const found: string[] = [];
  const options = { folder: "/h", files: disk, log() {} };
  await replayJournal(segments, ({ key }) => found.push(key), options);
  return found;
}
