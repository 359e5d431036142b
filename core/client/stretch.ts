/** A stretch of the keys of all servers, from the pages that they tell while keys may be moving. */
import { compareKeys } from "../key.ts";
import { isHandedOver, type Layout, type Mark, nextOf, ownerIn } from "../layout/layout.ts";
import { type KeyPage } from "./remote.ts";

/** Keys of all servers, in order: all that there are behind one key, up to another. */
export interface Stretch {
  readonly keys: readonly string[];
  /** The last key of the stretch; `undefined`: it goes to the end. */
  readonly upto: string | undefined;
}

/** The pages of some servers, by name. All begin behind the same key. */
export type Pages = ReadonlyMap<string, KeyPage>;

/**
 * Joins the pages of sources, and those of targets, which were asked for after that. A target is believed only up to
 * the mark that the source of the key told with its page: else a key that is on its way could be missed, or a copy of
 * before could be listed.
 */
export function joinPages(layout: Layout, sources: Pages, targets: Pages): Stretch {
  const upto = [...sources.values(), ...targets.values()]
    .map(({ next }) => next)
    .reduce((least, next) => {
      if (least === undefined || next === undefined) return least ?? next;
      return compareKeys(next, least) < 0 ? next : least;
    }, undefined);
  const isIn = (key: string) => upto === undefined || compareKeys(key, upto) <= 0;
  const keys = new Set<string>();
  for (const [source, page] of sources) {
    for (const key of page.keys) {
      if (isIn(key) && ownerIn(layout, key) === source) keys.add(key);
    }
  }
  const next = nextOf(layout);
  for (const [target, page] of targets) {
    for (const key of page.keys) {
      const source = ownerIn(layout, key);
      const isThere = source === target || isGone(layout, sources.get(source)?.mark, source, key);
      if (isIn(key) && isThere && ownerIn(next, key) === target) keys.add(key);
    }
  }
  return { keys: [...keys].sort(compareKeys), upto };
}

/** Whether a source that told `mark` has handed `key` over. */
function isGone(layout: Layout, mark: Mark | undefined, source: string, key: string): boolean {
  return layout.lost?.includes(source) === true || (mark !== undefined && isHandedOver(mark, key));
}
