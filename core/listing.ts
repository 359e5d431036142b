/** Listings too long for memory: page by page, as a stream. */
import { type ListOptions, type Store } from "./store.ts";

/** Keys in one page of a stream; what a listing takes in memory, and how long it holds the loop. */
const PAGE = 1000;

/**
 * All keys that `options` name as a stream, in order and in pages, with constant memory. A key saved
 * or deleted meanwhile may or may not be in it; every other key is in it exactly once.
 *
 * @param format What goes out for a page, which is never empty.
 */
export function streamPages(
  store: Store,
  options: ListOptions,
  format: (keys: readonly string[]) => string,
): ReadableStream<Uint8Array<ArrayBuffer>> {
  const encoder = new TextEncoder();
  let after = options.after;
  let left = options.limit ?? Infinity;
  return new ReadableStream({
    pull(controller) {
      const limit = Math.min(left, PAGE);
      const keys = store.list({ ...options, ...(after === undefined ? {} : { after }), limit });
      if (keys.length > 0) controller.enqueue(encoder.encode(format(keys)));
      after = keys.at(-1);
      left -= keys.length;
      if (keys.length < limit || left <= 0) controller.close();
    },
  });
}
