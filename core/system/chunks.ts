/** Bytes that come in chunks. */

/** Yields `first`, then what is left of `rest`; ends `rest` when its reader stops early. */
export async function* following<T>(
  first: Iterable<T>,
  rest: AsyncIterator<T>,
): AsyncGenerator<T> {
  try {
    yield* first;
    for (let next = await rest.next(); !next.done; next = await rest.next()) yield next.value;
  } finally {
    await rest.return?.();
  }
}
