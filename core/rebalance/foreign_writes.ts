/** Whether anybody but a run writes to its servers, by what the servers tell of themselves. */
import { type Endpoint, type ServerStats } from "./endpoint.ts";

/** What is compared of one server. */
export interface WriteCount {
  /** Which start of the server it is: a server may be back, without its disk, before anybody misses it. */
  readonly start: string | undefined;
  /** The writes since that start that the run did not make. */
  readonly others: number | undefined;
}

/**
 * What happened to a server between two counts. `untold`: the server does not tell, or it is not certain how many of
 * the writes the run made.
 */
export type WriteSign = "quiet" | "written" | "restarted" | "untold";

/** The counts of `servers`, which tell `stats`. */
export function countsOf(
  servers: readonly Endpoint[],
  stats: readonly (ServerStats | undefined)[],
): readonly WriteCount[] {
  return servers.map(({ ownWrites }, index) => {
    const { start, writes } = stats[index] ?? {};
    const isTold = writes !== undefined && ownWrites !== undefined;
    return { start, others: isTold ? writes - ownWrites : undefined };
  });
}

/** What happened to each server since `before`. */
export function signsOf(
  before: readonly WriteCount[],
  now: readonly WriteCount[],
): readonly WriteSign[] {
  return now.map(({ start, others }, index) => {
    const old = before[index];
    if (start === undefined || old?.start === undefined) return "untold";
    // This comes first: values may be gone after a new start, whatever the writes of the others are.
    if (start !== old.start) return "restarted";
    if (others === undefined || old.others === undefined) return "untold";
    return others === old.others ? "quiet" : "written";
  });
}
