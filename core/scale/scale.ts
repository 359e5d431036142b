/**
 * The mover: brings a cluster to other servers or another placement while clients write. This file has the order of a
 * run. It keeps no state: what it finds on the servers tells what is left to do. docs/layouts.md tells the protocol.
 */
import {
  KvsError,
  OutputError,
  RemoteError,
  ScaleError,
  StoppedError,
  UsageError,
} from "../errors.ts";
import {
  type Arrangement,
  isMoving,
  type Layout,
  membersOf,
  type MovingLayout,
  nextOf,
  sameArrangement,
} from "../layout/layout.ts";
import { carry } from "./carry.ts";
import { OvertakenError } from "./errors.ts";
import { type ScaleSummary } from "./events.ts";
import { checkFit } from "./first_layout.ts";
import { giveNew, giveTo } from "./give.ts";
import { namesOf } from "./goal.ts";
import { bringUp, checkDistinct, checkTakes, newestLayout } from "./look.ts";
import { type Member } from "./member.ts";
import { firstLayout, movingLayout, steadyLayout } from "./next_layout.ts";
import { Room } from "./room.ts";
import { type ScaleOptions, ScaleRun } from "./run.ts";
import { sharesOf } from "./survey.ts";

/** How often a run looks anew because somebody else made a layout meanwhile. */
const MOST_LOOKS = 20;

/**
 * Runs the mover; resolves to what it did, also if `signal` stopped it.
 *
 * @throws {ScaleError} If a server fails or refuses; the message says what was done.
 */
export async function scale(options: ScaleOptions): Promise<ScaleSummary> {
  const run = new ScaleRun(options);
  const start = performance.now();
  try {
    await goOn(run);
  } catch (error) {
    if (error instanceof OutputError) throw error;
    if (!(error instanceof StoppedError)) {
      throw error instanceof KvsError ? run.ended(error) : error;
    }
  }
  run.summary.interrupted = options.signal.aborted;
  run.summary.seconds = (performance.now() - start) / 1000;
  return run.summary;
}

async function goOn(run: ScaleRun): Promise<void> {
  for (let looks = 1;; looks++) {
    try {
      return await reachGoal(run, looks > 1);
    } catch (error) {
      if (!(error instanceof OvertakenError) || looks === MOST_LOOKS) throw error;
    }
  }
}

/**
 * Looks at the cluster and does all that is left to do.
 *
 * @param isOvertaken Whether somebody else made a layout during this run.
 * @throws {OvertakenError} If it has to look anew.
 */
async function reachGoal(run: ScaleRun, isOvertaken: boolean): Promise<void> {
  const { summary, options: { signal, dryRun } } = run;
  const found = await newestLayout(run) ?? await makeFirst(run);
  const goal = goalOf(run, found);
  checkReplaced(run, found, goal);
  let layout = await bringUp(run, found, isOvertaken);
  summary.layout = layout;
  const isOther = isMoving(layout) || isOvertaken;
  if (isMoving(layout)) {
    if (dryRun) return await tellPlan(run, layout);
    const steady = await complete(run, layout);
    if (steady === undefined) return;
    layout = steady;
  }
  if (sameArrangement(goal, layout)) return;
  if (isOther) {
    summary.otherGoal = true;
    return;
  }
  const move = await prepare(run, layout, goal);
  if (dryRun) return await tellPlan(run, move);
  if (!signal.aborted) await complete(run, move);
}

/** Makes the first layout of a cluster: the list that it is used with. */
async function makeFirst(run: ScaleRun): Promise<Layout> {
  const { servers, placement, dryRun } = run.options;
  const members = run.members(servers.map(({ name }) => name));
  const list = { servers: members.map(({ name }) => name), placement };
  await checkFit(members, list);
  const layout = firstLayout(list, storesOf(members));
  for (const member of members) checkTakes(member, layout);
  if (dryRun) return layout;
  await giveNew(run, layout);
  for (const member of members) await member.look();
  return layout;
}

/** The servers and the placement that are wanted. @throws {UsageError} If the layout has no such names. */
function goalOf({ options }: ScaleRun, layout: Layout): Arrangement {
  const { goal, toPlacement, addressOf } = options;
  const now = nextOf(layout);
  return {
    servers: goal === undefined ? now.servers : namesOf(goal, now.servers.map(addressOf)),
    placement: toPlacement ?? now.placement,
  };
}

