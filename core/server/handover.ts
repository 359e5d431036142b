/** The source's side of a hand-over: it fences the next range of its keys, tells them, and gives them up. */
import { encodeBase64 } from "@std/encoding/base64";
import { LayoutConflictError } from "../errors.ts";
import { compareKeys } from "../key.ts";
import { type Layout, type Mark } from "../layout/layout.ts";
import { type Place } from "../layout/ownership.ts";
import { type Admit, type LargeValue, type Store } from "../store.ts";
import { Value } from "../value.ts";
import { deleteKeys, pagesOf } from "./delete_keys.ts";
import { type Fence } from "./fence.ts";
import { type Membership } from "./membership.ts";

/** How large a range may be. */
export interface RangeLimits {
  /** The most keys. */
  readonly keys: number;
  /** The size of the lines at which a range ends, in bytes. */
  readonly bytes: number;
  /** How long the fence stands, in milliseconds. */
  readonly leaseMs: number;
}

/** A range that is fenced, as text: a line that names it, and a line for each key that goes to another server. */
export type FencedLines = readonly string[];

/** Longest wait between two turns of the event loop (milliseconds). */
const TURN_MS = 2;

/**
 * Fences the next range of this source and resolves to its lines, or to `undefined` if all keys are handed over.
 *
 * @throws {LayoutConflictError} If the server has no such move, is no source, or has a fence.
 */
export async function fenceRange(
  store: Store,
  membership: Membership,
  { cluster, epoch }: { readonly cluster: string; readonly epoch: number },
  limits: RangeLimits,
): Promise<FencedLines | undefined> {
  const { place, mark } = sourceOf(membership, cluster, epoch);
  if (mark.end || place.isLost) return undefined;
  if (membership.fence !== undefined || membership.isFencing) {
    throw new LayoutConflictError("Another fence stands");
  }
  membership.isFencing = true;
  let fence: Fence | undefined;
  try {
    const after = mark.key;
    const upto = await keyAt(store, place, after, limits.keys);
    fence = await membership.raise(place.layout, { after, upto });
    // Writes that were put in line before the fence are a part of the range.
    await store.settled();
    const lines = await collect(store, place, fence, limits);
    membership.lease(fence, limits.leaseMs);
    const range = { fence: fence.number, after: after ?? null, upto: fence.upto ?? null };
    return [JSON.stringify(range) + "\n", ...lines];
  } catch (error) {
    membership.lift(fence);
    throw error;
  } finally {
    membership.isFencing = false;
  }
}

/**
 * Gives up the range of a fence: durably handed over, then no key of the range is answered for, then the keys are
 * deleted.
 *
 * @throws {LayoutConflictError} If that fence does not stand.
 */
export async function giveUpRange(
  store: Store,
  membership: Membership,
  { cluster, epoch, fence: number }: {
    readonly cluster: string;
    readonly epoch: number;
    readonly fence: number;
  },
): Promise<void> {
  const { place } = sourceOf(membership, cluster, epoch);
  const { after, upto } = await membership.handOver(number, epoch);
  // If another layout has come, the keys may be new ones.
  const admit: Admit = () => {
    if (membership.place !== place) throw new LayoutConflictError("Another layout has come");
    return undefined;
  };
  membership.handedOver += await deleteKeys(
    store,
    after === undefined ? {} : { after },
    (key) => place.leaves(key),
    { upto, admit },
  );
}

/** The place of a source in the move of `epoch`. @throws {LayoutConflictError} If there is none. */
function sourceOf(
  membership: Membership,
  cluster: string,
  epoch: number,
): { readonly place: Place; readonly mark: Mark } {
  const place = membership.moving();
  checkEpoch(place.layout, cluster, epoch);
  if (!place.isSource) throw new LayoutConflictError("This server is no source of the move");
  return { place, mark: membership.mark };
}

/** @throws {LayoutConflictError} If the layout is another one. */
export function checkEpoch(layout: Layout, cluster: string, epoch: number): void {
  if (layout.cluster !== cluster) {
    throw new LayoutConflictError("This server belongs to another cluster", "behind");
  }
  if (layout.epoch !== epoch) {
    throw new LayoutConflictError(`This server has epoch ${layout.epoch}, not ${epoch}`, "behind");
  }
}

/** The number of keys that a source has still to hand over; `undefined` if no move is under way. */
export async function countLeaving(
  store: Store,
  membership: Membership,
): Promise<number | undefined> {
  const { place, mark } = membership;
  if (place === undefined || !place.isMoving) return undefined;
  if (mark.end || place.isLost) return 0;
  let count = 0;
  for await (const page of pagesOf(store, mark.key === undefined ? {} : { after: mark.key })) {
    for (const key of page) if (place.leaves(key)) count++;
  }
  return count;
}

/** The key of this number, from 1, among the keys behind `after` that leave; `undefined` if they are fewer. */
async function keyAt(
  store: Store,
  place: Place,
  after: string | undefined,
  number: number,
): Promise<string | undefined> {
  let left = number;
  for await (const page of pagesOf(store, after === undefined ? {} : { after })) {
    for (const key of page) if (place.leaves(key) && --left === 0) return key;
  }
  return undefined;
}

/** The lines of a fenced range. If the range is too large, the fence is made to end earlier. */
async function collect(
  store: Store,
  place: Place,
  fence: Fence,
  limits: RangeLimits,
): Promise<string[]> {
  const lines: string[] = [];
  let bytes = 0;
  let last: string | undefined;
  let turn = performance.now();
  for await (
    const page of pagesOf(store, fence.after === undefined ? {} : { after: fence.after })
  ) {
    for (const key of page) {
      if (fence.upto !== undefined && compareKeys(key, fence.upto) > 0) return lines;
      if (!place.leaves(key)) continue;
      if (last !== undefined && (lines.length >= limits.keys || bytes >= limits.bytes)) {
        fence.shrink(last);
        return lines;
      }
      const found = store.get(key);
      const value = found instanceof Promise ? await found : found;
      if (value === undefined) continue;
      if (!(value instanceof Value)) {
        value.discard();
        // A large value is carried alone.
        fence.shrink(last ?? key);
        return last === undefined ? [largeLine(key, value)] : lines;
      }
      const line = lineOf(key, value);
      lines.push(line);
      bytes += line.length;
      last = key;
      if (performance.now() - turn < TURN_MS) continue;
      await new Promise((resolve) => setTimeout(resolve, 0));
      turn = performance.now();
    }
  }
  return lines;
}

function lineOf(key: string, { text, bytes, contentType, etag }: Value): string {
  const content = text === null ? { base64: encodeBase64(bytes) } : { value: text };
  return JSON.stringify({ key, ...content, type: contentType, etag }) + "\n";
}

function largeLine(key: string, { contentType, etag, size }: LargeValue): string {
  return JSON.stringify({ key, type: contentType, etag, size }) + "\n";
}
