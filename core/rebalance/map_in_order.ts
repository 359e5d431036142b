/** Works on a stream of items, several at once, and keeps their order. */

/** The limits of {@link mapInOrder}. */
export interface MapOptions {
  /** The most calls under way at once. */
  readonly concurrency: number;
  /** After an abort no further item is taken; the results of calls under way are still yielded. */
  readonly signal: AbortSignal;
}

/**
 * Calls `work` for each item, several at once, and yields the results in the order of the items. It takes a further
 * item only when fewer than `concurrency` calls are under way, so a slow reader or a slow server slows the source.
 *
 * If a call or the source fails, no further item is taken. The results of the calls under way are still yielded, and
 * then the first error is thrown, when nothing is under way any more.
 */
export async function* mapInOrder<T, R>(
  items: AsyncIterable<T>,
  work: (item: T) => Promise<R>,
  { concurrency, signal }: MapOptions,
): AsyncGenerator<R> {
  const source = items[Symbol.asyncIterator]();
  // Each resolves to `undefined` if its call failed.
  const underWay: Promise<{ readonly result: R } | undefined>[] = [];
  let failure: { readonly error: unknown } | undefined;
  let more = true;
  const succeeded = (result: R) => ({ result });
  const failed = (error: unknown) => {
    failure ??= { error };
    return undefined;
  };
  try {
    while (true) {
      while (more && underWay.length < concurrency) {
        if (failure !== undefined || signal.aborted) break;
        try {
          const item = await source.next();
          if (item.done === true) more = false;
          // The abort may have come during the wait for the item.
          else if (!signal.aborted) underWay.push(work(item.value).then(succeeded, failed));
        } catch (error) {
          failed(error);
        }
      }
      const next = underWay.shift();
      if (next === undefined) break;
      const outcome = await next;
      if (outcome !== undefined) yield outcome.result;
    }
  } finally {
    await Promise.all(underWay);
    await source.return?.();
  }
  if (failure !== undefined) throw failure.error;
}
