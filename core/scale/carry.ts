/** Carries the keys of one source to their targets, range by range, until the source has handed over all of them. */
import { delay } from "@std/async/delay";
import { type MovingLayout } from "../layout/layout.ts";
import { type Pace } from "../rebalance/pace.ts";
import { ScaleError } from "../errors.ts";
import { OvertakenError } from "./errors.ts";
import { giveTo } from "./give.ts";
import { type Member, type Refused } from "./member.ts";
import { type Parcels, partRange, type Range } from "./range.ts";

/** The limits of a range, unless `--rate` sets a lower one. */
const RANGE_KEYS = 1000;
const RANGE_BYTES = 1024 * 1024;

/** The first lease of a fence (ms). It is doubled when one ran out. */
const FIRST_LEASE_MS = 2000;
const LONGEST_LEASE_MS = 60_000;

/** The time from one look at a fence of somebody else to the next (ms). */
const FENCE_POLL_MS = 100;

/** What the sources of a move share. */
export interface Carriage {
  readonly layout: MovingLayout;
  readonly targets: readonly Member[];
  readonly pace: Pace;
  /** An abort stops between ranges. */
  readonly signal: AbortSignal;
  /** Told each range that is handed over. */
  readonly onRange: (source: string, keys: number, bytes: number, upto: string | null) => void;
}

/**
 * Carries all keys of `source`. Resolves to whether the source has handed over all of them: not so if an abort came
 * before that.
 *
 * @throws {OvertakenError} If a server has a newer layout: somebody else goes on with the cluster.
 * @throws {RemoteError} If a server fails for longer than patience lasts.
 * @throws {ScaleError} If a server refuses the layout of the move.
 */
export async function carry(source: Member, carriage: Carriage): Promise<boolean> {
  const { layout, pace, signal, targets, onRange } = carriage;
  const { cluster, epoch } = layout;
  const takers = targets.filter((target) => target !== source);
  const fences = new FenceWait(source, signal);
  let leaseMs = FIRST_LEASE_MS;
  while (!signal.aborted) {
    const keys = Math.min(RANGE_KEYS, pace.mostAtOnce);
    const range = await source.handover({ cluster, epoch, keys, bytes: RANGE_BYTES, leaseMs });
    if (range === "end") return true;
    if (isRefused(range)) {
      if (!await mendLayout(source, range, layout)) await fences.wait(range);
      continue;
    }
    fences.passed();
    const parcels = partRange(range, layout);
    const taken = await Promise.all(
      takers.map((target) => deliver(target, { source, range, parcels, layout })),
    );
    if (!taken.every((isTaken) => isTaken)) continue;
    const done = await source.done({ cluster, epoch, fence: range.fence });
    if (done === undefined) {
      onRange(source.name, parcels.keys, parcels.bytes, range.upto);
      await pace.take(parcels.keys);
    } else if (!await mendLayout(source, done, layout)) {
      leaseMs = Math.min(2 * leaseMs, LONGEST_LEASE_MS);
    }
  }
  return false;
}

interface Delivery {
  readonly source: Member;
  readonly range: Range;
  readonly parcels: Parcels;
  readonly layout: MovingLayout;
}

/** Has `target` take a range; `false` if its fence is an old one by now. */
async function deliver(target: Member, delivery: Delivery): Promise<boolean> {
  const { source, range: { fence, after, upto }, parcels, layout } = delivery;
  const { cluster, epoch, since } = layout;
  let attempt = 0;
  const { large } = parcels;
  const request = {
    head: { cluster, epoch, since, source: source.name, fence, after, upto },
    lines: parcels.lines.get(target.name) ?? "",
    large: large?.target === target.name
      ? { ...large, open: () => source.largeValue(large.key, fence) }
      : undefined,
    nextAttempt: () => ++attempt,
  };
  while (true) {
    const taken = await target.take(request);
    if (taken === undefined) return true;
    if (taken.reason === "old") return false;
    if (taken.reason === "repeated") continue;
    if (!await mendLayout(target, taken, layout)) {
      throw new ScaleError(`${target.name} does not take keys: ${taken.detail}`);
    }
  }
}

/**
 * Gives a server that refused the layout of the move, if it is behind; `false` if it has it.
 *
 * @throws {OvertakenError} If it has a newer one.
 */
async function mendLayout(
  member: Member,
  refused: Refused,
  layout: MovingLayout,
): Promise<boolean> {
  const had = refused.layout;
  if (had !== undefined && had.cluster === layout.cluster) {
    if (had.epoch > layout.epoch) throw new OvertakenError(had.epoch);
    if (had.epoch === layout.epoch) return false;
  }
  await giveTo(member, layout);
  return true;
}

function isRefused(answer: Range | Refused): answer is Refused {
  return "detail" in answer;
}

/** Waits for a fence that is not ours: one of another mover, or of a request whose answer was lost. */
class FenceWait {
  readonly #source: Member;
  readonly #signal: AbortSignal;
  #since: number | undefined;
  #mark: string | undefined;

  constructor(source: Member, signal: AbortSignal) {
    this.#source = source;
    this.#signal = signal;
  }

  /** No fence stands any more. */
  passed(): void {
    this.#since = undefined;
  }

  /** @throws {ScaleError} If the source refused for longer than any lease, and nobody moved its mark meanwhile. */
  async wait({ detail }: Refused): Promise<void> {
    const now = performance.now();
    if (this.#since === undefined) {
      this.#since = now;
    } else if (now - this.#since > 2 * LONGEST_LEASE_MS) {
      const { mark: { key } } = await this.#source.look();
      if (key === this.#mark) {
        throw new ScaleError(`${this.#source.name} hands no keys over: ${detail}`);
      }
      this.#mark = key;
      this.#since = now;
    }
    await delay(FENCE_POLL_MS, { signal: this.#signal }).catch(() => {});
  }
}
