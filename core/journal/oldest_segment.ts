/** The mark of the oldest and the newest segment, by which a start knows old segments and notices missing ones. */
import { join } from "@std/path";
import { StorageFailedError } from "../errors.ts";
import { flushFolder } from "../system/file_steps.ts";
import { type Files, refusedOr } from "../system/files.ts";

/**
 * On-disk name of an empty file: `oldest-` and the number of the oldest segment that is needed. `-newest-` and the
 * number of the newest segment may follow. `-clean` follows if the last server ended in order and left no segment.
 */
const NAME = /^oldest-(\d+)(?:-newest-(\d+)|(-clean))?$/;

/** The facts that the name of the file tells. */
export interface OldestMark {
  /** Number of the oldest segment that is needed. */
  readonly number: number;
  /** Number of the newest segment; `undefined` or less than `number` if no segment that is needed was begun yet. */
  readonly newest?: number | undefined;
  /** Whether the last server ended in order and left no segment. */
  readonly isClean: boolean;
}

/** Returns the mark with this file name; `undefined` if it is the name of another file. */
export function oldestMark(name: string): OldestMark | undefined {
  const [, digits, newest, clean] = NAME.exec(name) ?? [];
  return digits === undefined ? undefined : {
    number: Number(digits),
    newest: newest === undefined ? undefined : Number(newest),
    isClean: clean !== undefined,
  };
}

/**
 * Keeps the mark, which is the name of a file: a rename is one step. The mark is durable before a segment is dropped.
 * So if a power cut brings the segment back, the mark says that the segment is not needed.
 */
export class OldestSegment {
  readonly #folder: string;
  readonly #files: Files;
  #mark: OldestMark | undefined;
  /** Whether the number of the oldest segment is durable. */
  #isDurable: boolean;
  /** Resolves when no rename is under way. */
  #renaming: Promise<void> = Promise.resolve();

  /** @param mark The mark found on the disk, if there is one. */
  constructor(folder: string, files: Files, mark: OldestMark | undefined) {
    this.#folder = folder;
    this.#files = files;
    this.#mark = mark;
    this.#isDurable = mark !== undefined;
  }

  /** Number of the oldest segment that is needed; if none is needed, of the next segment. 1 without a mark. */
  get number(): number {
    return this.#mark?.number ?? 1;
  }

  /**
   * Records that no segment before `number` is needed; durable once resolved. After a rejection the call has to be
   * repeated.
   *
   * @throws {StorageFailedError} If the folder cannot be flushed.
   * @throws {StorageBusyError} If the folder cannot be opened for now.
   * @throws {Error} As of `Files`, if the mark cannot be renamed or made.
   */
  async advance(number: number): Promise<void> {
    await this.#rename((mark) => ({ number, newest: mark?.newest, isClean: false }));
    if (this.#isDurable) return;
    await flushFolder(this.#files, this.#folder, "Cannot flush the folder of the journal");
    this.#isDurable = true;
  }

  /**
   * Records that no segment is left; durable once resolved. Gives up if files cannot be opened or the disk is full: the
   * next start then only warns.
   *
   * @throws {StorageFailedError} If the disk failed.
   */
  async close(): Promise<void> {
    if (this.#mark === undefined) return;
    try {
      // The next start replays every segment beside a clean mark, so no removal may be undone any more.
      await this.#files.syncFolder(this.#folder);
      const { number } = this.#mark;
      await this.#rename(() => ({ number, isClean: true }));
      await this.#files.syncFolder(this.#folder);
    } catch (error) {
      const failure = refusedOr("Cannot flush the folder of the journal", error);
      if (failure instanceof StorageFailedError) throw failure;
    }
  }

  /**
   * Records the number of the newest segment; durable with the next flush of the folder. Never rejects: without that
   * number the next start only cannot notice that this segment was removed.
   */
  async recordNewest(newest: number): Promise<void> {
    if (this.#mark === undefined || this.#mark.isClean) return;
    const { number } = this.#mark;
    await this.#rename((mark) => ({ number: mark?.number ?? number, newest, isClean: false }))
      .catch(() => {});
  }

  /** Renames the file when no other rename is under way: each rename begins with the name that the last one gave. */
  #rename(next: (mark: OldestMark | undefined) => OldestMark): Promise<void> {
    const done = this.#renaming.then(() => this.#renameTo(next(this.#mark)));
    this.#renaming = done.catch(() => {});
    return done;
  }

  async #renameTo(mark: OldestMark): Promise<void> {
    const old = this.#mark;
    if (old !== undefined && markName(old) === markName(mark)) return;
    // If only the newest segment changes, the old name and the new one say the same of the oldest segment.
    if (old?.number !== mark.number || old.isClean !== mark.isClean) this.#isDurable = false;
    const to = join(this.#folder, markName(mark));
    try {
      if (old === undefined) (await this.#files.create(to)).close();
      else await this.#files.rename(join(this.#folder, markName(old)), to);
    } catch (error) {
      // Somebody removed the file by hand.
      if (!(error instanceof Deno.errors.NotFound)) throw error;
      (await this.#files.create(to)).close();
      this.#isDurable = false;
    }
    this.#mark = mark;
  }
}

/** Returns the file name of a mark. */
export function markName({ number, newest = 0, isClean }: OldestMark): string {
  if (isClean) return `oldest-${number}-clean`;
  return newest < number ? `oldest-${number}` : `oldest-${number}-newest-${newest}`;
}
