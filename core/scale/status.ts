/** How a cluster with a layout stands: the newest layout, and what each server says. */
import { KvsError, ScaleError } from "../errors.ts";
import {
  isMoving,
  type Layout,
  type Mark,
  membersOf,
  sameLayout,
  storeOf,
} from "../layout/layout.ts";
import { type ScaleRun } from "./run.ts";

/** One server of the layout. */
export interface ServerStatus {
  readonly name: string;
  /** What the server does: it hands keys over, gets keys, or neither. */
  readonly role: "source" | "target" | "both" | "steady";
  /** `undefined` if the server cannot be reached. */
  readonly keys: number | undefined;
  readonly mark: Mark | undefined;
  /** What is wrong with it, or differs from the layout; empty if nothing. */
  readonly differs: readonly string[];
}

/** The newest layout, and its servers. */
export interface ClusterStatus {
  readonly layout: Layout;
  readonly servers: readonly ServerStatus[];
}

/**
 * Asks all servers of the list and of the newest layout. A server that cannot be reached is told as such.
 *
 * @throws {ScaleError} If no server can be reached, or none has a layout.
 */
export async function statusOf(run: ScaleRun): Promise<ClusterStatus> {
  const failures = new Map<string, string>();
  let wanted = run.options.servers.map(({ name }) => name);
  let newest: Layout | undefined;
  const asked = new Set<string>();
  while (wanted.length > 0) {
    for (const name of wanted) asked.add(name);
    await Promise.all(
      run.members(wanted).map(async (member) => {
        try {
          const { layout } = await member.look();
          if (layout !== undefined && (newest === undefined || layout.epoch > newest.epoch)) {
            newest = layout;
          }
        } catch (error) {
          if (!(error instanceof KvsError)) throw error;
          failures.set(member.name, error.message);
        }
      }),
    );
    wanted = newest === undefined ? [] : membersOf(newest).filter((name) => !asked.has(name));
  }
  if (newest === undefined) {
    const [failure] = failures.values();
    throw new ScaleError(
      failure ?? "No server has a layout: clients place keys by their own lists",
    );
  }
  const layout = newest;
  return {
    layout,
    servers: membersOf(layout).map((name) => serverStatus(run, layout, name, failures)),
  };
}

function serverStatus(
  run: ScaleRun,
  layout: Layout,
  name: string,
  failures: ReadonlyMap<string, string>,
): ServerStatus {
  const isSource = isMoving(layout) && layout.servers.includes(name);
  const isTarget = isMoving(layout) && layout.next.includes(name);
  const role = isSource ? isTarget ? "both" : "source" : isTarget ? "target" : "steady";
  const failure = failures.get(name);
  if (failure !== undefined) {
    return { name, role, keys: undefined, mark: undefined, differs: [failure] };
  }
  const { seen } = run.member(name);
  const differs: string[] = [];
  if (seen.layout === undefined) differs.push("has no layout");
  else if (!sameLayout(seen.layout, layout)) differs.push(`has epoch ${seen.layout.epoch}`);
  if (seen.store !== storeOf(layout, name)) differs.push("has another disk than the layout names");
  if (seen.self !== undefined && seen.self !== name) differs.push(`says that it is ${seen.self}`);
  if (seen.stopped) differs.push("has stopped, since the cluster went on without it");
  if (layout.lost?.includes(name)) differs.push("lost its disk in this move");
  if (seen.leaving) differs.push("is about to leave");
  return { name, role, keys: seen.keys, mark: isSource ? seen.mark : undefined, differs };
}
