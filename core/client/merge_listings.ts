/** Sorted listings of several servers, merged into one. */
import { KvsError } from "../errors.ts";
import { compareKeys } from "../key.ts";

/** The keys of one server in order, page by page. */
export type Listing = AsyncIterable<readonly string[]>;

/** The most keys that a merged listing yields at once. */
const MOST_AT_ONCE = 1000;

/**
 * Merges listings, each in the order of `compareKeys`, into one: each key once, with the indices of
 * the listings that hold it. Yields many keys at once, so that a key costs no promise. Holds one page of
 * each listing in memory.
 *
 * @throws {KvsError} If a listing is out of order, since the merged one would be wrong.
 */
export async function* mergeListings(
  listings: readonly Listing[],
): AsyncGenerator<readonly Holding[]> {
  const cursors = listings.map((listing) => new Cursor(listing));
  try {
    for (const cursor of cursors) await cursor.advance();
    let merged: Holding[] = [];
    while (true) {
      let key: string | undefined;
      for (const { head } of cursors) {
        if (head !== undefined && (key === undefined || compareKeys(head, key) < 0)) key = head;
      }
      if (key === undefined) break;
      const holders: number[] = [];
      let pageEnds = false;
      for (let index = 0; index < cursors.length; index++) {
        const cursor = cursors[index];
        if (cursor?.head !== key) continue;
        holders.push(index);
        if (!cursor.step()) pageEnds = true;
      }
      merged.push({ key, holders });
      if (!pageEnds && merged.length < MOST_AT_ONCE) continue;
      yield merged;
      merged = [];
      if (!pageEnds) continue;
      for (const cursor of cursors) if (cursor.head === key) await cursor.advance();
    }
    if (merged.length > 0) yield merged;
  } finally {
    for (const cursor of cursors) await cursor.close();
  }
}

/** A place in a listing. */
class Cursor {
  /** The key at this place, `undefined` behind the last one. */
  head: string | undefined;
  readonly #pages: AsyncIterator<readonly string[]>;
  #page: readonly string[] = [];
  #at = 0;

  constructor(listing: Listing) {
    this.#pages = listing[Symbol.asyncIterator]();
  }

  /** Goes to the next key of the page; `false` if the page has no more. */
  step(): boolean {
    const next = this.#page[this.#at];
    if (next === undefined) return false;
    if (this.head !== undefined && compareKeys(this.head, next) >= 0) {
      throw new KvsError(`Listing out of order: "${next}" comes after "${this.head}"`);
    }
    this.head = next;
    this.#at++;
    return true;
  }

  /** Goes to the next key, on a further page. */
  async advance(): Promise<void> {
    while (!this.step()) {
      const result = await this.#pages.next();
      if (result.done === true) {
        this.head = undefined;
        return;
      }
      this.#page = result.value;
      this.#at = 0;
    }
  }

  async close(): Promise<void> {
    await this.#pages.return?.();
  }
}

/** A key with the indices of the servers that list it, in rising order. */
export interface Holding {
  readonly key: string;
  readonly holders: readonly number[];
}
