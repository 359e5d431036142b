/** Spare files: dropped segments that are kept, to be written over by the next segments. */
import { join } from "@std/path";
import type { Files } from "../system/files.ts";

/** On-disk name: `spare-` and the number of the dropped segment. */
const NAME = /^spare-\d+$/;

/** Whether `name` is the file name of a spare file. */
export function isSpareName(name: string): boolean {
  return NAME.test(name);
}

/** A spare file, and what it holds. */
export interface SpareFile {
  readonly path: string;
  /** Salt of the frames in the file. */
  readonly salt: number;
  /** Where these frames end (bytes). */
  readonly end: number;
  /** The file has at most so many bytes. Behind the frames may be the rest of an even older segment. */
  readonly size: number;
}

/** Which files are kept. */
export interface SpareLimits {
  /** Only segments with so many bytes of frames: small ones come from a server that has little to do. */
  readonly leastBytes: number;
  /** The spare files and all segments together have at most so many bytes. */
  readonly mostBytes: number;
}

/** The spare files of a running server. Those that a server leaves behind are removed by its next start. */
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

  /**
   * Returns what the file of dropped segment `number` is to become, with the path to rename it to; `undefined` if the
   * file is not to be kept.
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

  /** Keeps a file that was renamed to its path. */
  put(file: SpareFile): void {
    this.#kept.push(file);
  }

  /** Returns a spare file, which from now on is the caller's; `undefined` if there is none. */
  take(): SpareFile | undefined {
    return this.#kept.pop();
  }

  /** Removes all spare files; resolves to whether there were any. Never rejects: the next start tries again. */
  async removeAll(): Promise<boolean> {
    const kept = this.#kept.splice(0);
    for (const { path } of kept) await this.#files.remove(path).catch(() => {});
    return kept.length > 0;
  }
}
