/** Content types that values are saved with; they come back as a header, so their form matters. */
import { InvalidContentTypeError } from "./errors.ts";

const CONTENT_TYPE = /^[\x21-\x7e](?:[\x20-\x7e]{0,253}[\x21-\x7e])?$/;

/**
 * Returns `text` when it can be a `Content-Type` header (RFC 9110, 5.5): 1 to 255 visible ASCII
 * characters and spaces between them.
 *
 * @throws {InvalidContentTypeError} If it cannot.
 */
export function checkContentType(text: string): string {
  if (CONTENT_TYPE.test(text)) return text;
  throw new InvalidContentTypeError(
    "Invalid content type: expected 1 to 255 visible ASCII characters",
  );
}
