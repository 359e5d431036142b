/** Deletes many keys without holding up the event loop. */
import { compareKeys } from "../key.ts";
import { isInRange } from "../layout/ownership.ts";
import { type Admit, type ListOptions, type Store } from "../store.ts";

/** Keys that are looked at in one turn of the event loop. */
const PAGE = 1000;

/** Yields the keys of a store in pages, with a turn of the event loop between them. */
export async function* pagesOf(
  store: Store,
  options: ListOptions = {},
): AsyncGenerator<readonly string[]> {
  let { after } = options;
  while (true) {
    const page = store.list({ ...options, ...(after === undefined ? {} : { after }), limit: PAGE });
    if (page.length > 0) yield page;
    if (page.length < PAGE) return;
    after = page.at(-1);
    await new Promise((resolve) => setTimeout(resolve, 0));
  }
}

/**
 * Deletes the keys that `isMeant` chooses; resolves to their number when that is durable.
 *
 * @param upto The last key that is looked at; by default all are.
 */
export async function deleteKeys(
  store: Store,
  options: ListOptions,
  isMeant: (key: string) => boolean,
  { upto, admit }: { readonly upto?: string | undefined; readonly admit?: Admit } = {},
): Promise<number> {
  let count = 0;
  for await (const page of pagesOf(store, options)) {
    const isLast = upto !== undefined && compareKeys(page.at(-1) ?? "", upto) > 0;
    const keys = page.filter((key) => isInRange({ after: undefined, upto }, key) && isMeant(key));
    count += keys.length;
    await Promise.all(keys.map((key) => store.delete(key, undefined, admit)));
    if (isLast) break;
  }
  return count;
}
