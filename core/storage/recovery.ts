/** Brings the writes that a server left in the journal back into overlay and index. */
import { join } from "@std/path";
import { StorageFailedError } from "../errors.ts";
import { startHash } from "../etag.ts";
import { type LargeReference, RecordKind } from "../journal/format.ts";
import { decodeLarge, type JournalRecord } from "../journal/frame_reader.ts";
import { segmentName } from "../journal/segment.ts";
import type { Log } from "../log.ts";
import { LARGE_VALUE_BYTES } from "../protocol.ts";
import { openIfThere } from "../system/file_steps.ts";
import type { Files } from "../system/files.ts";
import { Value } from "../value.ts";
import type { KeyFiles } from "./key_files.ts";
import type { KeyIndex } from "./key_index.ts";
import { etagOfFile } from "./large_value.ts";
import { LargeValueFile, type Overlay } from "./overlay.ts";

/** A large value as the journal tells of it. */
interface NamedLarge extends LargeReference {
  readonly contentType: string;
  readonly segment: number;
}

/** Takes the records of the journal in order, then looks for the files of large values. */
export class Recovery {
  readonly #hiddenFolder: string;
  readonly #largeNames: ReadonlySet<string>;
  readonly #index: KeyIndex;
  readonly #overlay: Overlay;
  /** The newest writes of keys that are large values, by key. */
  readonly #large = new Map<string, NamedLarge>();

  /** @param largeNames Names of the files of large values in the hidden folder. */
  constructor(
    hiddenFolder: string,
    largeNames: ReadonlySet<string>,
    index: KeyIndex,
    overlay: Overlay,
  ) {
    this.#hiddenFolder = hiddenFolder;
    this.#largeNames = largeNames;
    this.#index = index;
    this.#overlay = overlay;
  }

  /**
   * Takes in a record of segment `segment`; to be called in the order of the journal.
   *
   * @throws {StorageFailedError} If this version does not know the kind of the record.
   */
  visit({ kind, key, contentType, value }: JournalRecord, segment: number): void {
    if (kind === RecordKind.VOID) return;
    if (kind === RecordKind.LARGE) {
      this.#large.set(key, { ...decodeLarge(value), contentType, segment });
      this.#put(key, new Value(new Uint8Array(0), contentType), segment);
      return;
    }
    this.#large.delete(key);
    if (kind === RecordKind.DELETE) {
      this.#overlay.put(key, undefined, segment);
      this.#index.delete(key);
    } else if (kind === RecordKind.SET) {
      this.#put(key, Value.copyOf(value, contentType), segment);
    } else {
      throw unknownKind(join(this.#hiddenFolder, segmentName(segment)));
    }
  }

  /**
   * Finds the files of large values; to be called when all records were visited. No server removes a file that the
   * newest record of its key names. So a file that is not in the hidden folder was renamed to the key's file.
   *
   * @throws {StorageFailedError} If a file was cut short, or another value is in the key's file.
   */
  async finish(files: Files, keyFiles: KeyFiles, log: Log): Promise<void> {
    for (const [key, named] of this.#large) {
      const { fileName, segment } = named;
      const isPlaced = !this.#largeNames.has(fileName);
      const ownPath = join(this.#hiddenFolder, fileName);
      const path = isPlaced ? keyFiles.pathToWrite(key) : ownPath;
      const large = await openLarge(files, path, named);
      // A file that was not renamed is not read: with many of them the start would take long.
      if (large !== undefined && isPlaced) {
        const isOther = large.size !== named.size || await hashOf(files, path) !== named.hash;
        if (isOther) throw missing(ownPath, key, path);
      } else if (large !== undefined && large.size !== named.size) {
        throw cutShort(path, key, large.size, named.size);
      }
      if (large === undefined) {
        log("warn", "a key is gone: its file was removed by hand", { key });
        this.#overlay.put(key, undefined, segment);
        this.#index.delete(key);
      } else {
        large.isPlaced = isPlaced;
        this.#overlay.put(key, large, segment);
      }
    }
  }

  /** Returns the names of files that hold the newest value of no key. */
  leftOver(): string[] {
    const named = new Set(Array.from(this.#large.values(), ({ fileName }) => fileName));
    return [...this.#largeNames].filter((name) => !named.has(name));
  }

  #put(key: string, value: Value, segment: number): void {
    value.compact();
    this.#overlay.put(key, value, segment);
    this.#index.add(key);
  }
}

/** Looks at the file of a large value at `path`; `undefined` if there is none. */
async function openLarge(
  files: Files,
  path: string,
  { contentType, hash }: NamedLarge,
): Promise<LargeValueFile | undefined> {
  const file = await openIfThere(files, path);
  if (file === undefined) return undefined;
  try {
    const facts = file.facts();
    return new LargeValueFile(path, {
      size: facts.size,
      contentType,
      etag: etagOfFile(facts),
      hash,
    });
  } finally {
    file.close();
  }
}

/** Returns XXH64 of a file's content. */
async function hashOf(files: Files, path: string): Promise<bigint> {
  const file = await files.open(path);
  try {
    const content = startHash();
    const buffer = new Uint8Array(LARGE_VALUE_BYTES);
    for (let read = await file.read(buffer); read !== null; read = await file.read(buffer)) {
      content.update(buffer.subarray(0, read));
    }
    return content.digest();
  } finally {
    file.close();
  }
}

function unknownKind(path: string): StorageFailedError {
  return new StorageFailedError(
    `Storage failed: ${path} was written by another version of kvs: start that version and stop it, ` +
      "which makes plain files of all writes",
  );
}

function cutShort(path: string, key: string, size: number, expected: number): StorageFailedError {
  return new StorageFailedError(
    `Storage failed: ${path} is damaged, it has ${size} of ${expected} bytes: restore it from a backup, or ` +
      `remove it to go on without the last value of ${JSON.stringify(key)}`,
  );
}

function missing(path: string, key: string, keyPath: string): StorageFailedError {
  return new StorageFailedError(
    `Storage failed: ${path} is missing, and ${keyPath} is another value: restore it from a backup, or ` +
      `remove ${keyPath} to go on without ${JSON.stringify(key)}`,
  );
}
