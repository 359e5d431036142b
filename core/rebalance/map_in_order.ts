/** How {@link mapInOrder} works. */
export interface MapOptions {
  /** The most calls under way at once. */
  readonly concurrency: number;
  /** When it fires, no further item is taken; calls under way end and are yielded. */
  readonly signal: AbortSignal;
}

/**
 * Calls `work` for each item, several at once, and yields the results in the order of the items. Takes
 * a further item only when there is room, so a slow reader or a slow server slows the source.
 *
 * When a call or the source fails, no further item is taken, what the calls under way did is still
 * yielded, and then the first error is thrown: afterwards nothing is under way.
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
        // Nothing more is started once a call has failed or the user wants to stop.
        if (failure !== undefined || signal.aborted) break;
        try {
          const item = await source.next();
          if (item.done === true) more = false;
          // The signal may have fired while the listing was waited for.
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
