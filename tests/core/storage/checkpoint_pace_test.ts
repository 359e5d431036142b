/** When a checkpoint begins and how hard it works, decided without a disk or a clock. */
import { assertEquals } from "@std/assert";
import { type CheckpointLoad, CheckpointPace } from "../../../core/storage/checkpoint_pace.ts";

/** A load that a test changes. */
type Load = { -readonly [Name in keyof CheckpointLoad]: CheckpointLoad[Name] };

/** A pace whose last checkpoint is long ago, with the load that it is decided by. */
function prepare(changes: Partial<Load> = {}): { load: Load; pace: CheckpointPace } {
  const load = { writes: 0, keys: 0, isBusy: false, isPressed: false, ...changes };
  return { load, pace: new CheckpointPace(load, 0) };
}

/** Adds `count` writes of new keys. */
function write(load: Load, count: number): void {
  load.writes += count;
  load.keys += count;
}

/** Looks as often as it is told to, with `perLook` new writes before each look; returns when the checkpoint begins. */
function beginMs(load: Load, pace: CheckpointPace, perLook = (_ms: number) => 0): number {
  let nowMs = 1000;
  pace.committed(nowMs);
  for (let waitMs = pace.firstLookMs(nowMs); waitMs > 0; waitMs = pace.look(nowMs)) {
    nowMs += waitMs;
    write(load, perLook(nowMs));
  }
  return nowMs - 1000;
}

Deno.test("CheckpointPace begins 20 ms after a write that comes alone, 200 ms after a few", () => {
  for (const [count, isBusy, ms] of [[1, false, 20], [1, true, 200], [2, false, 200]] as const) {
    const { load, pace } = prepare({ isBusy });
    write(load, count);
    assertEquals(beginMs(load, pace), ms);
  }
});

Deno.test("CheckpointPace makes a write that follows a checkpoint wait for others", () => {
  const { load, pace } = prepare();
  assertEquals(pace.ended(900, "nothing"), undefined);
  write(load, 1);
  assertEquals(beginMs(load, pace), 200);
});

Deno.test("CheckpointPace waits until a burst has been over for a second", () => {
  const { load, pace } = prepare();
  const burst = (ms: number) => ms <= 11_000 ? 60 : 0;
  write(load, 60);
  assertEquals(beginMs(load, pace, burst), 11_000);
  const few = prepare();
  write(few.load, 50);
  assertEquals(beginMs(few.load, few.pace), 200);
});

Deno.test("CheckpointPace waits for no burst of few keys", () => {
  const { load, pace } = prepare();
  load.writes = 10_000;
  load.keys = 50;
  assertEquals(beginMs(load, pace), 200);
});

Deno.test("CheckpointPace lets a burst without end wait for a minute", () => {
  const { load, pace } = prepare();
  write(load, 60);
  assertEquals(beginMs(load, pace, () => 60), 60_000);
  // The next minute counts from the first write that no checkpoint has taken up.
  pace.began();
  pace.committed(61_100);
  write(load, 60);
  assertEquals(pace.look(61_200), 200);
});

Deno.test("CheckpointPace waits for no burst when writers are pressed", () => {
  const { load, pace } = prepare();
  write(load, 60);
  assertEquals(beginMs(load, pace, (ms) => (load.isPressed = ms >= 2000, 60)), 1000);
});

Deno.test("CheckpointPace leaves the disk to writers, unless they are pressed", () => {
  for (
    const [isBusy, isPressed, concurrency, pauseMs] of [
      [false, false, 8, 0],
      [true, false, 2, 60],
      [true, true, 8, 0],
    ] as const
  ) {
    const { pace } = prepare({ isBusy, isPressed });
    assertEquals([pace.concurrency, pace.pauseMs(10)], [concurrency, pauseMs]);
  }
});

Deno.test("CheckpointPace goes on soon with what is left, later with blocked keys", () => {
  const { load, pace } = prepare();
  assertEquals(pace.ended(0, "writes"), 200);
  assertEquals(pace.ended(0, "blocked"), 4000);
  load.isPressed = true;
  assertEquals(pace.ended(0, "blocked"), 0);
});

Deno.test("CheckpointPace tries again later after each failure, at most after four seconds", () => {
  const { load, pace } = prepare();
  write(load, 60);
  for (const ms of [250, 500, 1000, 2000, 4000, 4000]) {
    pace.failed();
    assertEquals(pace.ended(0, "writes"), ms);
    // A burst is no reason to wait then.
    assertEquals(pace.look(ms), 0);
  }
  assertEquals(pace.isRetrying, true);
  pace.succeeded();
  assertEquals([pace.isRetrying, pace.ended(0, "nothing")], [false, undefined]);
});
