/** Whether targets have room for what they will get, asked before anything is moved. */
import { format } from "@std/fmt/bytes";
import { RebalanceError } from "./errors.ts";
import { type ServerStats } from "./rebalance_endpoint.ts";
import { type Move } from "./rebalance_move.ts";
import { mapInOrder } from "./rebalance_streams.ts";
import { type Pair } from "./rebalance_survey.ts";
import { type Work } from "./rebalance_work.ts";

/** What a server's journal takes at most besides the files, by default (bytes). */
const JOURNAL_BYTES = 256 * 1024 * 1024;

/** What a value takes in the journal besides its bytes, about (bytes). */
const RECORD_BYTES = 300;

/** What a target will get, and what its disk has. */
export interface Demand {
  readonly target: number;
  readonly name: string;
  /** Of the target. */
  readonly room: ServerStats;
  /** What goes there from each server. */
  readonly pairs: readonly Pair[];
}

/** What values take on a disk, as they are added up. */
export class Need {
  files = 0;
  #fileBytes = 0;
  #journalBytes = 0;

  /** Counts a value of `size` bytes in. */
  add(size: number, blockBytes: number): void {
    this.files++;
    this.#fileBytes += Math.ceil(size / blockBytes) * blockBytes;
    this.#journalBytes += size + RECORD_BYTES;
  }

  /** Bytes: whole blocks of the files, and the journal meanwhile. */
  get bytes(): number {
    return this.#fileBytes + Math.min(this.#journalBytes, JOURNAL_BYTES);
  }
}

/**
 * Whether the room is certain without a look at the values: all that the servers have on their disks
 * would fit.
 *
 * @throws {RebalanceError} If the files alone are too many.
 */
export function isCertain(
  { name, room, pairs }: Demand,
  statsOf: (server: number) => ServerStats | undefined,
): boolean {
  const files = pairs.reduce((sum, { newKeys }) => sum + newKeys, 0);
  if (room.freeFiles !== undefined && files > room.freeFiles) {
    throw new RebalanceError(
      `${name} has no room: ${files} keys need a file each, its disk has ${room.freeFiles} left`,
    );
  }
  // Servers on one disk tell the same of it.
  const disks = new Map<string, number>();
  for (const { owner, newKeys } of pairs) {
    if (newKeys === 0) continue;
    const stats = statsOf(owner);
    if (stats?.usedBytes === undefined) return false;
    disks.set(`${stats.usedBytes} ${stats.freeBytes}`, stats.usedBytes);
  }
  const used = disks.values().reduce((sum, bytes) => sum + bytes, 0);
  // A value in the source's journal takes less there than the block that its file will take.
  return used + files * room.blockBytes + JOURNAL_BYTES <= room.freeBytes;
}

/**
 * Adds up what the values that are new to these targets take.
 *
 * @throws {RebalanceError} If one of them has less room than that.
 */
export async function measureRoom(work: Work, demands: readonly Demand[]): Promise<void> {
  const needs = new Map(demands.map(({ target }) => [work.endpoint(target), new Need()]));
  const roomOf = new Map(demands.map(({ target, room }) => [work.endpoint(target), room]));
  const measure = async (moves: readonly Move[]) => {
    const wanted = moves.filter(({ to, mayBeThere }) => !mayBeThere && needs.has(to));
    const from = wanted[0]?.from;
    if (from === undefined) return moves.length;
    const facts = await from.factsMany(wanted.map(({ key }) => key));
    for (const [index, { to }] of wanted.entries()) {
      needs.get(to)?.add(facts[index]?.size ?? 0, roomOf.get(to)?.blockBytes ?? 1);
    }
    return moves.length;
  };
  let done = 0;
  for await (const keys of mapInOrder(work.batches(), measure, work.pool)) {
    work.progress("room", done += keys);
  }
  if (work.options.signal.aborted) return;
  for (const { target, name, room } of demands) {
    const need = needs.get(work.endpoint(target));
    if (need === undefined || need.bytes <= room.freeBytes) continue;
    throw new RebalanceError(
      `${name} has no room: ${need.files} keys take ${need.bytes} bytes (${format(need.bytes)}) ` +
        `in blocks of ${room.blockBytes}, the journal included, and its disk has ` +
        `${room.freeBytes} (${format(room.freeBytes)}) free`,
    );
  }
}
