/** How frames of the journal are written. */
import { crc32 } from "node:zlib";
import { DEFAULT_CONTENT_TYPE } from "../protocol.ts";
import { type Value } from "../value.ts";
import {
  FRAME_HEADER_BYTES,
  FRAME_MAGIC,
  LARGE_HEADER_BYTES,
  type LargeReference,
  RECORD_HEADER_BYTES,
  RecordKind,
} from "./format.ts";

const INITIAL_BUFFER_BYTES = 256 * 1024;

/** A buffer up to this size is kept also while nothing is written. */
const KEPT_BUFFER_BYTES = 4 * 1024 * 1024;

/** A buffer up to this size is kept while one frame follows another: to make a large buffer for each frame is slow. */
const MOST_BUFFER_BYTES = 16 * 1024 * 1024;

/** Texts up to this length are copied by a loop, which is faster than the encoder for them. */
const LOOP_CHARACTERS = 64;

const NOTHING = new Uint8Array(0);

const encoder = new TextEncoder();

/** A frame in the making. Its records are encoded into one buffer, which serves for one frame after the other. */
export class FrameBuffer {
  #bytes = new Uint8Array(INITIAL_BUFFER_BYTES);
  #view = new DataView(this.#bytes.buffer);
  #length = FRAME_HEADER_BYTES;

  /** Bytes of all records. */
  get size(): number {
    return this.#length - FRAME_HEADER_BYTES;
  }

  /** Adds a record that saves a value; returns its position, for {@link FrameBuffer.void}. */
  putValue(key: string, value: Value): number {
    const type = value.contentType;
    return this.#put(RecordKind.SET, key, type === DEFAULT_CONTENT_TYPE ? "" : type, value.body);
  }

  /** Adds a record that names the file with a large value; returns its position. */
  putLarge(key: string, contentType: string, { fileName, size, hash }: LargeReference): number {
    const name = encoder.encode(fileName);
    const bytes = new Uint8Array(LARGE_HEADER_BYTES + name.length);
    const view = new DataView(bytes.buffer);
    view.setBigUint64(0, BigInt(size), true);
    view.setBigUint64(8, hash, true);
    bytes.set(name, LARGE_HEADER_BYTES);
    return this.#put(RecordKind.LARGE, key, contentType, bytes);
  }

  /** Adds a record that deletes a key; returns its position. */
  putDelete(key: string): number {
    return this.#put(RecordKind.DELETE, key, "", NOTHING);
  }

  /** Makes the record at `position` do nothing. */
  void(position: number): void {
    this.#bytes[position] = RecordKind.VOID;
  }

  /** Returns the bytes of the frame, number `sequence` of its segment; valid until {@link FrameBuffer.clear}. */
  seal(salt: number, sequence: number): Uint8Array<ArrayBuffer> {
    this.#view.setUint32(0, FRAME_MAGIC, true);
    this.#view.setUint32(8, this.size, true);
    this.#view.setUint32(12, sequence, true);
    const crc = crc32(this.#bytes.subarray(8, this.#length), salt);
    this.#view.setUint32(4, crc, true);
    return this.#bytes.subarray(0, this.#length);
  }

  /** Removes all records, and frees a very large buffer. */
  clear(): void {
    this.#length = FRAME_HEADER_BYTES;
    if (this.#bytes.length > MOST_BUFFER_BYTES) this.#grow(INITIAL_BUFFER_BYTES);
  }

  /** Frees a large buffer. To be called when there are no records and no frame follows soon. */
  trim(): void {
    if (this.#bytes.length > KEPT_BUFFER_BYTES) this.#grow(INITIAL_BUFFER_BYTES);
  }

  #put(kind: number, key: string, type: string, value: Uint8Array | string): number {
    const start = this.#length;
    // A UTF-16 unit takes three bytes of UTF-8 at most.
    const most = RECORD_HEADER_BYTES + 3 * (key.length + type.length) +
      (typeof value === "string" ? 3 : 1) * value.length;
    if (start + most > this.#bytes.length) this.#grow(2 * (start + most));
    const bytes = this.#bytes;
    const keyEnd = this.#putText(key, start + RECORD_HEADER_BYTES);
    const typeEnd = type === "" ? keyEnd : this.#putText(type, keyEnd);
    const end = this.#putBody(value, typeEnd);
    bytes[start] = kind;
    bytes[start + 1] = keyEnd - start - RECORD_HEADER_BYTES;
    this.#view.setUint16(start + 2, typeEnd - keyEnd, true);
    this.#view.setUint32(start + 4, end - typeEnd, true);
    this.#length = end;
    return start;
  }

  #putBody(value: Uint8Array | string, position: number): number {
    if (typeof value === "string") return this.#putText(value, position);
    this.#bytes.set(value, position);
    return position + value.length;
  }

  #putText(text: string, position: number): number {
    const bytes = this.#bytes;
    const { length } = text;
    if (length > LOOP_CHARACTERS) return this.#encode(text, position);
    for (let i = 0; i < length; i++) {
      const unit = text.charCodeAt(i);
      if (unit >= 0x80) return this.#encode(text, position);
      bytes[position + i] = unit;
    }
    return position + length;
  }

  #encode(text: string, position: number): number {
    return position + encoder.encodeInto(text, this.#bytes.subarray(position)).written;
  }

  #grow(size: number): void {
    const bytes = new Uint8Array(size);
    bytes.set(this.#bytes.subarray(0, this.#length));
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer);
  }
}
