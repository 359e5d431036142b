/** Listings of any length in constant memory, as a stream of pages. */
import { type ListOptions } from "../store.ts";
import { type OwnedStore } from "./owned_store.ts";

/** Keys in one page. It bounds the memory of a listing, and how long one holds the event loop. */
const PAGE = 1000;

/**
 * Streams all keys that `options` name, in order. A key that is saved or deleted meanwhile may be in
 * the stream or not. Every other key is in it exactly once.
 *
 * @param format Makes the text of a page, which has at least one key.
 * @param end Makes the text behind the last page.
 */
export function streamPages(
  store: OwnedStore,
  options: ListOptions,
  format: (keys: readonly string[]) => string,
  end: () => string = () => "",
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
      if (keys.length === limit && left > 0) return;
      const text = end();
      if (text !== "") controller.enqueue(encoder.encode(text));
      controller.close();
    },
  });
}
