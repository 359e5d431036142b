/** Where an answer ends, in each protocol that the benchmark speaks. */
import type { Framing } from "./types.ts";

/**
 * Returns the length of the first answer in the first `length` bytes, or 0 where it is not complete.
 *
 * @throws {Error} If the answer says that the request failed or that the key is not there.
 */
export type Frame = (buffer: Uint8Array, length: number) => number;

const CR = 13;
const LF = 10;
const decoder = new TextDecoder("latin1");

export const FRAMINGS: Readonly<Record<Framing, Frame>> = { http, resp, memcached, grpc };

function fail(buffer: Uint8Array, length: number): never {
  throw new Error(
    `Answered ${JSON.stringify(decoder.decode(buffer.subarray(0, Math.min(length, 120))))}`,
  );
}

/** Returns the index behind the next line end from `from`, or 0. */
function lineEnd(buffer: Uint8Array, from: number, length: number): number {
  const at = buffer.indexOf(LF, from);
  return at < 0 || at >= length ? 0 : at + 1;
}

/** Reads a decimal number; it ends at the first byte that is no digit. */
function decimal(buffer: Uint8Array, from: number): number {
  let value = 0;
  for (let i = from;; i++) {
    const digit = (buffer[i] ?? 0) - 48;
    if (digit < 0 || digit > 9) return value;
    value = value * 10 + digit;
  }
}

const CONTENT_LENGTH = [..."content-length:"].map((character) => character.charCodeAt(0));

function isContentLength(buffer: Uint8Array, from: number): boolean {
  for (let i = 0; i < CONTENT_LENGTH.length; i++) {
    // The bit that lower case letters have and upper case ones have not; "-" and ":" have it anyway.
    if (((buffer[from + i] ?? 0) | 0x20) !== CONTENT_LENGTH[i]) return false;
  }
  return true;
}

function http(buffer: Uint8Array, length: number): number {
  let body = 0;
  let line = lineEnd(buffer, 0, length);
  while (line > 0 && buffer[line] !== CR) {
    if (isContentLength(buffer, line)) {
      const start = line + CONTENT_LENGTH.length;
      body = decimal(buffer, buffer[start] === 32 ? start + 1 : start);
    }
    line = lineEnd(buffer, line, length);
  }
  if (line === 0 || line + 2 > length) return 0;
  if (buffer[9] !== 50 /* 2xx */) fail(buffer, length);
  const end = line + 2 + body;
  return end > length ? 0 : end;
}

function resp(buffer: Uint8Array, length: number): number {
  const line = lineEnd(buffer, 0, length);
  if (line === 0) return 0;
  if (buffer[0] === 43 /* + */) return line;
  // "-" is an error, and "$-1" a key that is not there.
  if (buffer[0] !== 36 /* $ */ || buffer[1] === 45) fail(buffer, length);
  const end = line + decimal(buffer, 1) + 2;
  return end > length ? 0 : end;
}

function memcached(buffer: Uint8Array, length: number): number {
  const line = lineEnd(buffer, 0, length);
  if (line === 0) return 0;
  if (buffer[0] === 83 /* STORED */ && buffer[1] === 84) return line;
  if (buffer[0] !== 86 /* VALUE */) fail(buffer, length);
  const size = decimal(buffer, buffer.lastIndexOf(32, line) + 1);
  const end = line + size + 2 + "END\r\n".length;
  return end > length ? 0 : end;
}

const DATA = 0;
const HEADERS = 1;
const END_STREAM = 1;
const FRAME_HEADER = 9;

function grpc(buffer: Uint8Array, length: number): number {
  let answered = false;
  let at = 0;
  while (at + FRAME_HEADER <= length) {
    const [high = 0, middle = 0, low = 0, type = 0, flags = 0] = buffer.subarray(at, at + 5);
    const end = at + FRAME_HEADER + (high << 16 | middle << 8 | low);
    if (end > length) return 0;
    if (type === DATA) answered = true;
    // An answer without a message is nothing but the status of a failure.
    if (type === HEADERS && (flags & END_STREAM) !== 0) {
      return answered ? end : fail(buffer, length);
    }
    at = end;
  }
  return 0;
}
