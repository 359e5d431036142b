/**
 * Loads values before anything is changed: all of them for the details, those that move for a dry
 * run, and those for which it is not certain that their target can take them.
 */
import { RebalanceError } from "../errors.ts";
import { displayKey } from "../key.ts";
import { BY_ITSELF } from "./batch_requests.ts";
import { type Endpoint, sameCopy } from "./endpoint.ts";
import { checkFits, type Move, sizeOf } from "./move.ts";
import { mapInOrder } from "./map_in_order.ts";
import { type RunContext } from "./work.ts";
import { type Copy } from "../client/remote.ts";
import { KEY_NOT_FOUND } from "../protocol.ts";

const SENTINEL = new TextEncoder().encode(KEY_NOT_FOUND);

/** What a dry run would move from one server to another. */
interface Plan {
  readonly move: Move;
  keys: number;
  bytes: number;
}

/** A value that was loaded. */
interface Found {
  readonly move: Move;
  readonly copy: Copy | undefined;
  readonly bytes: number;
  /** Whether the target has it already; asked in a dry run only. */
  readonly there: boolean;
}

/** Loads what has to be known ahead; tells details and plans. */
export async function readAhead(work: RunContext): Promise<void> {
  const { details, dryRun, layout, onEvent, signal } = work.options;
  const plans = new Map<string, Plan>();
  const needed = ({ from, to }: Move) =>
    details || (from !== to && (dryRun || !from.native || !to.native));
  const look = (moves: readonly Move[]) => inspect(moves, work);
  if (!details && !dryRun && work.options.endpoints.every(({ native }) => native)) return;
  let done = 0;
  for (const server of new Set(layout.asIs)) {
    if (details) await tellListing(work, work.endpoint(server));
    for await (const found of mapInOrder(work.batchesFrom(server, needed), look, work.pool)) {
      work.batcher.learn(found.length, found.reduce((sum, { bytes }) => sum + bytes, 0));
      for (const { move, copy, bytes, there } of found) {
        work.progress("read", ++done);
        const { key, from, to } = move;
        if (details) {
          const value = copy?.bytes ?? SENTINEL;
          onEvent({ kind: "found", key, value, from: from.name, to: to.name });
        }
        if (dryRun && copy !== undefined && from !== to) plan(work, plans, { move, bytes, there });
      }
    }
    if (signal.aborted) return;
  }
  for (const { keys, bytes, move } of plans.values()) {
    onEvent({ kind: "plan", from: move.from.name, to: move.to.name, keys, bytes });
  }
}

function plan(
  { summary }: RunContext,
  plans: Map<string, Plan>,
  { move, bytes, there }: Omit<Found, "copy">,
): void {
  summary.left--;
  if (there) {
    summary.inPlace++;
    return;
  }
  const pair = `${move.from.name} ${move.to.name}`;
  const sum = plans.get(pair) ?? { keys: 0, bytes: 0, move };
  sum.keys++;
  sum.bytes += bytes;
  plans.set(pair, sum);
  summary.moved++;
  summary.bytes += bytes;
}

async function tellListing(work: RunContext, endpoint: Endpoint): Promise<void> {
  const { onEvent } = work.options;
  for await (const keys of endpoint.keys()) {
    onEvent({ kind: "listing", server: endpoint.name, keys });
  }
  onEvent({ kind: "listed", server: endpoint.name });
}

/** Loads the owner's copies and, in a dry run, compares the targets'. */
async function inspect(moves: readonly Move[], work: RunContext): Promise<Found[]> {
  const copies = await load(moves, ({ from }) => from, work);
  const away = work.options.dryRun ? moves.filter(({ from, to }) => from !== to) : [];
  const held = await load(away, ({ to }) => to, work);
  return moves.map((move) => {
    const { key, from, to } = move;
    const copy = copies.get(move);
    if (from !== to && copy === undefined && !from.native) {
      throw new RebalanceError(
        `Cannot move "${
          displayKey(key)
        }": ${from.name} lists it but answers ${KEY_NOT_FOUND}, which is its ` +
          "value or tells that it is gone: the book routes cannot tell these apart",
      );
    }
    if (from !== to && copy !== undefined) checkFits(move, copy);
    const there = copy !== undefined && sameCopy(copy, held.get(move));
    return { move, copy, there, bytes: copy === undefined ? 0 : sizeOf(copy) };
  });
}

async function load(
  moves: readonly Move[],
  serverOf: (move: Move) => Endpoint,
  { mover }: RunContext,
): Promise<ReadonlyMap<Move, Copy | undefined>> {
  const copies = new Map<Move, Copy | undefined>();
  for (const [server, group] of Map.groupBy(moves, serverOf)) {
    const loaded = await server.loadMany(group.map(({ key }) => key));
    for (const [index, move] of group.entries()) {
      const copy = loaded[index];
      copies.set(move, copy === BY_ITSELF ? await mover.loadAlone(server, move.key) : copy);
    }
  }
  return copies;
}
