/**
 * Keys: what a key may be, and the ways it is written: as a file name, in a URL, and for people.
 */
import { InvalidKeyError } from "./errors.ts";

/** The marker file that puts a server into shutting down; therefore no key. On-disk name. */
export const MARKER = "_shutting_down_";

/** The longest file name that Linux file systems take, in bytes (NAME_MAX). */
const MAX_FILE_NAME_BYTES = 255;

/** Keys that stand for themselves as a file name and in a URL: the usual case, decided at once. */
const PLAIN_KEY = /^[A-Za-z0-9_~-][A-Za-z0-9._~-]{0,254}$/;

// A leading dot would hide the file or be a path; "%" marks an escape; control characters (C0, DEL,
// C1) would garble `ls`.
const SPECIAL_IN_FILE_NAME = /^\.|[\/%\p{Cc}]/gu;

/** Control characters, and what else ends a line for some readers. */
const UNPRINTABLE = /[\p{Cc}\u2028\u2029]/gu;

const NOT_UNRESERVED = /[^A-Za-z0-9._~-]/gu;

const encoder = new TextEncoder();

/**
 * Returns `key` when it may be stored.
 *
 * @throws {InvalidKeyError} If it is empty, not well-formed Unicode, the reserved marker's name, or
 * if its file name would be longer than 255 bytes.
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
 * Decodes one segment of a raw URL path; a "%2F" in it is part of the text.
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

/** Writes `text` (a key or a word) for a URL: all but unreserved characters (RFC 3986) escaped. */
export function toSegment(text: string): string {
  return text.replace(NOT_UNRESERVED, escapeBytes);
}

/** Writes `bytes` for a URL: all but unreserved characters (RFC 3986) escaped. */
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
 * Writes `text` (a key, or what somebody else said) for people: control characters are percent-encoded, so that
 * it stays on its line and tells a terminal nothing.
 */
export function displayKey(text: string): string {
  return text.replace(UNPRINTABLE, escapeBytes);
}

/** As `JSON.stringify`, and in the same way for people: a terminal obeys some characters that JSON may hold. */
export function displayJson(value: unknown): string {
  return JSON.stringify(value).replace(
    UNPRINTABLE,
    (character) => "\\u" + character.charCodeAt(0).toString(16).padStart(4, "0"),
  );
}

/**
 * Returns the key whose value a file of this name holds, or `undefined` where it holds none: a
 * hidden file, or the marker. A name that {@link keyToFileName} would never write (from a person or
 * an older server, for example `100%`) stands for itself.
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
 * Orders keys by code point, which is the order of their UTF-8 bytes (and of most languages). The
 * built-in comparison orders by UTF-16 unit, which puts U+E000 to U+FFFF after the astral planes.
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

/** A byte as `%XX`. */
export function escapeByte(byte: number): string {
  return "%" + byte.toString(16).toUpperCase().padStart(2, "0");
}
