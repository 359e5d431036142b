/**
 * Values that say what they are: a line with key, sequence number, size and form, then filler that
 * these four decide. So any value, wherever it turns up, can be checked in every byte, and a torn or
 * mixed-up one can be told from an old one.
 */
import { Buffer } from "node:buffer";
import { Random } from "../core/system/random.ts";

/** One value that was sent for a key. */
export interface Version {
  /** Counts the values of a key, from 1. */
  readonly sequence: number;
  readonly size: number;
  /** `text` can be a word of a book route; `bytes` holds all bytes, NUL and bad UTF-8 among them. */
  readonly form: "text" | "bytes";
  /** `undefined` where the value was sent without one. */
  readonly contentType: string | undefined;
}

/** The largest value that is made. */
export const MAX_SIZE = 1024 * 1024;

/** From this size on a value holds its whole first line. */
export const WHOLE_LINE = 128;

// The filler of each value begins at another byte of these, so that no two values share a tail.
const OFFSETS = 65_521;
const BYTES = new Uint8Array(MAX_SIZE + OFFSETS);
const TEXT = new Uint8Array(MAX_SIZE + OFFSETS);
{
  const letters = new TextEncoder().encode("abcdefghijklmnopqrstuvwxyz0123456789-._~%/ ,?#&+");
  const random = new Random(1);
  for (let i = 0; i < BYTES.length; i++) {
    BYTES[i] = random.integer(0, 255);
    TEXT[i] = letters[random.integer(0, letters.length - 1)] ?? 0;
  }
}

const encoder = new TextEncoder();
const decoder = new TextDecoder();

/** All bytes of a version. */
export function bytesOf(key: string, version: Version): Uint8Array<ArrayBuffer> {
  const { sequence, size, form } = version;
  const line = encoder.encode(`${encodeURIComponent(key)} ${sequence} ${size} ${form}\n`);
  let offset = sequence * 7919;
  for (let i = 0; i < key.length; i++) offset = (offset * 31 + key.charCodeAt(i)) % OFFSETS;
  const bytes = (form === "text" ? TEXT : BYTES).slice(offset, offset + size);
  bytes.set(line.subarray(0, size));
  return bytes;
}

export function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && Buffer.compare(a, b) === 0;
}

/**
 * Which version of `key` these bytes are, every byte of them; a text where they are none: what is
 * wrong with them.
 */
export function identify(key: string, bytes: Uint8Array): Version | string {
  const line = decoder.decode(bytes.subarray(0, WHOLE_LINE)).split("\n", 1)[0] ?? "";
  const [, owner, sequence, size, form] = /^(\S+) (\d+) (\d+) (text|bytes)$/.exec(line) ?? [];
  if (owner === undefined) {
    return `${bytes.length} bytes that begin with ${JSON.stringify(line.slice(0, 60))}`;
  }
  if (owner !== encodeURIComponent(key)) return `a value of another key: ${line}`;
  const version: Version = {
    sequence: Number(sequence),
    size: Number(size),
    form: form === "text" ? "text" : "bytes",
    contentType: undefined,
  };
  if (bytes.length !== version.size) return `${bytes.length} bytes of ${line}`;
  const whole = bytesOf(key, version);
  if (sameBytes(bytes, whole)) return version;
  const at = bytes.findIndex((byte, index) => byte !== whole[index]);
  return `other bytes from ${at} on in ${line}`;
}

/** A version as one reads it in a failure. */
export function describe(version: Version | undefined): string {
  if (version === undefined) return "absent";
  const { sequence, size, form, contentType } = version;
  return `value ${sequence} (${size} bytes, ${form}${contentType ? `, ${contentType}` : ""})`;
}
