/** The servers that a mover is to move to: pure functions. */
import { UsageError } from "../errors.ts";
import { placeOf, type ServerAddress } from "../client/server_list.ts";

/** A number of servers, which are named as those of the layout are, or the list itself. */
export type Goal = number | readonly ServerAddress[];

/** The name of a Pod of a StatefulSet with the ordinal 0, in front of a domain or port if there is one. */
const ANCHOR_NAME = /^([^.:]*-)0([.:].*)?$/;

/**
 * The names of the servers that `goal` stands for. `servers` are those of the layout. A server that is there under
 * another way to write its address keeps its name.
 *
 * @throws {UsageError} If more servers are wanted than the layout has, and their names follow no pattern; or if the
 * list does not begin with the anchor.
 */
export function namesOf(goal: Goal, servers: readonly ServerAddress[]): readonly string[] {
  const known = new Map(servers.map((server) => [placeOf(server), server.name]));
  const names = typeof goal === "number"
    ? counted(goal, servers.map(({ name }) => name))
    : goal.map((server) => known.get(placeOf(server)) ?? server.name);
  const anchor = servers[0]?.name;
  if (names[0] !== anchor) {
    throw new UsageError(
      `Invalid list: it has to begin with the anchor, ${anchor}, not with ${names[0]}`,
    );
  }
  return names;
}

function counted(count: number, names: readonly string[]): readonly string[] {
  if (count <= names.length) return names.slice(0, count);
  const [, head, tail = ""] = ANCHOR_NAME.exec(names[0] ?? "") ?? [];
  const nameAt = (index: number) => `${head}${index}${tail}`;
  if (head === undefined || names.some((name, index) => name !== nameAt(index))) {
    throw new UsageError(
      `The names of the servers follow no pattern such as server-0, server-1: give the list of all ${count}`,
    );
  }
  return Array.from({ length: count }, (_, index) => nameAt(index));
}
