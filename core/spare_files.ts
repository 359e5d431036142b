/**
 * Files of segments that were dropped, kept to become segments again: to write over a file costs a flush
 * less than to make one grow.
 */
import { join } from "@std/path";
import type { Files } from "./files.ts";

/** On-disk name: `spare-` and the number that the segment had; an early version had one, without. */
const NAME = /^spare(-\d+)?$/;

/** Whether a file name is that of a file which waits to become a segment. */
export function isSpareName(name: string): boolean {
  return NAME.test(name);
}

/** A file that waits to become a segment, and what it holds. */
export interface SpareFile {
  readonly path: string;
  readonly salt: number;
  /** Where its frames end. */
  readonly end: number;
  /** Bytes that the file may have; more than its frames where it was used before. */
  readonly size: number;
}

/** What is kept. */
export interface SpareLimits {
  /** Only files of so many bytes: they come from a server that is busy. */
  readonly leastBytes: number;
  /** No more than this together, with the segments that there are (bytes). */
  readonly mostBytes: number;
}

/** The files that are kept. What a server leaves behind is removed by the next one. */
export class SpareFiles {
  readonly #folder: string;
  readonly #files: Files;
  readonly #limits: SpareLimits;
  readonly #kept: SpareFile[] = [];

  constructor(folder: string, files: Files, limits: SpareLimits) {
    this.#folder = folder;
    this.#files = files;
    this.#limits = limits;
  }

  /** How many are kept. */
  get count(): number {
    return this.#kept.length;
  }

  /**
   * Where to move the file of segment `number` to be kept, or `undefined` if it is not to be.
   *
   * @param segmentBytes Bytes of all other segments.
   */
  place(
    number: number,
    segment: Omit<SpareFile, "path">,
    segmentBytes: number,
  ): SpareFile | undefined {
    let bytes = segmentBytes + segment.size;
    for (const { size } of this.#kept) bytes += size;
    const { leastBytes, mostBytes } = this.#limits;
    return segment.end >= leastBytes && bytes <= mostBytes
      ? { path: join(this.#folder, `spare-${number}`), ...segment }
      : undefined;
  }

  /** Keeps a file that has been moved, durably. */
  put(file: SpareFile): void {
    this.#kept.push(file);
  }

  /** Returns a file that is not kept any more from now on, if there is one. */
  take(): SpareFile | undefined {
    return this.#kept.pop();
  }

  /** Removes all of them, and tells whether there were any. Never rejects: the next start tries again. */
  async removeAll(): Promise<boolean> {
    const kept = this.#kept.splice(0);
    for (const { path } of kept) await this.#files.remove(path).catch(() => {});
    return kept.length > 0;
  }
}
