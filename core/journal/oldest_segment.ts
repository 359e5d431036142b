/** The mark of the oldest segment: without it no start would notice that a segment was removed by hand. */
import { join } from "@std/path";
import { StorageFailedError } from "../errors.ts";
import { flushFolder } from "../system/file_steps.ts";
import { type Files, refusedOr } from "../system/files.ts";

/**
 * On-disk name of an empty file: `oldest-` and the number of the oldest segment that is needed. `-clean` follows if
 * the last server ended in order and left no segment.
 */
const NAME = /^oldest-(\d+)(-clean)?$/;

/** What the name of the file says. */
export interface OldestMark {
  readonly number: number;
  /** Whether the last server ended in order and left no segment. */
  readonly isClean: boolean;
}

/** Returns what a file name says; `undefined` if it is the name of another file. */
export function oldestMark(name: string): OldestMark | undefined {
  const [, digits, clean] = NAME.exec(name) ?? [];
  return digits === undefined
    ? undefined
    : { number: Number(digits), isClean: clean !== undefined };
}

/**
 * Keeps the mark, which is the name of a file: a rename is one step. The mark is durable before a segment is removed.
 * So if a power cut undoes the removal, the mark says that the segment is old.
 */
export class OldestSegment {
  readonly #folder: string;
  readonly #files: Files;
  #mark: OldestMark | undefined;
  #isDurable: boolean;

  /** @param mark The mark found on the disk, if there is one. */
  constructor(folder: string, files: Files, mark: OldestMark | undefined) {
    this.#folder = folder;
    this.#files = files;
    this.#mark = mark;
    this.#isDurable = mark !== undefined;
  }

  /** Number of the oldest segment that is needed, or of the next one if there is none; 1 without a mark. */
  get number(): number {
    return this.#mark?.number ?? 1;
  }

  /**
   * Records that no segment before `number` is needed; durable once resolved. If this rejects, it must be called again.
   *
   * @throws {StorageFailedError} If the disk failed.
   * @throws {StorageBusyError} If the folder cannot be opened for now.
   */
  async advance(number: number): Promise<void> {
    await this.#rename({ number, isClean: false });
    if (this.#isDurable) return;
    await flushFolder(this.#files, this.#folder, "Cannot flush the folder of the journal");
    this.#isDurable = true;
  }

  /**
   * Records that no segment is left; durable once resolved. It does without that if files cannot be opened or the disk
   * is full: the next start then only warns.
   *
   * @throws {StorageFailedError} If the disk failed.
   */
  async close(): Promise<void> {
    if (this.#mark === undefined) return;
    try {
      // The next start replays every segment beside a clean mark, so no removal may be undone any more.
      await this.#files.syncFolder(this.#folder);
      await this.#rename({ number: this.#mark.number, isClean: true });
      await this.#files.syncFolder(this.#folder);
    } catch (error) {
      const failure = refusedOr("Cannot flush the folder of the journal", error);
      if (failure instanceof StorageFailedError) throw failure;
    }
  }

  async #rename(mark: OldestMark): Promise<void> {
    const old = this.#mark;
    if (old !== undefined && old.number === mark.number && old.isClean === mark.isClean) return;
    this.#isDurable = false;
    const to = join(this.#folder, markName(mark));
    try {
      if (old === undefined) (await this.#files.create(to)).close();
      else await this.#files.rename(join(this.#folder, markName(old)), to);
    } catch (error) {
      // Somebody removed the file by hand.
      if (!(error instanceof Deno.errors.NotFound)) throw error;
      (await this.#files.create(to)).close();
    }
    this.#mark = mark;
  }
}

/** Returns the name of the file that says so. */
export function markName({ number, isClean }: OldestMark): string {
  return `oldest-${number}${isClean ? "-clean" : ""}`;
}
