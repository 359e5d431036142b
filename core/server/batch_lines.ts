/** The lines of a batch, from the chunks of its body. */
import { InvalidOperationError, ValueTooLargeError } from "../errors.ts";
import { LARGE_VALUE_BYTES } from "../protocol.ts";

/**
 * The longest line (bytes). It has room for a value of {@link LARGE_VALUE_BYTES} that is all escapes
 * (`\u00XX`), and for its key. Larger values have routes of their own.
 */
const MAX_LINE_BYTES = 8 * LARGE_VALUE_BYTES;

/**
 * Yields for each chunk the lines that are complete with it, without empty lines.
 *
 * @throws {ValueTooLargeError} If a line is too long.
 * @throws {InvalidOperationError} If the bytes are not UTF-8.
 */
export async function* splitLines(
  chunks: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
): AsyncGenerator<string[]> {
  const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
  // The pieces of a line that has not ended. Each is looked through once, however small the chunks are.
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
