/** The phase that asks whether the disks of the targets have room for what they will get. */
import { format } from "@std/fmt/bytes";
import { RebalanceError } from "../errors.ts";
import { type ServerStats } from "./endpoint.ts";
import { mapInOrder } from "./map_in_order.ts";
import { MoveBatcher } from "./move_batcher.ts";
import { type Move } from "./mover.ts";
import { type RunContext } from "./run_context.ts";
import { type Pair, type Survey } from "./survey.ts";

/** The size (bytes) that a journal may grow to, if its server does not tell. */
const JOURNAL_BYTES = 256 * 1024 * 1024;

/** What a record of the journal takes besides the value, about (bytes). */
const RECORD_BYTES = 300;

/** How many sizes one request asks for. A server on a slow disk can read so many values within a time-out. */
const MOST_SIZES = 100;

/**
 * Compares what will move with the room of the targets. Asks for the sizes of values only if it has to.
 *
 * @throws {RebalanceError} If a target has no room.
 */
export async function checkRoom(run: RunContext, { pairs, stats }: Survey): Promise<void> {
  const demands: Demand[] = [];
  for (const [target, group] of Map.groupBy(pairs.values(), ({ target }) => target)) {
    const { name } = run.endpoint(target);
    const room = stats[target];
    if (room === undefined) run.options.onEvent({ kind: "unchecked", server: name });
    else demands.push({ target, name, room, pairs: group });
  }
  const open = Disk.group(demands).filter((disk) => !disk.isCertain(stats));
  if (open.length > 0) await measureRoom(run, open);
}

/** What a target will get, and what its disk has. */
interface Demand {
  readonly target: number;
  readonly name: string;
  /** What the target tells of its disk. */
  readonly room: ServerStats;
  /** What comes to the target from each server. */
  readonly pairs: readonly Pair[];
}

/** Targets on one file system, which share what is free there. */
class Disk {
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
class Need {
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

/**
 * Adds up what the values that are new to the targets of these disks take.
 *
 * @throws {RebalanceError} If one of the disks has less room than that.
 */
async function measureRoom(run: RunContext, disks: readonly Disk[]): Promise<void> {
  const demands = disks.flatMap((disk) => disk.demands);
  const needs = new Map(
    demands.map(({ target, room }) => [run.endpoint(target), new Need(room)]),
  );
  const measure = async (moves: readonly Move[]) => {
    const wanted = moves.filter(({ to, mayBeThere }) => !mayBeThere && needs.has(to));
    const from = wanted[0]?.from;
    if (from === undefined) return moves.length;
    const facts = await from.factsMany(wanted.map(({ key }) => key));
    for (const [index, { to }] of wanted.entries()) needs.get(to)?.add(facts[index]?.size ?? 0);
    return moves.length;
  };
  const batcher = new MoveBatcher(Math.min(run.options.batchKeys ?? Infinity, MOST_SIZES), 0);
  let done = 0;
  for await (const keys of mapInOrder(run.batches(undefined, batcher), measure, run.pool)) {
    run.progress("room", done += keys);
  }
  if (run.options.signal.aborted) return;
  for (const disk of disks) disk.check((target) => needs.get(run.endpoint(target)));
}
