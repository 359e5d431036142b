/** Reads values from the overlay, the cache or the key file. */
import { messageOf, StorageBusyError } from "../errors.ts";
import type { ContentTypes } from "./content_types.ts";
import { openIfThere, readAll } from "../system/file_steps.ts";
import { type Files, isExhausted, type OpenFile } from "../system/files.ts";
import type { KeyFiles } from "./key_files.ts";
import type { KeyIndex } from "./key_index.ts";
import { OpenLargeValue } from "./large_value.ts";
import { LargeValueFile, type Overlay } from "./overlay.ts";
import { LARGE_VALUE_BYTES } from "../protocol.ts";
import { type LargeValue } from "../store.ts";
import { Value } from "../value.ts";
import type { ValueCache } from "./value_cache.ts";
import type { DurableState } from "./write_conditions.ts";

/** The places in which a {@link ValueReader} looks. */
export interface ValueSources {
  readonly files: Files;
  readonly index: KeyIndex;
  readonly overlay: Overlay;
  readonly cache: ValueCache;
  readonly keyFiles: KeyFiles;
  readonly contentTypes: ContentTypes;
}

// How often a read is tried. A file that is not there was removed by hand, or is just being renamed.
const MOST_ATTEMPTS = 5;

/** The reads of one key's file that are under way, and began after the last write of the key. */
interface ActiveReads {
  readers: number;
  /** Whether a write of the key has become visible since these reads began. */
  isChanged: boolean;
}

/**
 * Reads values, and never waits for a write. A value whose key was written while its file was read is read again, a few
 * times at most. So a read never returns an older value than an earlier read did.
 */
export class ValueReader implements DurableState {
  readonly #sources: ValueSources;
  /** Keys whose files are being read. */
  readonly #activeReads = new Map<string, ActiveReads>();

  constructor(sources: ValueSources) {
    this.#sources = sources;
  }

  /** Returns the value of `key` if the value is in memory. */
  inMemory(key: string): Value | undefined {
    const { cache, overlay } = this.#sources;
    const entry = overlay.get(key);
    if (entry === undefined) return cache.get(key);
    return entry.state instanceof Value ? entry.state : undefined;
  }

  /** Returns the value of a key for which `inMemory` has none; as `Store.get`. */
  get(
    key: string,
  ): Value | undefined | Promise<Value | LargeValue | undefined> {
    const entry = this.#sources.overlay.get(key);
    if (entry !== undefined) {
      if (!(entry.state instanceof LargeValueFile)) return entry.state;
    } else if (!this.#sources.index.has(key)) {
      return undefined;
    } else {
      const value = this.#readAtOnce(key);
      if (value !== undefined) return value;
    }
    return this.#read(key);
  }

  /** Reads the file of a key that the overlay does not have; `undefined` if that would mean to wait. */
  #readAtOnce(key: string): Value | undefined {
    const { files, keyFiles, contentTypes } = this.#sources;
    const bytes = files.readAtOnce(keyFiles.pathToRead(key), LARGE_VALUE_BYTES);
    if (bytes === undefined) return undefined;
    const value = Value.copyOf(bytes, contentTypes.get(key));
    this.#keep(key, value);
    return value;
  }

  /** Puts a value that was read into the cache, if the cache admits it. */
  #keep(key: string, value: Value): void {
    const { cache } = this.#sources;
    if (!cache.admits(key)) return;
    value.compact();
    cache.set(key, value);
  }

  /** Whether `key` has a value. */
  has(key: string): boolean {
    return this.#sources.index.has(key);
  }

  /** Returns the ETag of the value of `key`; `undefined` if the key has no value. */
  async etagOf(key: string): Promise<string | undefined> {
    const value = this.inMemory(key) ?? await this.get(key);
    if (value !== undefined && !(value instanceof Value)) value.discard();
    return value?.etag;
  }

  /** To be called when a write of `key` has become visible. */
  changed(key: string): void {
    if (this.#activeReads.size === 0) return;
    const watch = this.#activeReads.get(key);
    if (watch === undefined) return;
    watch.isChanged = true;
    this.#activeReads.delete(key);
  }

  async #read(key: string): Promise<Value | LargeValue | undefined> {
    const { index, overlay, keyFiles, contentTypes } = this.#sources;
    for (let attempt = 1;; attempt++) {
      const state = overlay.get(key)?.state;
      if (state instanceof Value) return state;
      if (state === undefined && !index.has(key)) return undefined;
      const path = state?.path ?? keyFiles.pathToRead(key);
      const contentType = state?.contentType ?? contentTypes.get(key);
      const watch = this.#beginRead(key);
      try {
        let value = await this.#load(path, contentType);
        if (value === undefined && state?.isPlaced) {
          // The file has been renamed just now, and `path` of the large value is not changed yet.
          value = await this.#load(keyFiles.pathToWrite(key), contentType);
        }
        const isLast = attempt === MOST_ATTEMPTS;
        if (value === undefined) {
          if (isLast) return undefined;
        } else if (!watch.isChanged || isLast) {
          if (value instanceof Value && !watch.isChanged) this.#keep(key, value);
          return value;
        } else if (!(value instanceof Value)) {
          // The content type could be that of another value by now, so the open file is of no use.
          value.discard();
        }
      } finally {
        this.#endRead(key, watch);
      }
    }
  }

  #beginRead(key: string): ActiveReads {
    let watch = this.#activeReads.get(key);
    if (watch === undefined) {
      watch = { readers: 0, isChanged: false };
      this.#activeReads.set(key, watch);
    }
    watch.readers++;
    return watch;
  }

  #endRead(key: string, watch: ActiveReads): void {
    watch.readers--;
    if (watch.readers === 0 && this.#activeReads.get(key) === watch) this.#activeReads.delete(key);
  }

  /** Reads a small file, or opens a large one; `undefined` if no plain file is there. */
  async #load(path: string, contentType: string): Promise<Value | LargeValue | undefined> {
    let file: OpenFile | undefined;
    try {
      file = await openIfThere(this.#sources.files, path);
    } catch (error) {
      if (!isExhausted(error)) throw error;
      const why = `Busy: the value cannot be read for now: ${messageOf(error)}`;
      throw new StorageBusyError(why, { cause: error });
    }
    if (file === undefined) return undefined;
    let isHandedOver = false;
    try {
      const facts = file.facts();
      if (!facts.isFile) return undefined;
      if (facts.size > LARGE_VALUE_BYTES) {
        isHandedOver = true;
        return new OpenLargeValue(file, facts, contentType);
      }
      return new Value(await readAll(file, facts.size), contentType);
    } finally {
      if (!isHandedOver) file.close();
    }
  }
}
