/**
 * The limit of durable saves: `append_limit.ts FILE IN_FLIGHT VALUE_BYTES SECONDS` appends values to
 * a file, without any protocol. All that arrive while a flush is under way go out together in the
 * next. Prints a `Sample` as JSON.
 */
import type { Sample } from "./types.ts";

/** What a record needs besides its value: a key of the usual length, lengths, a checksum. */
const RECORD_OVERHEAD = 32;

async function append(
  path: string,
  inFlight: number,
  valueBytes: number,
  seconds: number,
): Promise<Sample> {
  using file = Deno.openSync(path, { create: true, truncate: true, write: true });
  const record = new Uint8Array(RECORD_OVERHEAD + valueBytes).fill(118);
  const latencies: number[] = [];
  let waiting: (() => void)[] = [];

  const start = performance.now();
  const end = start + seconds * 1000;

  async function saver(): Promise<void> {
    while (performance.now() < end) {
      const sentAt = performance.now();
      await new Promise<void>((resolve) => waiting.push(resolve));
      latencies.push(performance.now() - sentAt);
    }
  }

  async function flusher(): Promise<void> {
    while (waiting.length > 0) {
      const group = waiting;
      waiting = [];
      const bytes = new Uint8Array(group.length * record.length);
      group.forEach((_, index) => bytes.set(record, index * record.length));
      for (let at = 0; at < bytes.length;) at += file.writeSync(bytes.subarray(at));
      await file.syncData();
      for (const done of group) done();
      // The savers that were just told come back in microtasks.
      await new Promise<void>((resolve) => queueMicrotask(resolve));
    }
  }

  const savers = Array.from({ length: inFlight }, saver);
  await flusher();
  await Promise.all(savers);

  const elapsed = (performance.now() - start) / 1000;
  const sorted = Float64Array.from(latencies).sort();
  return {
    perSecond: sorted.length / elapsed,
    p50Ms: sorted[Math.floor(sorted.length * 0.5)] ?? NaN,
    p99Ms: sorted[Math.floor(sorted.length * 0.99)] ?? NaN,
    errors: 0,
  };
}

const [path = "", inFlight, valueBytes, seconds] = Deno.args;
const sample = await append(path, Number(inFlight), Number(valueBytes), Number(seconds));
console.log(JSON.stringify(sample));
