/**
 * Whether the names of a run are as many servers. Two names of one server (`localhost` and `127.0.0.1`,
 * a short and a full name, a Service and a Pod behind it) would be taken for an owner and a target that
 * both hold the key: pruning one copy would delete both.
 */
import { RebalanceError } from "../errors.ts";
import { type Endpoint, type ServerStats } from "./endpoint.ts";

/**
 * Compares which start of a server each name reaches. Servers that speak only the book routes do not
 * tell, and cannot delete.
 *
 * @param stats What the servers tell of themselves now, in the order of `endpoints`.
 * @throws {RebalanceError} If two names reach one server.
 */
export function checkDistinct(
  endpoints: readonly Endpoint[],
  stats: readonly (ServerStats | undefined)[],
): void {
  const names = new Map<string, string>();
  for (const [index, { name }] of endpoints.entries()) {
    const start = stats[index]?.start;
    if (start === undefined) continue;
    const twin = names.get(start);
    if (twin !== undefined) {
      throw new RebalanceError(
        `${twin} and ${name} are one server: name it in one way in both lists`,
      );
    }
    names.set(start, name);
  }
}

/**
 * Makes sure that copies may be deleted.
 *
 * @throws {RebalanceError} If a server cannot delete, or does not tell which start of it this is.
 */
export function checkPrunable(
  endpoints: readonly Endpoint[],
  stats: readonly (ServerStats | undefined)[],
): void {
  for (const [index, { name, native }] of endpoints.entries()) {
    if (!native) {
      throw new RebalanceError(
        `Cannot prune: ${name} speaks only the book routes, which cannot delete`,
      );
    }
    if (stats[index]?.start === undefined) {
      throw new RebalanceError(
        `Cannot prune: ${name} does not tell which start of a server it is, so it may be another one by name`,
      );
    }
  }
}
