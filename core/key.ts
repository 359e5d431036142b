/**
 * Keys: which texts are keys, and how a key is written as a file name, in a URL, and for people.
 */
import { InvalidKeyError } from "./errors.ts";

/** The marker file, which makes a server answer 503; so this is no key. On-disk name. */
export const MARKER = "_shutting_down_";

/** The longest file name on Linux (bytes): NAME_MAX. */
const MAX_FILE_NAME_BYTES = 255;

/** Most keys: they are the same as a file name and in a URL, and need no further check. */
const PLAIN_KEY = /^[A-Za-z0-9_~-][A-Za-z0-9._~-]{0,254}$/;

// A leading dot would hide the file or be a path; "%" marks an escape; control characters (C0, DEL,
// C1) would garble `ls`.
const SPECIAL_IN_FILE_NAME = /^\.|[\/%\p{Cc}]/gu;

/** Control characters, two others that end a line for some programs, and those that turn the direction of text. */
const UNPRINTABLE = /[\p{Cc}\u2028-\u202e\u2066-\u2069]/gu;

const NOT_UNRESERVED = /[^A-Za-z0-9._~-]/gu;

const encoder = new TextEncoder();

/**
 * Returns `key` if it is a key.
 *
 * @throws {InvalidKeyError} If it is empty, not well-formed Unicode, the name of the marker, or if its file name would
 * have more than 255 bytes.
 */
export function checkKey(key: string): string {
  if (PLAIN_KEY.test(key) && key !== MARKER) return key;
  if (key === "") throw new InvalidKeyError("Invalid key: it is empty");
  if (key === MARKER) throw new InvalidKeyError(`Invalid key: "${MARKER}" is reserved`);
  if (!key.isWellFormed()) throw new InvalidKeyError("Invalid key: it is not valid Unicode");
  const bytes = encoder.encode(keyToFileName(key)).length;
  if (bytes > MAX_FILE_NAME_BYTES) {
    throw new InvalidKeyError(
      `Invalid key: its file name has ${bytes} bytes, at most ${MAX_FILE_NAME_BYTES} are possible`,
    );
  }
  return key;
}

/**
 * Decodes one segment of a raw URL path; "%2F" in a segment stands for a slash in the text.
 *
 * @throws {InvalidKeyError} If an escape is incomplete or the bytes are not UTF-8.
 */
export function decodeSegment(segment: string): string {
  if (!segment.includes("%")) return segment;
  try {
    return decodeURIComponent(segment);
  } catch {
    throw new InvalidKeyError("Invalid escape: the path is not percent-encoded UTF-8");
  }
}

/** Decodes a segment of a raw URL path as a key. @throws {InvalidKeyError} As {@link checkKey}. */
export function keyFromSegment(segment: string): string {
  return checkKey(decodeSegment(segment));
}

/** Writes `text` for a URL: every character that is not unreserved (RFC 3986) is escaped. */
export function toSegment(text: string): string {
  return text.replace(NOT_UNRESERVED, escapeBytes);
}

/** Writes `bytes` for a URL as {@link toSegment} writes text. */
export function bytesToSegment(bytes: Uint8Array): string {
  let segment = "";
  for (const byte of bytes) {
    const character = String.fromCharCode(byte);
    segment += byte < 0x80 && PLAIN_BYTE.test(character) ? character : escapeByte(byte);
  }
  return segment;
}

const PLAIN_BYTE = /[A-Za-z0-9._~-]/;

/** Returns the name of the file that holds the value of `key`. On-disk format. */
export function keyToFileName(key: string): string {
  return key.replace(SPECIAL_IN_FILE_NAME, escapeBytes);
}

/**
 * Writes `text` (a key, or a message from outside) for people. Control characters are percent-encoded, so the text stays
 * on its line, and a terminal does not obey it.
 */
export function displayKey(text: string): string {
  return text.replace(UNPRINTABLE, escapeBytes);
}

/** As `JSON.stringify`, but with escapes for the characters that {@link displayKey} escapes, too. */
export function displayJson(value: unknown): string {
  return JSON.stringify(value).replace(
    UNPRINTABLE,
    (character) => "\\u" + character.charCodeAt(0).toString(16).padStart(4, "0"),
  );
}

/**
 * Returns the key whose value the file `name` holds; `undefined` for a hidden file and for the marker. A name that
 * {@link keyToFileName} never writes, such as `100%`, stands for itself.
 */
export function fileNameToKey(name: string): string | undefined {
  if (name.startsWith(".") || name === MARKER) return undefined;
  if (!name.includes("%")) return name;
  try {
    const key = decodeURIComponent(name);
    return keyToFileName(key) === name ? key : name;
  } catch {
    return name;
  }
}

/**
 * Compares keys by code point, which is the order of their UTF-8 bytes. The built-in comparison goes by UTF-16 unit,
 * which puts U+E000 to U+FFFF behind all code points above them.
 */
export function compareKeys(a: string, b: string): number {
  const length = Math.min(a.length, b.length);
  for (let i = 0; i < length; i++) {
    let x = a.charCodeAt(i);
    let y = b.charCodeAt(i);
    if (x === y) continue;
    // Surrogates (0xD800 to 0xDFFF) stand for code points above all other units.
    if (x >= 0xd800 && y >= 0xd800) {
      x = x >= 0xe000 ? x - 0x800 : x + 0x2000;
      y = y >= 0xe000 ? y - 0x800 : y + 0x2000;
    }
    return x - y;
  }
  return a.length - b.length;
}

function escapeBytes(character: string): string {
  let escaped = "";
  for (const byte of encoder.encode(character)) escaped += escapeByte(byte);
  return escaped;
}

/** Returns a byte as `%XX`. */
export function escapeByte(byte: number): string {
  return "%" + byte.toString(16).toUpperCase().padStart(2, "0");
}
