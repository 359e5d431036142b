/**
 * A store of plain files: each save writes a temporary file, flushes it, renames it over the key's
 * file and flushes the folder. Slow (two flushes a save) and simple.
 */
import { join } from "@std/path";
import { compareKeys, fileNameToKey, keyToFileName } from "./key.ts";
import { InvalidKeyError, PreconditionFailedError, StorageFullError } from "./errors.ts";
import { type Condition, type IncomingValue, type ListOptions, type SetResult } from "./store.ts";
import { type Store, Value } from "./store.ts";

/** Opens the store in the folder `path`, which the caller holds; `hiddenPath` takes temporary files. */
export async function openFileStore(path: string, hiddenPath: string): Promise<Store> {
  const fileNames = new Map<string, string>();
  for await (const entry of Deno.readDir(path)) {
    const key = entry.isFile ? fileNameToKey(entry.name) : undefined;
    if (key === undefined) continue;
    // Where a canonical name and an odd one stand for the same key, the canonical one counts.
    if (!fileNames.has(key) || keyToFileName(key) === entry.name) fileNames.set(key, entry.name);
  }
  for await (const entry of Deno.readDir(hiddenPath)) {
    if (entry.name.startsWith(TEMPORARY)) await Deno.remove(join(hiddenPath, entry.name));
  }
  return new FileStore(path, hiddenPath, fileNames);
}

const TEMPORARY = "save-";

class FileStore implements Store {
  readonly #path: string;
  readonly #hiddenPath: string;
  readonly #fileNames: Map<string, string>;
  readonly #tails = new Map<string, Promise<unknown>>();
  #saves = 0;

  constructor(path: string, hiddenPath: string, fileNames: Map<string, string>) {
    this.#path = path;
    this.#hiddenPath = hiddenPath;
    this.#fileNames = fileNames;
  }

  get size(): number {
    return this.#fileNames.size;
  }

  get(key: string): Promise<Value | undefined> | undefined {
    const name = this.#fileNames.get(key);
    return name === undefined ? undefined : this.#read(name);
  }

  set(key: string, value: Value | IncomingValue, condition?: Condition): Promise<SetResult> {
    return this.#inOrder(key, async () => {
      const whole = value instanceof Value ? value : await collect(value);
      const created = !this.#fileNames.has(key);
      await this.#check(key, condition);
      await this.#write(keyToFileName(key), whole.bytes);
      const odd = this.#fileNames.get(key);
      this.#fileNames.set(key, keyToFileName(key));
      if (odd !== undefined && odd !== keyToFileName(key)) await this.#remove(odd);
      return { created, etag: whole.etag };
    });
  }

  delete(key: string, condition?: Condition): Promise<boolean> {
    return this.#inOrder(key, async () => {
      await this.#check(key, condition);
      const name = this.#fileNames.get(key);
      if (name === undefined) return false;
      await this.#remove(name);
      this.#fileNames.delete(key);
      return true;
    });
  }

  list({ prefix = "", after, limit = Infinity }: ListOptions = {}): string[] {
    return [...this.#fileNames.keys()]
      .filter((key) =>
        key.startsWith(prefix) && (after === undefined || compareKeys(key, after) > 0)
      )
      .sort(compareKeys).slice(0, limit);
  }

  async close(): Promise<void> {
    await Promise.allSettled(this.#tails.values());
  }

  async #read(name: string): Promise<Value | undefined> {
    try {
      return new Value(await Deno.readFile(join(this.#path, name)));
    } catch (error) {
      if (error instanceof Deno.errors.NotFound) return undefined;
      throw error;
    }
  }

  async #check(key: string, condition: Condition | undefined): Promise<void> {
    if (condition === undefined) return;
    const value = await this.get(key);
    const holds = condition === "present"
      ? value !== undefined
      : condition === "absent"
      ? value === undefined
      : value !== undefined && condition.etags.includes(value.etag);
    if (!holds) throw new PreconditionFailedError("Precondition failed: the key has changed");
  }

  async #write(name: string, bytes: Uint8Array): Promise<void> {
    const temporary = join(this.#hiddenPath, `${TEMPORARY}${this.#saves++}`);
    try {
      using file = await Deno.open(temporary, { write: true, create: true, truncate: true });
      for (let at = 0; at < bytes.length;) at += await file.write(bytes.subarray(at));
      await file.sync();
      await Deno.rename(temporary, join(this.#path, name));
    } catch (error) {
      await Deno.remove(temporary);
      if (error instanceof Deno.errors.IsADirectory) {
        throw new InvalidKeyError(`Invalid key: ${name} is a folder in the data directory`);
      }
      if (error instanceof Error && /os error (28|122)/.test(error.message)) {
        throw new StorageFullError("Disk full: nothing was saved, the old value stands");
      }
      throw error;
    }
    await this.#flushFolder();
  }

  async #remove(name: string): Promise<void> {
    await Deno.remove(join(this.#path, name));
    await this.#flushFolder();
  }

  async #flushFolder(): Promise<void> {
    using folder = await Deno.open(this.#path);
    await folder.sync();
  }

  /** Runs `write` when the writes to `key` that came before it are done. */
  #inOrder<T>(key: string, write: () => Promise<T>): Promise<T> {
    const result = (this.#tails.get(key) ?? Promise.resolve()).then(write, write);
    const tail = result.catch(() => {}).finally(() => {
      if (this.#tails.get(key) === tail) this.#tails.delete(key);
    });
    this.#tails.set(key, tail);
    return result;
  }
}

async function collect(value: IncomingValue): Promise<Value> {
  const parts: Uint8Array<ArrayBuffer>[] = [];
  for await (const chunk of value.chunks) parts.push(new Uint8Array(chunk));
  return new Value(await new Blob(parts).bytes(), value.contentType);
}
