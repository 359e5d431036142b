/**
 * `put_layout` of the model that the protocol was found with, which plays random schedules: a second way to say which
 * layout a server takes. It tells no reasons.
 */
import { isMoving, type Layout, nextOf, sameLayout, storeOf } from "../../../core/layout/layout.ts";
import { type Held, type Offer } from "../../../core/layout/succession.ts";

/** What the model's server makes of a layout; `barred` is its word `refused`. */
export interface ModelAnswer {
  readonly isOk: boolean;
  readonly isStopped: boolean;
  readonly isBarred: boolean;
}

const same = (a: unknown, b: unknown) => JSON.stringify(a) === JSON.stringify(b);

function isSameMove(a: Layout, b: Layout): boolean {
  return isMoving(a) && isMoving(b) && a.since === b.since;
}

/** The model's answer to a layout, by its mended rules. */
export function putLayout(held: Held, { layout: n, self, store }: Offer): ModelAnswer {
  const no = { isOk: false, isStopped: false, isBarred: false };
  const { layout: l } = held;
  const isLost = (layout: Layout) => layout.lost?.includes(self) === true;
  const named = storeOf(n, self);
  if (l !== undefined && l.cluster !== n.cluster) return no;
  if (l === undefined && store !== held.store) return no;
  let isOk: boolean;
  if (l === undefined) {
    const isTarget = isMoving(n) && n.next.includes(self) && !n.servers.includes(self);
    isOk = !(held.hasKeys && isTarget);
  } else if (n.epoch < l.epoch) return no;
  else if (n.epoch === l.epoch) return { ...no, isOk: sameLayout(n, l) };
  else if (!isMoving(l)) {
    isOk = !l.servers.includes(self) || same([n.servers, n.placement], [l.servers, l.placement]);
  } else if (isSameMove(n, l)) {
    isOk = l.lost.every((name) => n.lost?.includes(name));
  } else if (l.servers.includes(self) && !(isLost(l) || held.mark.end)) isOk = false;
  else if (l.next.includes(self)) {
    isOk = same([n.servers, n.placement], [nextOf(l).servers, nextOf(l).placement]);
  } else isOk = true;
  if (self === n.servers[0] && l !== undefined && n.epoch !== l.epoch + 1) isOk = false;
  if (named !== undefined && named !== held.store) {
    if (isMoving(n) && l === undefined) return { ...no, isBarred: true };
    const was = l === undefined ? undefined : storeOf(l, self) ?? held.store;
    if (was === held.store || isMoving(n)) isOk = false;
  }
  return { isOk, isStopped: !isOk && l !== undefined && n.epoch > l.epoch, isBarred: false };
}
