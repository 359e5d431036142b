/** Bytes in parts as a stream, so that they are in memory only once. */

/**
 * The parts, one behind the other; none may be empty. What was read is let go of.
 *
 * @param onEnd Called once, when all was read or nobody wants the rest.
 */
export function streamParts(
  parts: Uint8Array<ArrayBuffer>[],
  onEnd: () => void,
): ReadableStream<Uint8Array<ArrayBuffer>> {
  parts.reverse();
  return new ReadableStream({
    pull(controller) {
      const part = parts.pop();
      if (part !== undefined) return controller.enqueue(part);
      controller.close();
      onEnd();
    },
    cancel: onEnd,
  }, { highWaterMark: 0 });
}
