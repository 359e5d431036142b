/** Moving one key: load, compare, save, read back, compare. */
import { RebalanceError } from "./errors.ts";
import { type Endpoint, sameCopy } from "./rebalance_endpoint.ts";
import { type MovedEvent } from "./rebalance_events.ts";
import { type Copy } from "./remote.ts";

/** A key of an as-is server on its way to its target. */
export interface Move {
  readonly key: string;
  readonly from: Endpoint;
  readonly to: Endpoint;
}

/**
 * Brings one key to its target; resolves to `undefined` if its value is there already.
 *
 * @throws {RebalanceError} If the owner holds it no more, the target cannot take it, or what the
 * target then holds is not what was saved.
 */
export async function moveKey(move: Move): Promise<MovedEvent | undefined> {
  const { key, from, to } = move;
  const [copy, there] = await Promise.all([from.load(key), to.load(key)]);
  if (copy === undefined) {
    throw new RebalanceError(`"${key}" has gone from ${from.name} while it was to be moved`);
  }
  if (sameCopy(copy, there)) return undefined;
  // Clients may have saved it since it was checked.
  checkFits(move, copy);
  const answer = await to.save(key, copy);
  const saved = await to.load(key);
  if (!sameCopy(copy, saved)) {
    throw new RebalanceError(
      `"${key}" was saved on ${to.name}, but what ${to.name} then holds is ` +
        (saved === undefined ? "nothing" : `another value (${saved.bytes.length} bytes)`),
    );
  }
  return { kind: "moved", key, copy, from: from.name, to: to.name, answer };
}

/** @throws {RebalanceError} If the target cannot take the value. */
export function checkFits({ key, to }: Move, copy: Copy): void {
  const refusal = to.refusal(key, copy);
  if (refusal !== undefined) {
    throw new RebalanceError(`Cannot move "${key}" to ${to.name}: ${refusal}`);
  }
}
