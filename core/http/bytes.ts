/** Classes of bytes in HTTP, and text from bytes. */

/** Bytes that the grammar names. */
export const BYTE = {
  TAB: 0x09,
  LF: 0x0a,
  CR: 0x0d,
  SPACE: 0x20,
  HASH: 0x23,
  ZERO: 0x30,
  ONE: 0x31,
  COLON: 0x3a,
  SEMICOLON: 0x3b,
  DEL: 0x7f,
} as const;

const TOKEN = new Uint8Array(256);
const FIELD = new Uint8Array(256);
const HOST = new Uint8Array(256);
/** For each byte itself, for upper case letters the lower case letter. */
const LOWER = new Uint8Array(256);

for (let byte = 0; byte < 256; byte++) {
  const character = String.fromCharCode(byte);
  // RFC 9110 section 5.6.2.
  if (/[!#$%&'*+.^_`|~0-9A-Za-z-]/.test(character)) TOKEN[byte] = 1;
  // RFC 9110 section 5.5: blank, tab, visible, obs-text.
  if (byte === BYTE.TAB || (byte >= BYTE.SPACE && byte !== BYTE.DEL)) FIELD[byte] = 1;
  // RFC 3986 section 3.2: registered names, addresses, and the port.
  if (/[A-Za-z0-9\-._~%!$&'()*+,;=:[\]]/.test(character)) HOST[byte] = 1;
  LOWER[byte] = byte >= 0x41 && byte <= 0x5a ? byte + 0x20 : byte;
}

const latin1 = new TextDecoder("latin1");
const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** Whether a byte can stand in a method or in the name of a header. */
export function isToken(byte: number | undefined): boolean {
  return TOKEN[byte ?? 0] === 1;
}

/** Whether a byte can stand in the value of a header, with the blanks around it. */
export function isField(byte: number | undefined): boolean {
  return FIELD[byte ?? 0] === 1;
}

/** Whether the bytes can be the value of a Host header, which may be empty. */
export function isHost(bytes: Uint8Array, start: number, end: number): boolean {
  for (let at = start; at < end; at++) {
    if (HOST[bytes[at] ?? 0] === 0) return false;
  }
  return true;
}

/** The decimal number in the bytes; `undefined` if there is none, or if it is 2^53 or more. */
export function decimalNumber(bytes: Uint8Array, start: number, end: number): number | undefined {
  if (start === end) return undefined;
  let number = 0;
  for (let at = start; at < end; at++) {
    const digit = (bytes[at] ?? 0) - BYTE.ZERO;
    if (digit < 0 || digit > 9) return undefined;
    number = number * 10 + digit;
    if (number > Number.MAX_SAFE_INTEGER) return undefined;
  }
  return number;
}

/** Whether the bytes are `name`, ignoring case; `name` is in lower case. */
export function equalsName(bytes: Uint8Array, start: number, end: number, name: string): boolean {
  if (end - start !== name.length) return false;
  for (let i = 0; i < name.length; i++) {
    if (LOWER[bytes[start + i] ?? 0] !== name.charCodeAt(i)) return false;
  }
  return true;
}

/** Text of bytes that are all ASCII. Which way is the fastest depends on the length. */
export function asciiText(bytes: Uint8Array, start: number, end: number): string {
  const size = end - start;
  return size <= 64
    ? Reflect.apply(String.fromCharCode, undefined, bytes.subarray(start, end))
    : latin1.decode(bytes.subarray(start, end));
}

/** Text of bytes, one character for each byte. */
export function latin1Text(bytes: Uint8Array, start: number, end: number): string {
  // The "latin1" of a TextDecoder is windows-1252 (Encoding standard), so it is right only for
  // ASCII.
  let all = 0;
  for (let at = start; at < end; at++) all |= bytes[at] ?? 0;
  if (all <= 0x7f) return asciiText(bytes, start, end);
  let text = "";
  for (let at = start; at < end; at++) text += String.fromCharCode(bytes[at] ?? 0);
  return text;
}

/** Latin-1 text as bytes, one for each character. */
export function encodeLatin1(text: string): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(text, (character) => character.charCodeAt(0));
}

/** Text of bytes in UTF-8; `undefined` if they are not UTF-8. */
export function utf8Text(bytes: Uint8Array, start: number, end: number): string | undefined {
  try {
    return utf8.decode(bytes.subarray(start, end));
  } catch {
    return undefined;
  }
}