/** @throws {UsageError} If a server is to be emptied that has nothing to do with the cluster. */
function checkReplaced(
  { options: { replace } }: ScaleRun,
  layout: Layout,
  goal: Arrangement,
): void {
  if (replace === undefined || [...membersOf(layout), ...goal.servers].includes(replace)) return;
  throw new UsageError(`Nothing to replace: ${replace} is neither in the layout nor wanted`);
}

/**
 * Looks at the servers that come, and at the room; resolves to the layout of the move.
 *
 * @throws {KvsError} If a server cannot be part of the move.
 */
async function prepare(run: ScaleRun, layout: Layout, goal: Arrangement): Promise<MovingLayout> {
  const names = [...new Set([...layout.servers, ...goal.servers])];
  const members = run.members(names);
  await Promise.all(members.map((member) => member.look()));
  checkDistinct(members);
  const leaving = members.find(({ name, seen }) => seen.leaving && goal.servers.includes(name));
  if (leaving !== undefined) throw new ScaleError(`${leaving.name} is about to leave`);
  const move = movingLayout(layout, goal, storesOf(members));
  for (const member of members) checkTakes(member, move);
  if (!run.options.dryRun) await new Room(move, members).check(run.options.signal);
  return move;
}

/** Carries all keys of a move; resolves to the layout after it, or to `undefined` if an abort came before that. */
async function complete(run: ScaleRun, move: MovingLayout): Promise<Layout | undefined> {
  await giveNew(run, move);
  const failed = new AbortController();
  const signal = AbortSignal.any([run.options.signal, failed.signal]);
  const sources = run.members(move.servers.filter((name) => !move.lost.includes(name)));
  const total = sources.reduce((sum, { name, seen }) => {
    const shares = [...sharesOf(move, name).values()];
    return sum + seen.keys * shares.reduce((all, share) => all + share, 0);
  }, run.summary.keys);
  const carriage = {
    ...{ layout: move, targets: run.members(move.next), pace: run.pace, signal },
    onRange: (source: string, keys: number, bytes: number, upto: string | null) => {
      run.summary.keys += keys;
      run.summary.bytes += bytes;
      const { onEvent } = run.options;
      onEvent({ kind: "range", source, keys, bytes, upto });
      onEvent({
        kind: "progress",
        done: run.summary.keys,
        total: Math.max(Math.round(total), run.summary.keys),
        bytes: run.summary.bytes,
      });
    },
  };
  // A failure of one source stops the others, but each completes its range.
  const ends = await Promise.allSettled(sources.map(async (source) => {
    try {
      return await carry(source, carriage);
    } catch (error) {
      failed.abort();
      throw error;
    }
  }));
  for (const end of ends) if (end.status === "rejected") throw end.reason;
  if (ends.some((end) => end.status === "fulfilled" && !end.value)) return undefined;
  const steady = steadyLayout(move);
  await giveNew(run, steady);
  await tellLeavers(run, move, steady);
  return steady;
}

/** Tells the servers that a move leaves out. They serve nothing any more, so they may be gone. */
async function tellLeavers(run: ScaleRun, move: MovingLayout, steady: Layout): Promise<void> {
  const leavers = membersOf(move).filter((name) => !steady.servers.includes(name));
  await Promise.all(
    run.members(leavers).map(async (member) => {
      try {
        await giveTo(member, steady);
      } catch (error) {
        if (!(error instanceof RemoteError)) throw error;
        run.note(`${error.message}: it was not told that it has left, and may be stopped`);
      }
    }),
  );
}

/** Tells how much a move carries between which servers, and which targets have no room. */
async function tellPlan(run: ScaleRun, move: MovingLayout): Promise<void> {
  const { summary, options: { signal, onEvent } } = run;
  const { flows, lacks } = await new Room(move, run.members(membersOf(move))).plan(signal);
  for (const flow of flows) {
    onEvent({ kind: "plan", ...flow });
    summary.keys += flow.keys;
    summary.bytes += flow.bytes;
  }
  for (const lack of lacks) run.note(lack);
  if (lacks.length === 0 && !signal.aborted) run.note("There is room for all of it");
}

function storesOf(members: readonly Member[]): Record<string, string> {
  return Object.fromEntries(members.map(({ name, seen }) => [name, seen.store]));
}
