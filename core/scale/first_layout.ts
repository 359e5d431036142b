/** Whether the keys of a cluster without a layout are where a list and a placement say. */
import { mergeListings } from "../client/merge_listings.ts";
import { ScaleError } from "../errors.ts";
import { type Arrangement, ownerIn } from "../layout/layout.ts";
import { type PlacementName } from "../placement.ts";
import { type Member } from "./member.ts";

/** With fewer keys than this nothing is said. */
const LEAST_KEYS = 20;

/** How many keys are looked at, the first ones in order. Placement hashes keys, so their order does not count. */
const SAMPLE_KEYS = 1000;

/** So many of the keys have to be on their owners. The others may be copies of keys that were deleted. */
const FITS_SHARE = 0.95;

/**
 * Looks at the first keys of all servers.
 *
 * @throws {ScaleError} If too many of them are not on the server that owns them by this list and placement.
 */
export async function checkFit(
  members: readonly Member[],
  { servers, placement }: Arrangement,
): Promise<void> {
  const names = members.map(({ name }) => name);
  const fits = new Map<PlacementName, number>([["modulo", 0], ["jump", 0]]);
  let keys = 0;
  for await (const holdings of mergeListings(members.map((member) => member.keys()))) {
    for (const { key, holders } of holdings.slice(0, SAMPLE_KEYS - keys)) {
      keys++;
      for (const [name, count] of fits) {
        const owner = names.indexOf(ownerIn({ servers, placement: name }, key));
        if (holders.includes(owner)) fits.set(name, count + 1);
      }
    }
    if (keys >= SAMPLE_KEYS) break;
  }
  const shareOf = (name: PlacementName) => (fits.get(name) ?? 0) / keys;
  if (keys < LEAST_KEYS || shareOf(placement) >= FITS_SHARE) return;
  const other = [...fits.keys()].find((name) => shareOf(name) >= FITS_SHARE);
  const advice = other === undefined
    ? "--servers has to be the list by which clients place keys today, all of it and in its order"
    : `--placement ${other} fits`;
  throw new ScaleError(
    `${
      keys - (fits.get(placement) ?? 0)
    } of ${keys} keys are not on the server that owns them by this list ` +
      `and ${placement}: ${advice}`,
  );
}
