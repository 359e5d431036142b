/**
 * The phase that loads values before anything is changed: all values for the details, those that move for a dry run,
 * and those that their target may not take.
 */
import { type Copy } from "../client/remote.ts";
import { RebalanceError } from "../errors.ts";
import { displayKey } from "../key.ts";
import { KEY_NOT_FOUND } from "../protocol.ts";
import { sameCopy, sizeOf } from "./copy.ts";
import { type Endpoint } from "./endpoint.ts";
import { mapInOrder } from "./map_in_order.ts";
import { checkFits, type Move } from "./mover.ts";
import { type RunContext } from "./run_context.ts";

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
  /** Whether the target has the value already; known in a dry run only. */
  readonly isThere: boolean;
}

/** Loads what has to be known ahead; tells details and plans. @throws {RebalanceError} If a value cannot be moved. */
export async function readAhead(run: RunContext): Promise<void> {
  const { details, dryRun, endpoints, layout, onEvent, signal } = run.options;
  if (!details && !dryRun && endpoints.every(({ native }) => native)) return;
  const plans = new Map<string, Plan>();
  const wanted = ({ from, to }: Move) =>
    details || (from !== to && (dryRun || !from.native || !to.native));
  const work = (moves: readonly Move[]) => inspect(moves, run);
  let done = 0;
  for (const server of new Set(layout.asIs)) {
    if (details) await tellListing(run, run.endpoint(server));
    for await (const found of mapInOrder(run.batchesFrom(server, wanted), work, run.pool)) {
      run.batcher.learn(found.length, found.reduce((sum, { bytes }) => sum + bytes, 0));
      for (const { move, copy, bytes, isThere } of found) {
        run.progress("read", ++done);
        const { key, from, to } = move;
        if (details) {
          const value = copy?.bytes ?? SENTINEL;
          onEvent({ kind: "found", key, value, from: from.name, to: to.name });
        }
        if (dryRun && copy !== undefined && from !== to) plan(run, plans, { move, bytes, isThere });
      }
    }
    if (signal.aborted) return;
  }
  for (const { keys, bytes, move } of plans.values()) {
    onEvent({ kind: "plan", from: move.from.name, to: move.to.name, keys, bytes });
  }
}

/** Adds a key to the plan of a dry run. */
function plan(
  { summary }: RunContext,
  plans: Map<string, Plan>,
  { move, bytes, isThere }: Omit<Found, "copy">,
): void {
  summary.left--;
  if (isThere) {
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

async function tellListing(run: RunContext, endpoint: Endpoint): Promise<void> {
  const { onEvent } = run.options;
  for await (const keys of endpoint.keys()) {
    onEvent({ kind: "listing", server: endpoint.name, keys });
  }
  onEvent({ kind: "listed", server: endpoint.name });
}

/** Loads copies of one owner and, in a dry run, compares the targets' copies. */
async function inspect(moves: readonly Move[], run: RunContext): Promise<Found[]> {
  const copies = await load(moves, ({ from }) => from, run);
  const away = run.options.dryRun ? moves.filter(({ from, to }) => from !== to) : [];
  const held = await load(away, ({ to }) => to, run);
  return moves.map((move) => {
    const { key, from, to } = move;
    const copy = copies.get(key);
    if (from !== to && copy === undefined && !from.native) {
      throw new RebalanceError(
        `Cannot move "${displayKey(key)}": ${from.name} lists it but answers ${KEY_NOT_FOUND}, ` +
          "which is its value or tells that it is gone: the book routes cannot tell these apart",
      );
    }
    if (from !== to && copy !== undefined) checkFits(move, copy);
    const isThere = copy !== undefined && sameCopy(copy, held.get(key));
    return { move, copy, isThere, bytes: copy === undefined ? 0 : sizeOf(copy) };
  });
}

/** The copies of the keys on the server that `serverOf` picks for each key. */
async function load(
  moves: readonly Move[],
  serverOf: (move: Move) => Endpoint,
  { mover }: RunContext,
): Promise<ReadonlyMap<string, Copy | undefined>> {
  const copies = new Map<string, Copy | undefined>();
  for (const [server, group] of Map.groupBy(moves, serverOf)) {
    for (const [key, copy] of await mover.load(server, group.map(({ key }) => key))) {
      copies.set(key, copy);
    }
  }
  return copies;
}
