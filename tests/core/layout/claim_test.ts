import { assertEquals, assertThrows } from "@std/assert";
import fc from "fast-check";
import { InvalidLayoutError } from "../../../core/errors.ts";
import { formatClaim, parseClaim } from "../../../core/layout/claim.ts";
import { CLUSTER } from "./layouts.ts";

Deno.test("a claim is read as it is written", () => {
  const claims = fc.record({
    cluster: fc.uuid(),
    epoch: fc.integer({ min: 1, max: 999_999_999_999_999 }),
    moved: fc.boolean(),
  });
  fc.assert(fc.property(claims, (claim) => {
    assertEquals(parseClaim(formatClaim(claim)), claim);
  }));
  assertEquals(parseClaim(`${CLUSTER}:12`), { cluster: CLUSTER, epoch: 12, moved: false });
  assertEquals(formatClaim({ cluster: CLUSTER, epoch: 12, moved: true }), `${CLUSTER}:12;moved`);
});

for (
  const header of [
    "",
    CLUSTER,
    "12",
    `${CLUSTER}:`,
    `${CLUSTER}:0`,
    `${CLUSTER}:-1`,
    `${CLUSTER}:012`,
    `${CLUSTER}:1.5`,
    `${CLUSTER}:1e3`,
    `${CLUSTER}:12;`,
    `${CLUSTER}:12; moved`,
    `${CLUSTER}:12;moved;moved`,
    `${CLUSTER}:12,${CLUSTER}:12`,
    `${CLUSTER.slice(1)}:12`,
    `${"1".repeat(36)}:12`,
    `${CLUSTER}:${"9".repeat(17)}`,
    `${CLUSTER}:12\n`,
  ]
) {
  Deno.test(`${JSON.stringify(header)} is no claim`, () => {
    const { message } = assertThrows(() => parseClaim(header), InvalidLayoutError);
    assertEquals(
      message,
      "Invalid Kvs-Layout: expected CLUSTER:EPOCH, or CLUSTER:EPOCH;moved",
    );
  });
}
