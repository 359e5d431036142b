/** Whether the names of a run are as many servers. */
import { RebalanceError } from "../errors.ts";
import { type Endpoint, type ServerStats } from "./endpoint.ts";

/**
 * Compares which start of a server each name reaches. Two names of one server (`localhost` and `127.0.0.1`, a
 * Service and a Pod behind it) would pass for an owner and a target that both hold a key, and pruning one copy would
 * delete both. A server that speaks only the book routes does not tell its start; it cannot delete either.
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
