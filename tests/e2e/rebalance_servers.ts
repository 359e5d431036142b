/** Servers that a rebalance is run on, by the keys that belong to each. */
import { type Placement, PLACEMENTS } from "../../core/placement.ts";
import { Remote } from "../../core/client/remote.ts";

/** Keys of the book. */
export const LETTERS = [..."abcdefghijklmnopqrstuvwxyz"];
const encoder = new TextEncoder();

/** A server by its address. */
export interface Addressed {
  readonly address: string;
}

/** The servers as a list in an argument. */
export function listOf(servers: readonly Addressed[]): string {
  return servers.map((server) => server.address).join(",");
}

/** What speaks to one of them. */
export function remote({ address }: Addressed): Remote {
  return new Remote({ name: address, origin: `http://${address}` }, { timeoutMs: 10_000 });
}

/** An item that has to be there. */
export function at<T>(items: readonly T[], index: number): T {
  const item = items[index];
  if (item === undefined) throw new RangeError(`No item ${index} in ${items.length}`);
  return item;
}

/** The server that `key` belongs to. */
export function ownerOf<T>(
  servers: readonly T[],
  key: string,
  placement: Placement = PLACEMENTS.modulo,
): T {
  return at(servers, placement(key, servers.length));
}

/** Saves each word where its key belongs. */
export async function write(
  servers: readonly Addressed[],
  words: ReadonlyMap<string, string>,
  placement?: Placement,
): Promise<void> {
  for (const [key, word] of words) {
    await remote(ownerOf(servers, key, placement)).save(key, encoder.encode(word));
  }
}
