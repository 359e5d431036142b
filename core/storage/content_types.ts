/** The content types of values, as far as they are not the default one. */
import { crc32 } from "node:zlib";
import { join } from "@std/path";
import {
  openIfThere,
  readAll,
  removeUnfinished,
  replaceFile,
  writeAll,
} from "../system/file_steps.ts";
import { failedError, type Files, isDiskFull } from "../system/files.ts";
import type { Log } from "../log.ts";
import { DEFAULT_CONTENT_TYPE } from "../protocol.ts";

/** On-disk name in the hidden folder. */
const FILE_NAME = "content-types";

// So many lines that newer ones replace may be in the file before it is written anew.
const TOLERATED_LINES = 1000;

/** A key and the content type that it has from now on. */
export type TypeChange = readonly [key: string, contentType: string];

const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8", { ignoreBOM: true });

/**
 * A plain file cannot say its content type, so one text file says it for all keys. A change is a line,
 * `CRC-32 ["key","type"]`, and the last line of a key counts. The checkpoint writes a change before it drops
 * the journal segment with the same change, so a torn line is written again.
 */
export class ContentTypes {
  readonly #types = new Map<string, string>();
  readonly #folder: string;
  readonly #files: Files;
  #lines = 0;
  #bytes = 0;
  #exists = false;
  #isTorn = false;

  private constructor(folder: string, files: Files) {
    this.#folder = folder;
    this.#files = files;
  }

  /**
   * Reads the file in `folder`, and makes it durable. A killed server may have written lines without a flush, and a
   * change that is in the file is not written again.
   *
   * @param isNew Whether no server has used the folder before. Otherwise a file that is missing is logged.
   * @throws {StorageFailedError} If it cannot be flushed.
   */
  static async open(
    folder: string,
    { files, log, isNew }: { readonly files: Files; readonly log: Log; readonly isNew: boolean },
  ): Promise<ContentTypes> {
    const types = new ContentTypes(folder, files);
    await removeUnfinished(files, join(folder, FILE_NAME));
    await types.#load(log);
    if (types.#exists) await flush(folder, files);
    else await types.#begin(isNew, log);
    return types;
  }

  /** Makes the file, so that the next start notices if it was removed. */
  async #begin(isNew: boolean, log: Log): Promise<void> {
    const path = join(this.#folder, FILE_NAME);
    if (!isNew) {
      log(
        "warn",
        "the list of content types is gone: values have the default one until they are saved again",
        { file: path },
      );
    }
    try {
      (await this.#files.create(path)).close();
      this.#exists = true;
    } catch (error) {
      // The first change makes the file.
      if (!isDiskFull(error)) throw error;
    }
  }

  /** Returns the content type of the value in the file of `key`. */
  get(key: string): string {
    return this.#types.get(key) ?? DEFAULT_CONTENT_TYPE;
  }

  /** Records changes; durable once resolved. Rejects with the errors of the disk. Calls must not overlap. */
  async put(changes: Iterable<TypeChange>): Promise<void> {
    let text = "";
    const news: TypeChange[] = [];
    for (const change of changes) {
      const [key, type] = change;
      if (this.get(key) === type) continue;
      text += formatLine(key, type);
      news.push(change);
    }
    if (news.length === 0) return;
    const merged = new Map(this.#types);
    apply(merged, news);
    if (this.#isTorn || this.#lines + news.length > 2 * merged.size + TOLERATED_LINES) {
      await this.#rewrite(merged);
    } else {
      await this.#append(encoder.encode(text), news.length);
    }
    apply(this.#types, news);
  }

  async #append(bytes: Uint8Array, lines: number): Promise<void> {
    const path = join(this.#folder, FILE_NAME);
    const file = this.#exists
      ? await this.#files.open(path, { write: true })
      : await this.#files.create(path);
    try {
      // If this fails, a part of a line may be behind the good ones, and the file has to be written anew.
      this.#isTorn = true;
      this.#exists = true;
      file.seek(this.#bytes);
      await writeAll(file, bytes);
      await file.syncData();
    } finally {
      file.close();
    }
    if (this.#bytes === 0) await this.#files.syncFolder(this.#folder);
    this.#isTorn = false;
    this.#bytes += bytes.length;
    this.#lines += lines;
  }

  async #rewrite(types: ReadonlyMap<string, string>): Promise<void> {
    let text = "";
    for (const [key, type] of types) text += formatLine(key, type);
    const bytes = encoder.encode(text);
    // After a failure the file may be the old one or the new one: nothing can be appended.
    this.#isTorn = true;
    await replaceFile(this.#files, { folder: this.#folder, name: FILE_NAME, bytes });
    this.#exists = true;
    this.#isTorn = false;
    this.#bytes = bytes.length;
    this.#lines = types.size;
  }

  async #load(log: Log): Promise<void> {
    const file = await openIfThere(this.#files, join(this.#folder, FILE_NAME));
    if (file === undefined) return;
    this.#exists = true;
    let bytes: Uint8Array;
    try {
      bytes = await readAll(file);
    } finally {
      file.close();
    }
    this.#bytes = bytes.length;
    let bad = 0;
    for (const line of decoder.decode(bytes).split("\n")) {
      if (line === "") continue;
      const change = parseLine(line);
      if (change === undefined) bad++;
      else apply(this.#types, [change]);
      this.#lines++;
    }
    if (bad > 0) {
      this.#isTorn = true;
      log("warn", "ignored damaged lines in the list of content types", {
        file: join(this.#folder, FILE_NAME),
        lines: bad,
      });
    } else if (bytes.length > 0 && bytes.at(-1) !== NEWLINE) {
      this.#isTorn = true;
    }
  }
}

async function flush(folder: string, files: Files): Promise<void> {
  try {
    const file = await files.open(join(folder, FILE_NAME), { write: true });
    try {
      await file.syncData();
    } finally {
      file.close();
    }
    await files.syncFolder(folder);
  } catch (error) {
    throw failedError("Cannot flush the content types", error);
  }
}

const NEWLINE = 0x0a;

function apply(types: Map<string, string>, changes: Iterable<TypeChange>): void {
  for (const [key, type] of changes) {
    if (type === DEFAULT_CONTENT_TYPE) types.delete(key);
    else types.set(key, interned(type));
  }
}

// Many keys share few types, so each type is one string in memory.
const known = new Map<string, string>();

function interned(type: string): string {
  const same = known.get(type);
  if (same !== undefined) return same;
  if (known.size < 1000) known.set(type, type);
  return type;
}

function formatLine(key: string, type: string): string {
  const json = JSON.stringify([key, type]);
  return `${checksum(json)} ${json}\n`;
}

function checksum(json: string): string {
  return crc32(json).toString(16).padStart(8, "0");
}

function parseLine(line: string): TypeChange | undefined {
  const json = line.slice(9);
  if (line.slice(0, 9) !== checksum(json) + " ") return undefined;
  const parsed: unknown = JSON.parse(json);
  if (!Array.isArray(parsed) || parsed.length !== 2) return undefined;
  const [key, type]: unknown[] = parsed;
  return typeof key === "string" && typeof type === "string" ? [key, type] : undefined;
}
