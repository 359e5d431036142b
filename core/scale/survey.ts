/** How much a move carries: as an estimate for the progress, and exactly for a dry run and for small disks. */
import { type MovingLayout, nextOf, ownerIn } from "../layout/layout.ts";
import { type CopyFacts } from "../rebalance/copy.ts";
import { MOST_SIZES } from "../rebalance/disk_room.ts";
import { type Member } from "./member.ts";

/** Keys on their way from one server to another. */
export interface Flow {
  readonly from: string;
  readonly to: string;
  keys: number;
  bytes: number;
}

/** How many keys the estimate of a share goes by. */
const SAMPLE_KEYS = 5000;

/** Keys that are asked for their sizes at once, for each source. */
const CONCURRENCY = 4;

/** About which share of a source's keys goes to each other server. Asks nobody: placement spreads keys evenly. */
export function sharesOf(layout: MovingLayout, source: string): ReadonlyMap<string, number> {
  const next = nextOf(layout);
  const counts = new Map<string, number>();
  let owned = 0;
  for (let index = 0; index < SAMPLE_KEYS; index++) {
    const key = `sample-${index * 7919}`;
    if (ownerIn(layout, key) !== source) continue;
    owned++;
    const target = ownerIn(next, key);
    if (target !== source) counts.set(target, (counts.get(target) ?? 0) + 1);
  }
  return new Map([...counts].map(([target, count]) => [target, count / owned]));
}

/** What a survey tells on its way. */
export interface SurveyOptions {
  readonly signal: AbortSignal;
  /** Told the size of each key that moves (bytes). */
  readonly onKey: (from: string, to: string, size: number) => void;
}

/** Lists the keys that `source` has still to hand over, and asks for their sizes. */
export async function surveySource(
  source: Member,
  layout: MovingLayout,
  { signal, onKey }: SurveyOptions,
): Promise<void> {
  const next = nextOf(layout);
  const measure = async (keys: readonly string[]) => {
    const facts = await source.factsMany(keys);
    for (const [index, key] of keys.entries()) {
      const fact: CopyFacts | undefined = facts[index];
      if (fact !== undefined) onKey(source.name, ownerIn(next, key), fact.size);
    }
  };
  for await (const page of source.keys()) {
    if (signal.aborted) return;
    const leaving = page.filter((key) =>
      ownerIn(layout, key) === source.name && ownerIn(next, key) !== source.name
    );
    for (let at = 0; at < leaving.length; at += CONCURRENCY * MOST_SIZES) {
      const some = leaving.slice(at, at + CONCURRENCY * MOST_SIZES);
      const parts = Array.from(
        { length: Math.ceil(some.length / MOST_SIZES) },
        (_, part) => some.slice(part * MOST_SIZES, (part + 1) * MOST_SIZES),
      );
      await Promise.all(parts.map(measure));
    }
  }
}
