/** Large values: written to and read from files piece by piece. */
import { concat } from "@std/bytes/concat";
import { join } from "@std/path";
import { StorageFullError } from "../errors.ts";
import { following } from "../system/chunks.ts";
import { flushFolder, writeAll } from "../system/file_steps.ts";
import { type FileFacts, type Files, type OpenFile, refusedOr } from "../system/files.ts";
import { LargeValueFile } from "./overlay.ts";
import { type IncomingValue, type LargeValue } from "../store.ts";
import { LARGE_VALUE_BYTES } from "../protocol.ts";
import { Value } from "../value.ts";
import { startHash } from "../etag.ts";

/** Begin of the names of files that wait to become the file of a key. On-disk name. */
export const LARGE_PREFIX = "large-";

const READ_BYTES = 64 * 1024;

/** Returns the ETag of a large value: it changes with every save and survives a restart, without a hash. */
export function etagOfFile({ inode, modifiedMs, size }: FileFacts): string {
  return `"${inode.toString(16)}-${Math.round(modifiedMs).toString(16)}-${size.toString(16)}"`;
}

/** A large value in an open file, which is closed when the value was read or is discarded. */
export class OpenLargeValue implements LargeValue {
  readonly size: number;
  readonly contentType: string;
  readonly etag: string;
  #file: OpenFile | undefined;

  constructor(file: OpenFile, facts: FileFacts, contentType: string) {
    this.#file = file;
    this.size = facts.size;
    this.contentType = contentType;
    this.etag = etagOfFile(facts);
  }

  open(): ReadableStream<Uint8Array<ArrayBuffer>> {
    const file = this.#file;
    if (file === undefined) throw new TypeError("Cannot open a large value twice");
    this.#file = undefined;
    let rest = this.size;
    return new ReadableStream({
      async pull(controller) {
        try {
          const buffer = new Uint8Array(Math.min(READ_BYTES, rest));
          const read = rest === 0 ? null : await file.read(buffer);
          if (read !== null) {
            rest -= read;
            controller.enqueue(buffer.subarray(0, read));
          }
          if (read !== null && rest > 0) return;
          file.close();
          controller.close();
        } catch (error) {
          file.close();
          throw error;
        }
      },
      cancel() {
        file.close();
      },
    }, { highWaterMark: 0 });
  }

  discard(): void {
    this.#file?.close();
    this.#file = undefined;
  }
}

/** What a {@link LargeWriter} asks about the room on the disk. */
export interface RoomForLarge {
  /** @throws {StorageFullError} If there is no room that a new file may have. */
  check(): void;
  /** Called when the disk is full; resolves to whether there is more room now. */
  make(): Promise<boolean>;
}

/**
 * Writes large values to files of their own. Content and name of such a file are durable before the journal names it.
 * The checkpoint renames it to the key's file.
 */
export class LargeWriter {
  readonly #folder: string;
  readonly #files: Files;
  readonly #room: RoomForLarge;
  // The next server must not use a name again either, since the journal may still name the file.
  readonly #prefix = LARGE_PREFIX + crypto.randomUUID().slice(0, 18) + "-";
  #count = 0;
  #lastModifiedMs = 0;
  #nextFolderSync: Promise<void> | undefined;
  #folderSync: Promise<void> = Promise.resolve();

  constructor(folder: string, files: Files, room: RoomForLarge) {
    this.#folder = folder;
    this.#files = files;
    this.#room = room;
  }

  /**
   * Takes in a value: a small one is returned whole, a large one as a file.
   *
   * @throws {WriteRefusedError} If there is no room, or no file can be opened for now.
   * @throws What the incoming chunks throw; nothing stays behind.
   */
  async take(value: Value | IncomingValue): Promise<Value | LargeValueFile> {
    if (value instanceof Value) {
      const write = () => this.#write([value.bytes], value.contentType);
      return await this.#withRoom(write, write);
    }
    const chunks = value.chunks[Symbol.asyncIterator]();
    const first: Uint8Array[] = [];
    let size = 0;
    while (size <= LARGE_VALUE_BYTES) {
      const next = await chunks.next();
      if (next.done) return new Value(concat(first), value.contentType);
      first.push(next.value);
      size += next.value.length;
    }
    // The chunks cannot be read again. So the room that is made now is for the sender's next attempt.
    return await this.#withRoom(() => this.#write(following(first, chunks), value.contentType));
  }

  /** Makes room if `write` finds the disk full, and then calls `again`, if given. */
  async #withRoom(
    write: () => Promise<LargeValueFile>,
    again?: () => Promise<LargeValueFile>,
  ): Promise<LargeValueFile> {
    try {
      return await write();
    } catch (error) {
      const isFull = error instanceof StorageFullError;
      if (!isFull || !await this.#room.make() || again === undefined) throw error;
      return await again();
    }
  }

  async #write(
    chunks: Iterable<Uint8Array> | AsyncIterable<Uint8Array>,
    contentType: string,
  ): Promise<LargeValueFile> {
    const path = join(this.#folder, this.#prefix + this.#count++);
    const file = await this.#create(path, chunks);
    try {
      const content = startHash();
      for await (const chunk of chunks) {
        content.update(chunk);
        await writeChunk(file, chunk);
      }
      this.#lastModifiedMs = Math.max(Date.now(), this.#lastModifiedMs + 1);
      file.setModified(this.#lastModifiedMs);
      await sync(file);
      await this.#syncFolder();
      const facts = file.facts();
      file.close();
      const { size } = facts;
      return new LargeValueFile(path, {
        size,
        contentType,
        etag: etagOfFile(facts),
        hash: content.digest(),
      });
    } catch (error) {
      file.close();
      await this.#files.remove(path).catch(() => {});
      throw error;
    }
  }

  async #create(
    path: string,
    chunks: Iterable<Uint8Array> | AsyncIterable<Uint8Array>,
  ): Promise<OpenFile> {
    try {
      this.#room.check();
      return await this.#files.create(path);
    } catch (error) {
      if (Symbol.asyncIterator in chunks) await chunks[Symbol.asyncIterator]().return?.();
      throw refusedOr("Cannot make a file for a new value", error);
    }
  }

  /** Joins the next flush of the folder, which all values share that wait for it. */
  #syncFolder(): Promise<void> {
    return this.#nextFolderSync ??= this.#folderSync.catch(() => {}).then(() => {
      this.#nextFolderSync = undefined;
      const what = "Cannot flush the folder of new values";
      return this.#folderSync = flushFolder(this.#files, this.#folder, what);
    });
  }
}

async function sync(file: OpenFile): Promise<void> {
  try {
    await file.syncData();
  } catch (error) {
    // Without room or memory the file is removed, and nothing names it.
    throw refusedOr("Cannot flush a new value", error);
  }
}

async function writeChunk(file: OpenFile, chunk: Uint8Array): Promise<void> {
  try {
    await writeAll(file, chunk);
  } catch (error) {
    throw refusedOr("Cannot write a new value", error);
  }
}
