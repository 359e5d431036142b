/** Which layout a server takes: each row of the protocol's table. */
import { assertEquals } from "@std/assert";
import { END_MARK, type Mark } from "../../../core/layout/layout.ts";
import { type Held, type Offer } from "../../../core/layout/succession.ts";
import { moving, OTHER_CLUSTER, steady, storeId, storesOf } from "./layouts.ts";
import { held, offer, wordOf } from "./offers.ts";

const ALL = ["s0", "s1", "s2", "s3"];
const THREE = ["s0", "s1", "s2"];
const TWO = ["s0", "s1"];

const anotherDisk = (self: string, names: readonly string[]) => ({
  stores: { ...storesOf(names), [self]: storeId(self, 1) },
});
const NO_KEYS = { hasKeys: false };
const ENDED = { mark: END_MARK };
const HALF: { mark: Mark } = { mark: { key: "k", end: false } };
const GROW = moving(12, TWO, THREE);
const SHRINK = moving(12, THREE, TWO);
const GROWN = steady(13, THREE);
const LOST = moving(13, TWO, THREE, { since: 12, lost: ["s1"], ...anotherDisk("s1", THREE) });

/** A row: what the server has, what it is given, and what it makes of it. */
type Row = readonly [name: string, had: Held, given: Offer, word: string];

const NO_LAYOUT: Row[] = [
  ["a steady one with it", held("s1", undefined), offer("s1", steady(7, TWO)), "taken"],
  ["a steady one without it", held("s3", undefined), offer("s3", steady(7, TWO)), "taken"],
  ["a moving one as source", held("s1", undefined), offer("s1", GROW), "taken"],
  ["a moving one as target", held("s2", undefined, NO_KEYS), offer("s2", GROW), "taken"],
  [
    "one for another store",
    held("s1", undefined),
    offer("s1", GROW, { store: storeId("s0") }),
    "refused",
  ],
  ["one of a client", held("s1", undefined), offer("s1", GROW, { store: undefined }), "refused"],
  ["a moving one as target, over its keys", held("s2", undefined), offer("s2", GROW), "refused"],
  ["that, to replace them", held("s2", undefined), offer("s2", GROW, { replace: true }), "emptied"],
  [
    "a move that began with another disk",
    held("s1", undefined, NO_KEYS),
    offer("s1", moving(12, TWO, THREE, anotherDisk("s1", THREE))),
    "barred",
  ],
  [
    "a steady one that names another disk",
    held("s1", undefined, NO_KEYS),
    offer("s1", steady(12, TWO, anotherDisk("s1", TWO))),
    "taken",
  ],
  [
    "a move in which it is lost, with its new disk",
    held("s1", undefined, { store: storeId("s1", 1) }),
    offer("s1", LOST, { store: storeId("s1", 1) }),
    "taken",
  ],
];

const OUTSIDER: Row[] = [
  ["a later steady one", held("s3", GROWN), offer("s3", steady(20, TWO)), "taken"],
  ["a later move to it", held("s3", GROWN), offer("s3", moving(20, TWO, ALL)), "taken"],
  ["one after a move of others", held("s3", GROW), offer("s3", steady(20, ALL)), "taken"],
  [
    "another disk as source",
    held("s3", GROWN),
    offer("s3", steady(20, ALL, anotherDisk("s3", ALL))),
    "stopped",
  ],
];

const STEADY: Row[] = [
  ["a move from the same servers", held("s1", steady(11, TWO)), offer("s1", GROW), "taken"],
  ["that, some epochs later", held("s1", steady(9, TWO)), offer("s1", GROW), "taken"],
  ["only a higher epoch", held("s1", steady(11, TWO)), offer("s1", steady(12, TWO)), "taken"],
  [
    "another's new store",
    held("s1", steady(11, TWO)),
    offer("s1", steady(12, TWO, anotherDisk("s0", TWO))),
    "taken",
  ],
  [
    "its own new store",
    held("s1", steady(11, TWO)),
    offer("s1", steady(12, TWO, anotherDisk("s1", TWO))),
    "stopped",
  ],
  ["other servers", held("s1", steady(11, TWO)), offer("s1", GROWN), "stopped"],
  [
    "a move from other servers",
    held("s1", steady(11, TWO)),
    offer("s1", moving(14, THREE, TWO)),
    "stopped",
  ],
  [
    "another placement",
    held("s1", steady(11, TWO)),
    offer("s1", steady(12, TWO, { placement: "modulo" })),
    "stopped",
  ],
  [
    "a move that began before",
    held("s1", steady(11, TWO)),
    offer("s1", moving(12, TWO, THREE, { since: 11 })),
    "stopped",
  ],
  ["at the anchor, the next epoch", held("s0", steady(11, TWO)), offer("s0", GROW), "taken"],
  [
    "at the anchor, an epoch that skips one",
    held("s0", steady(10, TWO)),
    offer("s0", GROW),
    "stopped",
  ],
];

const UNNAMED = steady(11, TWO, anotherDisk("s1", TWO));
const NEW_DISK: Row[] = [
  [
    "a steady one that names it",
    held("s1", UNNAMED, NO_KEYS),
    offer("s1", steady(12, TWO)),
    "taken",
  ],
  ["a move that names it", held("s1", UNNAMED, NO_KEYS), offer("s1", GROW), "taken"],
  [
    "one that still names another",
    held("s1", UNNAMED, NO_KEYS),
    offer("s1", steady(12, TWO, anotherDisk("s1", TWO))),
    "taken",
  ],
  [
    "a move that names another",
    held("s1", UNNAMED, NO_KEYS),
    offer("s1", moving(12, TWO, THREE, anotherDisk("s1", THREE))),
    "stopped",
  ],
  [
    "one that names it, though it holds keys of before",
    held("s1", UNNAMED),
    offer("s1", steady(12, TWO)),
    "stopped",
  ],
  [
    "that, to replace them",
    held("s1", UNNAMED),
    offer("s1", steady(12, TWO), { replace: true }),
    "emptied",
  ],
];

