/** Queries of request targets, in the form that client libraries write: application/x-www-form-urlencoded. */
import { InvalidQueryError } from "../errors.ts";

/**
 * The fields of a query by their names. Of fields with the same name the last counts. A `+` is a blank.
 *
 * @param names The names that the route knows.
 * @throws {InvalidQueryError} If the query has another name, or an escape is malformed.
 */
export function parseQuery<Name extends string>(
  query: string,
  names: readonly Name[],
): ReadonlyMap<Name, string> {
  const fields = new Map<Name, string>();
  for (const pair of query.split("&")) {
    if (pair === "") continue;
    const equals = pair.indexOf("=");
    const given = decode(equals < 0 ? pair : pair.slice(0, equals));
    const name = names.find((one) => one === given);
    if (name === undefined) {
      const known = names.length === 0 ? "this route takes none" : `expected ${names.join(", ")}`;
      throw new InvalidQueryError(`Invalid query: ${known}: "${pair}"`);
    }
    fields.set(name, equals < 0 ? "" : decode(pair.slice(equals + 1)));
  }
  return fields;
}

/** Refuses the query of a route that takes none. @throws {InvalidQueryError} If there is a field. */
export function refuseQuery(query: string): void {
  if (query !== "") parseQuery(query, []);
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text.replaceAll("+", " "));
  } catch {
    throw new InvalidQueryError("Invalid escape: the query is not percent-encoded UTF-8");
  }
}
