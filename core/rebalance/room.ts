/** Whether targets have room for what they will get, asked before anything is moved. */
import { format } from "@std/fmt/bytes";
import { RebalanceError } from "../errors.ts";
import { MoveBatcher } from "./work.ts";
import { type ServerStats } from "./endpoint.ts";
import { type Move } from "./move.ts";
import { mapInOrder } from "./map_in_order.ts";
import { type Pair } from "./survey.ts";
import { type RunContext } from "./work.ts";

/** What the journal of a server that does not tell takes at most besides the files (bytes). */
const JOURNAL_BYTES = 256 * 1024 * 1024;

/** What a value takes in the journal besides its bytes, about (bytes). */
const RECORD_BYTES = 300;

/** How many sizes are asked for at once: so many reads a slow disk can do within a time-out. */
const MOST_SIZES = 100;

/** What a target will get, and what its disk has. */
export interface Demand {
  readonly target: number;
  readonly name: string;
  /** Of the target. */
  readonly room: ServerStats;
  /** What goes there from each server. */
  readonly pairs: readonly Pair[];
}

/** Targets on one file system, which share what is free there. */
export class Disk {
  readonly demands: readonly Demand[];
  /** The least that one of them was told of what is free (bytes). */
  readonly freeBytes: number;
  readonly #names: string;

  constructor(demands: readonly Demand[]) {
    this.demands = demands;
    this.freeBytes = Math.min(...demands.map(({ room }) => room.freeBytes));
    this.#names = demands.map(({ name }) => name).join(" and ");
  }

  /** Puts those targets together that tell of the same file system; the others are by themselves. */
  static group(demands: readonly Demand[]): Disk[] {
    const groups = Map.groupBy(demands, (demand) => demand.room.fileSystem ?? demand);
    return [...groups.values()].map((group) => new Disk(group));
  }

  /**
   * Whether the room is certain without a look at the values: all that the servers have on their disks
   * would fit.
   *
   * @throws {RebalanceError} If the files alone are too many.
   */
  isCertain(statsOf: (server: number) => ServerStats | undefined): boolean {
    const freeFiles = Math.min(...this.demands.map(({ room }) => room.freeFiles ?? Infinity));
    let files = 0;
    let bytes = 0;
    // Servers on one disk tell of the same files.
    const disks = new Map<string | number, number>();
    let isTold = true;
    for (const { room, pairs } of this.demands) {
      bytes += room.journalBytes ?? JOURNAL_BYTES;
      for (const { owner, newKeys } of pairs) {
        if (newKeys === 0) continue;
        files += newKeys;
        // A value in the source's journal takes less there than the block that its file will take.
        bytes += newKeys * room.blockBytes;
        const stats = statsOf(owner);
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

/** What values take on a disk, as they are added up. */
class Need {
  files = 0;
  readonly #room: ServerStats;
  #fileBytes = 0;
  #journalBytes = 0;

  constructor(room: ServerStats) {
    this.#room = room;
  }

  /** Counts a value of `size` bytes in. */
  add(size: number): void {
    const { blockBytes } = this.#room;
    this.files++;
    this.#fileBytes += Math.ceil(size / blockBytes) * blockBytes;
    this.#journalBytes += size + RECORD_BYTES;
  }

  /** Bytes: whole blocks of the files, and the journal meanwhile. */
  get bytes(): number {
    return this.#fileBytes + Math.min(this.#journalBytes, this.#room.journalBytes ?? JOURNAL_BYTES);
  }
}

/**
 * Adds up what the values that are new to the targets on these disks take.
 *
 * @throws {RebalanceError} If one of them has less room than that.
 */
export async function measureRoom(work: RunContext, disks: readonly Disk[]): Promise<void> {
  const demands = disks.flatMap((disk) => disk.demands);
  const needs = new Map(
    demands.map(({ target, room }) => [work.endpoint(target), new Need(room)]),
  );
  const measure = async (moves: readonly Move[]) => {
    const wanted = moves.filter(({ to, mayBeThere }) => !mayBeThere && needs.has(to));
    const from = wanted[0]?.from;
    if (from === undefined) return moves.length;
    const facts = await from.factsMany(wanted.map(({ key }) => key));
    for (const [index, { to }] of wanted.entries()) needs.get(to)?.add(facts[index]?.size ?? 0);
    return moves.length;
  };
  // Sizes take little room, however large the values are; but the server reads these to tell.
  const batcher = new MoveBatcher(Math.min(work.options.batchKeys ?? Infinity, MOST_SIZES), 0);
  let done = 0;
  for await (const keys of mapInOrder(work.batches(undefined, batcher), measure, work.pool)) {
    work.progress("room", done += keys);
  }
  if (work.options.signal.aborted) return;
  for (const disk of disks) disk.check((target) => needs.get(work.endpoint(target)));
}
