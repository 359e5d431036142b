/** Layouts at random, for the tests of core/layout. A property that fails prints its seed. */
import fc from "fast-check";
import {
  type Layout,
  type Mark,
  type MovingLayout,
  parseLayout,
} from "../../../core/layout/layout.ts";
import { type FencedRange } from "../../../core/layout/ownership.ts";
import { type PlacementName } from "../../../core/placement.ts";

export const CLUSTER = "0b7d0000-0000-4000-8000-000000000000";
export const OTHER_CLUSTER = "0b7d0000-0000-4000-8000-000000000001";

const NAMES = ["s1", "s2", "s3", "s4", "s5"];

/** The id of a store by the server's name; another `disk` is another store. */
export function storeId(name: string, disk = 0): string {
  const server = name.slice(1).padStart(8, "0");
  return `${server}-0000-4000-8000-${String(disk).padStart(12, "0")}`;
}

/** The stores of all servers that these tests know. */
export function storesOf(names: readonly string[], disk = 0): Record<string, string> {
  return Object.fromEntries(names.map((name) => [name, storeId(name, disk)]));
}

/** A steady layout. */
export function steady(epoch: number, servers: readonly string[], more: object = {}): Layout {
  const layout = { cluster: CLUSTER, epoch, placement: "jump", servers, ...more };
  return parseLayout({ stores: storesOf(servers), ...layout });
}

/** A moving layout, whose move begins with it unless `more` has another `since`. */
export function moving(
  epoch: number,
  servers: readonly string[],
  next: readonly string[],
  more: object = {},
): Layout {
  const stores = storesOf([...servers, ...next]);
  const layout = { cluster: CLUSTER, epoch, since: epoch, placement: "jump", servers, next };
  return parseLayout({ stores, ...layout, ...more });
}

export const placements = fc.constantFrom<PlacementName>("modulo", "jump");

/** The anchor s0 and some others, in any order. */
export const lists: fc.Arbitrary<string[]> = fc.shuffledSubarray(NAMES).map(
  (names) => ["s0", ...names],
);

/** The list after a move: other servers, fewer, more, or the same list for another placement. */
function nextLists(servers: readonly string[]): fc.Arbitrary<string[]> {
  const others = NAMES.filter((name) => !servers.includes(name));
  return fc.oneof(
    fc.integer({ min: 0, max: others.length }).map((n) => [...servers, ...others.slice(0, n)]),
    fc.integer({ min: 1, max: servers.length }).map((n) => servers.slice(0, n)),
    lists,
  );
}

export const steadyLayouts: fc.Arbitrary<Layout> = fc.record({
  epoch: fc.integer({ min: 1, max: 30 }),
  placement: placements,
  servers: lists,
}).map(({ epoch, placement, servers }) => steady(epoch, servers, { placement }));

export const movingLayouts: fc.Arbitrary<MovingLayout> = lists.chain((servers) =>
  fc.record({
    since: fc.integer({ min: 2, max: 30 }),
    later: fc.nat(3),
    placement: placements,
    nextPlacement: placements,
    next: nextLists(servers),
    lost: fc.oneof(fc.constant([]), fc.subarray(servers)),
  }).map(({ since, later, next, placement, nextPlacement, lost }) => {
    const more = { since, placement, nextPlacement, lost };
    const layout = moving(since + later, servers, next, more);
    return { ...layout, next, nextPlacement, lost };
  })
);

export const layouts: fc.Arbitrary<Layout> = fc.oneof(steadyLayouts, movingLayouts);

/** Keys of which many are near each other, also such that UTF-8 and UTF-16 order in another way. */
export const keys: fc.Arbitrary<string> = fc.oneof(
  fc.string({ unit: fc.constantFrom(..."abc"), minLength: 1, maxLength: 3 }),
  fc.string({
    unit: fc.constantFrom("é", "\ue000", "\uffff", "😀", "z"),
    minLength: 1,
    maxLength: 2,
  }),
);

export const marks: fc.Arbitrary<Mark> = fc.oneof(
  fc.record({ key: fc.option(keys, { nil: undefined }), end: fc.constant(false) }),
  fc.record({ key: fc.option(keys, { nil: undefined }), end: fc.constant(true) }),
);

export const fences: fc.Arbitrary<FencedRange | undefined> = fc.option(
  fc.record({
    after: fc.option(keys, { nil: undefined }),
    upto: fc.option(keys, { nil: undefined }),
  }),
  { nil: undefined },
);
