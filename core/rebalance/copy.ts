/** Copies, which are values as one server holds them, and how two copies compare. */
import { decodeBase64 } from "@std/encoding/base64";
import { type Copy, equalBytes } from "../client/remote.ts";

/** What a server tells of a copy without its bytes. */
export interface CopyFacts {
  readonly etag: string;
  /** Bytes. */
  readonly size: number;
  readonly contentType: string;
}

/**
 * A copy as the answer of `POST /v1/batch` carries it: text if the value is UTF-8, else base64. The bytes are made
 * only if somebody asks for them.
 */
export class BatchCopy implements Copy {
  readonly text: string;
  readonly isBase64: boolean;
  readonly contentType: string;
  readonly etag: string;
  #bytes: Uint8Array<ArrayBuffer> | undefined;

  constructor(text: string, isBase64: boolean, contentType: string, etag: string) {
    this.text = text;
    this.isBase64 = isBase64;
    this.contentType = contentType;
    this.etag = etag;
  }

  get bytes(): Uint8Array<ArrayBuffer> {
    return this.#bytes ??= this.isBase64 ? decodeBase64(this.text) : encoder.encode(this.text);
  }
}

const encoder = new TextEncoder();

/** Whether two copies are the same value, as far as the routes of their servers tell. */
export function sameCopy(a: Copy, b: Copy | undefined): boolean {
  return b !== undefined && sameBytes(a, b) &&
    (a.contentType === undefined || b.contentType === undefined ||
      a.contentType === b.contentType);
}

function sameBytes(a: Copy, b: Copy): boolean {
  // A batch writes equal bytes as equal characters, and other bytes as other characters.
  return a instanceof BatchCopy && b instanceof BatchCopy
    ? a.text === b.text && a.isBase64 === b.isBase64
    : equalBytes(a.bytes, b.bytes);
}

const scratch = new Uint8Array(64 * 1024);

/** The size of a value in bytes. The bytes of a text that fits into `scratch` are not kept. */
export function sizeOf(copy: Copy): number {
  if (!(copy instanceof BatchCopy) || copy.isBase64) return copy.bytes.length;
  const { read, written } = encoder.encodeInto(copy.text, scratch);
  return read === copy.text.length ? written : copy.bytes.length;
}
