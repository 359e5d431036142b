/** Offers of layouts, for the tests of succession. */
import { assert } from "@std/assert";
import { type Layout, NO_MARK } from "../../../core/layout/layout.ts";
import { type Held, type Offer, succeed } from "../../../core/layout/succession.ts";
import { storeId } from "./layouts.ts";

/** What the server `self` has, by its usual disk. */
export function held(self: string, layout: Layout | undefined, more: Partial<Held> = {}): Held {
  const known = layout === undefined ? undefined : self;
  return { layout, self: known, store: storeId(self), mark: NO_MARK, hasKeys: true, ...more };
}

/** `layout` as the mover gives it to the server `self`. */
export function offer(self: string, layout: Layout, more: Partial<Offer> = {}): Offer {
  return { layout, self, store: storeId(self), replace: false, ...more };
}

/** The answer as one word: taken, continued, emptied, same, refused, stopped, barred. */
export function wordOf(had: Held, given: Offer): string {
  const answer = succeed(had, given);
  if (answer.result === "taken") {
    assert(!(answer.empties && answer.continues));
    return answer.empties ? "emptied" : answer.continues ? "continued" : "taken";
  }
  if (answer.result === "same") return "same";
  assert(!(answer.stops && answer.bars));
  assert(/^[^\n]{1,100}$/.test(answer.detail), answer.detail);
  return answer.stops ? "stopped" : answer.bars ? "barred" : "refused";
}
