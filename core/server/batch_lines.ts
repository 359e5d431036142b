/** The lines of a batch, out of the chunks in which its body comes. */
import { InvalidOperationError, ValueTooLargeError } from "../errors.ts";
import { LARGE_VALUE_BYTES } from "../protocol.ts";

/**
 * The longest line (bytes): a value of {@link LARGE_VALUE_BYTES}, all of it escaped as `\u00XX`, and
 * its key. Larger values have routes of their own.
 */
const MAX_LINE_BYTES = 8 * LARGE_VALUE_BYTES;

/**
 * Yields the lines of each chunk that are complete with it; empty lines are passed over.
 *
 * @throws {ValueTooLargeError} If a line is too long.
 * @throws {InvalidOperationError} If the bytes are not UTF-8.
 */
export async function* splitLines(
  chunks: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
): AsyncGenerator<string[]> {
  const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
  // The pieces of a line that has not ended; looked through once each, however small they are.
  let pieces: string[] = [];
  let length = 0;
  const take = (chunk?: Uint8Array): string[] => {
    let text: string;
    try {
      text = chunk === undefined
        ? decoder.decode() + "\n"
        : decoder.decode(chunk, { stream: true });
    } catch {
      throw new InvalidOperationError("Invalid operation: the body is not UTF-8");
    }
    const [first = "", ...more] = text.split("\n");
    pieces.push(first);
    length += first.length;
    if (length > MAX_LINE_BYTES) throw new ValueTooLargeError(length, MAX_LINE_BYTES);
    if (more.length === 0) return [];
    const lines = [pieces.join(""), ...more];
    pieces = [lines.pop() ?? ""];
    length = pieces[0]?.length ?? 0;
    return lines.filter((line) => line.trim() !== "");
  };
  for await (const chunk of chunks) yield take(chunk);
  yield take();
}
