/** The plain files that hold the values, one a key, and their names. */
import { InvalidKeyError } from "../errors.ts";
import type { Files } from "../system/files.ts";
import { checkKey, fileNameToKey, keyToFileName } from "../key.ts";
import { KeyIndex } from "./key_index.ts";
import type { Log } from "../log.ts";

// File names that are the key itself, the usual case. A name with an escape, or with a character that is special in
// a file name, is none of them.
const PLAIN_NAME = /^[A-Za-z0-9~-][A-Za-z0-9._~-]*$/;

/**
 * Knows the folder of key files. It is listed once, at the start: a file that is put there by hand while the server
 * runs may not be seen before the next start.
 */
export class KeyFiles {
  readonly #folder: string;
  /**
   * Keys with an odd file: its name is the key itself although that has to be escaped. A person or an older server
   * left it. `true` if the key has a file with the right name as well; then that file counts.
   */
  readonly #odd = new Map<string, boolean>();
  /** Keys whose file name is taken by something that is not a file. */
  readonly #blocked = new Set<string>();

  constructor(folder: string) {
    this.#folder = folder;
  }

  /** Lists the folder and returns the keys in it. */
  async load(files: Files, log: Log): Promise<KeyIndex> {
    const keys: string[] = [];
    const odd: string[] = [];
    await files.list(this.#folder, (name, isFile) => {
      if (isFile && PLAIN_NAME.test(name)) {
        keys.push(name);
        return;
      }
      const key = fileNameToKey(name);
      if (key === undefined) return;
      const isOdd = keyToFileName(key) !== name;
      if (!isFile) {
        if (!isOdd) this.#blocked.add(key);
      } else if (!isOdd) {
        keys.push(key);
      } else if (isValid(key)) {
        odd.push(key);
      } else {
        log("warn", "ignored a file: its name, escaped, would be too long for a key", {
          file: name,
        });
      }
    });
    const index = new KeyIndex(keys);
    for (const key of odd) this.#odd.set(key, !index.add(key));
    return index;
  }

  /** Path of the file that holds the value of `key` now. */
  pathToRead(key: string): string {
    if (this.#odd.size > 0 && this.#odd.get(key) === false) return this.#pathOf(key);
    return this.pathToWrite(key);
  }

  /** Path of the file that holds `key` from its next save on. */
  pathToWrite(key: string): string {
    return this.#pathOf(PLAIN_NAME.test(key) ? key : keyToFileName(key));
  }

  /** Path of the odd file of `key`, if there is one: to be removed with the next write. */
  oddPath(key: string): string | undefined {
    return this.#odd.has(key) ? this.#pathOf(key) : undefined;
  }

  /** To be called when the odd file of `key` is gone. */
  oddRemoved(key: string): void {
    this.#odd.delete(key);
  }

  /** @throws {InvalidKeyError} If something that is not a file has the file name of `key`. */
  checkFree(key: string): void {
    if (this.#blocked.size === 0 || !this.#blocked.has(key)) return;
    throw new InvalidKeyError(
      `Invalid key: "${keyToFileName(key)}" in the data directory is not a file`,
    );
  }

  /** Whether something that is not a file has the file name of `key`. */
  isBlocked(key: string): boolean {
    return this.#blocked.has(key);
  }

  /** Records whether something that is not a file has the file name of `key`. */
  setBlocked(key: string, isBlocked: boolean): void {
    if (isBlocked) this.#blocked.add(key);
    else if (this.#blocked.size > 0) this.#blocked.delete(key);
  }

  #pathOf(name: string): string {
    return `${this.#folder}/${name}`;
  }
}

function isValid(key: string): boolean {
  try {
    checkKey(key);
    return true;
  } catch (error) {
    if (error instanceof InvalidKeyError) return false;
    throw error;
  }
}