const MOVING: Row[] = [
  ["the move with one more lost", held("s0", GROW), offer("s0", LOST), "continued"],
  ["that, as target", held("s2", GROW), offer("s2", LOST), "continued"],
  ["that, as a source half-way", held("s0", GROW, HALF), offer("s0", LOST), "continued"],
  [
    "that, as the old disk of the one that is lost",
    held("s1", GROW, HALF),
    offer("s1", LOST),
    "stopped",
  ],
  [
    "a new store of one that is lost",
    held("s0", LOST),
    offer("s0", moving(14, TWO, THREE, { since: 12, lost: ["s1"] })),
    "continued",
  ],
  [
    "the move with one lost less",
    held("s2", LOST),
    offer("s2", moving(14, TWO, THREE, { since: 12 })),
    "stopped",
  ],
  ["steady, with keys to hand over", held("s1", GROW, HALF), offer("s1", GROWN), "stopped"],
  ["steady, though it was never a source", held("s2", GROW), offer("s2", GROWN), "taken"],
  ["steady, when all is handed over", held("s1", GROW, ENDED), offer("s1", GROWN), "taken"],
  [
    "steady, when it is lost",
    held("s1", LOST, { store: storeId("s1", 1) }),
    offer("s1", steady(14, THREE, anotherDisk("s1", THREE))),
    "taken",
  ],
  ["moving on already", held("s1", GROW, ENDED), offer("s1", moving(15, THREE, TWO)), "taken"],
  [
    "moving on from other servers",
    held("s1", GROW, ENDED),
    offer("s1", moving(15, ALL, TWO)),
    "stopped",
  ],
  ["steady with other servers", held("s2", GROW), offer("s2", steady(15, TWO)), "stopped"],
  [
    "steady with another placement",
    held("s2", GROW),
    offer("s2", steady(15, THREE, { placement: "modulo" })),
    "stopped",
  ],
  [
    "the end of a change of placement",
    held("s1", moving(12, TWO, TWO, { nextPlacement: "modulo" }), ENDED),
    offer("s1", steady(13, TWO, { placement: "modulo" })),
    "taken",
  ],
  [
    "a move that began before, under its own name",
    held("s1", GROW, ENDED),
    offer("s1", moving(15, THREE, TWO, { since: 12 })),
    "stopped",
  ],
  [
    "anything, when it left and all is handed over",
    held("s2", SHRINK, ENDED),
    offer("s2", steady(20, ALL)),
    "taken",
  ],
  [
    "anything, when it leaves with keys",
    held("s2", SHRINK),
    offer("s2", steady(13, TWO)),
    "stopped",
  ],
  [
    "at the anchor, steady two epochs later",
    held("s0", GROW, ENDED),
    offer("s0", steady(14, THREE)),
    "stopped",
  ],
];

const OLD_NEWS: Row[] = [
  ["a lower epoch", held("s1", GROW), offer("s1", steady(11, TWO)), "refused"],
  [
    "a lower epoch, at a server that owns nothing",
    held("s3", GROW),
    offer("s3", steady(11, TWO)),
    "refused",
  ],
  ["the same layout", held("s1", GROW), offer("s1", moving(12, TWO, THREE)), "same"],
  ["another layout of the same epoch", held("s1", GROW), offer("s1", steady(12, TWO)), "refused"],
  [
    "another cluster",
    held("s1", GROW),
    offer("s1", steady(20, TWO, { cluster: OTHER_CLUSTER })),
    "refused",
  ],
  ["another name", held("s1", GROW), offer("s2", GROWN), "refused"],
];

const REPLACE: Row[] = [
  [
    "a server that was left behind",
    held("s1", steady(11, TWO)),
    offer("s1", moving(20, ["s0"], TWO), { replace: true }),
    "emptied",
  ],
  [
    "a server of another cluster",
    held("s1", steady(30, TWO)),
    offer("s1", steady(20, TWO, { cluster: OTHER_CLUSTER }), { replace: true }),
    "emptied",
  ],
  [
    "a folder that was restored from a snapshot",
    held("s1", steady(11, TWO)),
    offer("s1", steady(12, TWO), { replace: true }),
    "emptied",
  ],
  [
    "once more",
    held("s1", steady(12, TWO)),
    offer("s1", steady(12, TWO), { replace: true }),
    "same",
  ],
  ["late", held("s1", steady(13, TWO)), offer("s1", steady(12, TWO), { replace: true }), "refused"],
  [
    "another store",
    held("s1", steady(11, TWO)),
    offer("s1", steady(12, TWO), { replace: true, store: storeId("s1", 1) }),
    "refused",
  ],
  [
    "for a move that began with another disk",
    held("s1", steady(11, TWO)),
    offer("s1", moving(12, TWO, THREE, anotherDisk("s1", THREE)), { replace: true }),
    "refused",
  ],
];

for (
  const [what, rows] of Object.entries({
    "a server without a layout": NO_LAYOUT,
    "a server that owns nothing and will own nothing": OUTSIDER,
    "a server of a steady layout": STEADY,
    "a server whose layout names another store": NEW_DISK,
    "a server of a move": MOVING,
    "a server that has news": OLD_NEWS,
    "replace": REPLACE,
  })
) {
  for (const [name, had, given, word] of rows) {
    Deno.test(`${what}: ${name}: ${word}`, () => assertEquals(wordOf(had, given), word));
  }
}
