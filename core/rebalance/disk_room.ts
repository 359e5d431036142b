/** Whether the disks of the targets of a move have room for what they will get. */
import { format } from "@std/fmt/bytes";
import { RebalanceError } from "../errors.ts";
import { type ServerStats } from "./endpoint.ts";

/** The size (bytes) that a journal may grow to, if its server does not tell. */
const JOURNAL_BYTES = 256 * 1024 * 1024;

/** What a record of the journal takes besides the value, about (bytes). */
const RECORD_BYTES = 300;

/** How many sizes one request asks for. A server on a slow disk can read so many values within a time-out. */
export const MOST_SIZES = 100;

/** What comes to a target from one server. */
export interface Coming {
  /** The index of the server. */
  readonly owner: number;
  /** Number of keys that the target does not have yet. */
  readonly newKeys: number;
}

/** What a target will get, and what its disk has. */
export interface Demand {
  readonly target: number;
  readonly name: string;
  /** What the target tells of its disk. */
  readonly room: ServerStats;
  /** What comes to the target from each server. */
  readonly pairs: readonly Coming[];
}

/** Targets on one file system, which share what is free there. */
export class Disk {
  readonly demands: readonly Demand[];
  /** The least that one of the targets tells (bytes). */
  readonly freeBytes: number;
  readonly #names: string;

  constructor(demands: readonly Demand[]) {
    this.demands = demands;
    this.freeBytes = Math.min(...demands.map(({ room }) => room.freeBytes));
    this.#names = demands.map(({ name }) => name).join(" and ");
  }

  /** Puts the targets together that tell the same file system; each other target is by itself. */
  static group(demands: readonly Demand[]): Disk[] {
    const groups = Map.groupBy(demands, (demand) => demand.room.fileSystem ?? demand);
    return [...groups.values()].map((group) => new Disk(group));
  }

  /**
   * Whether the room is certain without a look at the values, because all that the owners have on their disks would
   * fit.
   *
   * @throws {RebalanceError} If the files alone are too many.
   */
  isCertain(statsOf: readonly (ServerStats | undefined)[]): boolean {
    const freeFiles = Math.min(...this.demands.map(({ room }) => room.freeFiles ?? Infinity));
    let files = 0;
    let bytes = 0;
    // Servers on one disk tell the same used bytes.
    const disks = new Map<string | number, number>();
    let isTold = true;
    for (const { room, pairs } of this.demands) {
      bytes += room.journalBytes ?? JOURNAL_BYTES;
      for (const { owner, newKeys } of pairs) {
        if (newKeys === 0) continue;
        files += newKeys;
        // A value in the owner's journal takes less there than its file will take.
        bytes += newKeys * room.blockBytes;
        const stats = statsOf[owner];
        if (stats?.usedBytes === undefined) isTold = false;
        else disks.set(stats.fileSystem ?? owner, stats.usedBytes);
      }
    }
    if (files > freeFiles) {
      const disk = this.demands.length === 1 ? "its disk has" : "the disk they share has";
      throw new RebalanceError(
        `${this.#lack}: ${files} keys need a file each, ${disk} ${freeFiles} left`,
      );
    }
    for (const used of disks.values()) bytes += used;
    return isTold && bytes <= this.freeBytes;
  }

  /** @throws {RebalanceError} If the values take more room than there is. */
  check(needOf: (target: number) => Need | undefined): void {
    let files = 0;
    let bytes = 0;
    for (const { target } of this.demands) {
      const need = needOf(target);
      files += need?.files ?? 0;
      bytes += need?.bytes ?? 0;
    }
    if (bytes <= this.freeBytes) return;
    const blocks = new Set(this.demands.map(({ room }) => room.blockBytes));
    const [journal, disk] = this.demands.length === 1
      ? ["the journal", "its disk has"]
      : ["their journals", "the disk they share has"];
    throw new RebalanceError(
      `${this.#lack}: ${files} keys take ${bytes} bytes (${format(bytes)}) in blocks of ` +
        `${[...blocks].join(" and ")}, ${journal} included, and ${disk} ${this.freeBytes} ` +
        `(${format(this.freeBytes)}) free`,
    );
  }

  get #lack(): string {
    return `${this.#names} ${this.demands.length === 1 ? "has" : "have"} no room`;
  }
}

/** What values take on the disk of one target. */
export class Need {
  files = 0;
  readonly #room: ServerStats;
  #fileBytes = 0;
  #journalBytes = 0;

  constructor(room: ServerStats) {
    this.#room = room;
  }

  /** Adds a value of `size` bytes. */
  add(size: number): void {
    const { blockBytes } = this.#room;
    this.files++;
    this.#fileBytes += Math.ceil(size / blockBytes) * blockBytes;
    this.#journalBytes += size + RECORD_BYTES;
  }

  /** What the values take (bytes): their files in whole blocks, and the journal besides. */
  get bytes(): number {
    return this.#fileBytes + Math.min(this.#journalBytes, this.#room.journalBytes ?? JOURNAL_BYTES);
  }
}
