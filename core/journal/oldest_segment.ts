/** Which segment of the journal is the oldest that is needed: else nobody would notice that one was removed. */
import { join } from "@std/path";
import { flushFolder } from "../system/file_steps.ts";
import type { Files } from "../system/files.ts";

/** On-disk name of an empty file: `oldest-` and the number, with `-clean` while no server runs and none is left. */
const NAME = /^oldest-(\d+)(-clean)?$/;

/** What the name of the file says. */
export interface OldestMark {
  readonly number: number;
  /** Whether the last server ended in order and left no segment. */
  readonly isClean: boolean;
}

/** Reads a file name; `undefined` if it is another file. */
export function oldestMark(name: string): OldestMark | undefined {
  const [, digits, clean] = NAME.exec(name) ?? [];
  return digits === undefined
    ? undefined
    : { number: Number(digits), isClean: clean !== undefined };
}

/**
 * The record, in the name of a file: a rename is one step. It goes ahead of the removal of a segment, durably, so a
 * segment whose removal a power cut undoes is known to be old.
 */
export class OldestSegment {
  readonly #folder: string;
  readonly #files: Files;
  #mark: OldestMark | undefined;
  #isDurable: boolean;

  /** @param mark What was found on the disk. */
  constructor(folder: string, files: Files, mark: OldestMark | undefined) {
    this.#folder = folder;
    this.#files = files;
    this.#mark = mark;
    this.#isDurable = mark !== undefined;
  }

  /** Number of the oldest segment that is needed, or would be the next; 1 where nothing is known. */
  get number(): number {
    return this.#mark?.number ?? 1;
  }

  /**
   * Records that segments before `number` are not needed; durable once resolved. To be called again when it rejects.
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

  /** Records that no segment is left; the next start may do without that. Never rejects. */
  async close(): Promise<void> {
    if (this.#mark === undefined) return;
    await this.#rename({ number: this.#mark.number, isClean: true }).catch(() => {});
  }

  async #rename(mark: OldestMark): Promise<void> {
    const old = this.#mark;
    if (old !== undefined && old.number === mark.number && old.isClean === mark.isClean) return;
    this.#isDurable = false;
    const to = join(this.#folder, nameOf(mark));
    try {
      if (old === undefined) (await this.#files.create(to)).close();
      else await this.#files.rename(join(this.#folder, nameOf(old)), to);
    } catch (error) {
      // Removed by hand.
      if (!(error instanceof Deno.errors.NotFound)) throw error;
      (await this.#files.create(to)).close();
    }
    this.#mark = mark;
  }
}

function nameOf({ number, isClean }: OldestMark): string {
  return `oldest-${number}${isClean ? "-clean" : ""}`;
}
