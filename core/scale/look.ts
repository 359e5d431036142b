/** The look at all servers with which a run begins, and what it finds wrong with them. */
import { ScaleError } from "../errors.ts";
import { isMoving, type Layout, membersOf, sameLayout, storeOf } from "../layout/layout.ts";
import { succeed } from "../layout/succession.ts";
import { giveNew, giveTo, lostDisk } from "./give.ts";
import { type Member } from "./member.ts";
import { withLoss, withStores } from "./next_layout.ts";
import { type ScaleRun } from "./run.ts";

/**
 * Asks the servers of the list, and all that their layouts name; resolves to the newest layout, or to `undefined` if
 * no server has one.
 *
 * @throws {RemoteError} If one of them cannot be reached, drains or starts.
 * @throws {ScaleError} If they are of different clusters, or two names are one server.
 */
export async function newestLayout(run: ScaleRun): Promise<Layout | undefined> {
  const { servers, replace } = run.options;
  const asked = new Set<string>();
  let wanted = servers.map(({ name }) => name);
  let newest: Layout | undefined;
  // What a server says that is to be replaced only leads to the others.
  let replaced: Layout | undefined;
  while (wanted.length > 0) {
    const members = run.members(wanted);
    for (const name of wanted) asked.add(name);
    await Promise.all(members.map((member) => member.look()));
    for (const { name, seen: { layout } } of members) {
      if (layout === undefined) continue;
      if (name === replace) {
        replaced = layout;
        continue;
      }
      if (newest !== undefined && layout.cluster !== newest.cluster) {
        throw new ScaleError(
          `${name} belongs to another cluster. kvs scale --replace ${name} empties it and lets it join`,
        );
      }
      if (newest === undefined || layout.epoch > newest.epoch) newest = layout;
    }
    const known = newest ?? replaced;
    wanted = known === undefined ? [] : membersOf(known).filter((name) => !asked.has(name));
  }
  checkDistinct(run.members([...asked]));
  return newest ?? replaced;
}

/** @throws {ScaleError} If two names are one server. */
export function checkDistinct(members: readonly Member[]): void {
  const names = new Map<string, string>();
  for (const { name, seen: { store } } of members) {
    const other = names.get(store);
    if (other !== undefined) throw new ScaleError(`${other} and ${name} are one server`);
    names.set(store, name);
  }
}

/**
 * Brings all servers of `layout`, and one that is to be replaced, to the newest layout; resolves to that. It is a newer
 * one if servers have new disks.
 *
 * @param isOvertaken Whether this is not the first look of the run.
 * @throws {ScaleError} If a disk was lost in a move and nobody accepted the loss, or a server does not take the layout.
 */
export async function bringUp(
  run: ScaleRun,
  layout: Layout,
  isOvertaken: boolean,
): Promise<Layout> {
  const accepted = isOvertaken ? layout : await acceptLoss(run, layout);
  const members = run.members(membersOf(accepted));
  const strangers = members.filter(({ name, seen }) => seen.store !== storeOf(accepted, name));
  const [stranger] = strangers;
  if (isMoving(accepted) && stranger !== undefined) throw lostDisk(stranger.name);
  const { replace, dryRun } = run.options;
  for (const member of strangers) checkEmpty(member, replace);
  // A member gets the next layout to be replaced by, since it may have this one.
  const isRenewed = !isMoving(accepted) && accepted.servers.includes(replace ?? "") && !isOvertaken;
  if (replace !== undefined && !isRenewed) await replaceServer(run, accepted, replace);
  const others = members.filter(({ name }) => name !== replace);
  for (const member of others) checkTakes(member, accepted);
  if (dryRun) return accepted;
  for (const member of others) {
    if (isUpToDate(member, accepted)) continue;
    run.hasChanged = true;
    await giveTo(member, accepted);
  }
  if (strangers.length === 0 && !isRenewed) return accepted;
  for (const { name } of strangers) {
    run.note(`${name} has another disk than the layout names: the keys of the old one are lost`);
  }
  const stores = strangers.map(({ name, seen }) => [name, seen.store] as const);
  const renewed = withStores(accepted, Object.fromEntries(stores));
  await giveNew(run, renewed, replace);
  if (isRenewed) run.note(`${replace} was emptied`);
  return renewed;
}

/** @throws {ScaleError} If a disk that the layout does not name holds keys, and is not to be emptied. */
function checkEmpty({ name, seen }: Member, replace: string | undefined): void {
  if (seen.keys === 0 || name === replace) return;
  throw new ScaleError(
    `${name} has another disk than the layout names, and it holds ${seen.keys} keys. ` +
      `kvs scale --replace ${name} deletes them`,
  );
}

function isUpToDate({ seen }: Member, layout: Layout): boolean {
  return seen.layout !== undefined && sameLayout(seen.layout, layout) && !seen.stopped;
}

/** @throws {ScaleError} If the server would not take the layout. */
export function checkTakes({ name, seen }: Member, layout: Layout, replace = false): void {
  const { store, mark, keys } = seen;
  const held = { layout: seen.layout, self: seen.self, store, mark, hasKeys: keys > 0 };
  const answer = succeed(held, { layout, self: name, store, replace });
  const isStuck = answer.result === "same" && seen.stopped;
  if (answer.result !== "refused" && !isStuck) return;
  const detail = answer.result === "refused" ? answer.detail : "it has stopped";
  throw new ScaleError(
    `${name} would not take the layout: ${detail}. ` +
      `kvs scale --replace ${name} empties it and lets it join`,
  );
}

/** Empties a server, so that it knows the layout and has no keys. */
async function replaceServer(run: ScaleRun, layout: Layout, name: string): Promise<void> {
  const member = run.member(name);
  const seen = await member.look();
  if (seen.layout !== undefined && sameLayout(seen.layout, layout)) {
    if (seen.keys === 0 || run.summary.layout !== undefined) return;
    throw new ScaleError(
      `${name} has a part in the move under way, which has to be completed first`,
    );
  }
  checkTakes(member, layout, true);
  if (run.options.dryRun) return;
  run.hasChanged = true;
  await giveTo(member, layout, true);
  await member.look();
  run.note(`${name} was emptied`);
}

/** The layout with the loss that a person accepted, which the anchor has taken. */
async function acceptLoss(run: ScaleRun, layout: Layout): Promise<Layout> {
  const { acceptLoss: name, replace, dryRun } = run.options;
  if (name === undefined) return layout;
  if (!isMoving(layout)) throw new ScaleError("No loss to accept: no move is under way");
  if (!membersOf(layout).includes(name)) {
    throw new ScaleError(`No loss to accept: ${name} is not in the move`);
  }
  if (layout.lost.includes(name)) return layout;
  const member = run.member(name);
  const { store } = await member.look();
  if (store === storeOf(layout, name)) {
    throw new ScaleError(`No loss to accept: ${name} has the disk that the move began with`);
  }
  const accepted = withLoss(layout, name, store);
  checkEmpty(member, replace);
  if (dryRun) return accepted;
  await giveNew(run, accepted, replace);
  await Promise.all(run.members(membersOf(accepted)).map((member) => member.look()));
  return accepted;
}
