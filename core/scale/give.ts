/** Gives servers a layout. */
import { ScaleError } from "../errors.ts";
import { isMoving, type Layout, storeOf } from "../layout/layout.ts";
import { OvertakenError } from "./errors.ts";
import { type Member } from "./member.ts";
import { type ScaleRun } from "./run.ts";

/**
 * Gives `member` a layout; resolves when the layout is durable there.
 *
 * @param replace Whether the server may drop what it has.
 * @throws {OvertakenError} If the server has a newer layout of the cluster, or another one of the same epoch.
 * @throws {ScaleError} If it does not take the layout for another reason.
 */
export async function giveTo(member: Member, layout: Layout, replace = false): Promise<void> {
  const refused = await member.putLayout(layout, replace);
  if (refused === undefined) return;
  const { layout: had, detail } = refused;
  if (had !== undefined && had.cluster === layout.cluster && had.epoch >= layout.epoch) {
    throw new OvertakenError(had.epoch);
  }
  const { store } = await member.look();
  if (isMoving(layout) && store !== storeOf(layout, member.name)) throw lostDisk(member.name);
  throw new ScaleError(
    `${member.name} does not take the layout of epoch ${layout.epoch}: ${detail}. ` +
      `kvs scale --replace ${member.name} empties it and lets it join`,
  );
}

/**
 * Gives a layout that this run makes, or goes on with: to the anchor first, and to targets last. The server
 * that is called `replace` drops what it has.
 */
export async function giveNew(run: ScaleRun, layout: Layout, replace?: string): Promise<void> {
  run.hasChanged = true;
  const [anchor = [], ...others] = run.groupsOf(layout);
  await giveAll(anchor, layout, replace);
  run.summary.layout = layout;
  run.options.onEvent({ kind: "layout", layout });
  for (const group of others) await giveAll(group, layout, replace);
}

async function giveAll(
  members: readonly Member[],
  layout: Layout,
  replace: string | undefined,
): Promise<void> {
  await Promise.all(members.map((member) => giveTo(member, layout, member.name === replace)));
}

/** The error of a server that has another disk than the one that a move began with. */
export function lostDisk(server: string): ScaleError {
  return new ScaleError(
    `${server} lost its disk; what it had not handed over is lost. ` +
      `If its old disk never comes back: --accept-loss ${server}`,
  );
}
