/** Conditions of requests: `If-Match` and `If-None-Match` (RFC 9110, 13.1). */
import { InvalidConditionError } from "../errors.ts";
import { type Condition, type IfMatch } from "../store.ts";

const ETAG_LIST = /^(?:W\/)?"[^"]*"(?:\s*,\s*(?:W\/)?"[^"]*")*$/;

/**
 * Returns the condition of a write, `undefined` if it has none. Weak ETags never match.
 *
 * @throws {InvalidConditionError} If a header is malformed, or both are there.
 */
export function writeCondition(
  ifMatch: string | undefined,
  ifNoneMatch: string | undefined,
): Condition | undefined {
  if (ifNoneMatch === undefined) return readCondition(ifMatch);
  if (ifMatch !== undefined) {
    throw new InvalidConditionError(
      "Invalid condition: If-Match and If-None-Match exclude each other",
    );
  }
  if (ifNoneMatch.trim() === "*") return "absent";
  throw new InvalidConditionError("Invalid If-None-Match: a write takes only *");
}

/**
 * Returns what a read expects to find, `undefined` if `ifMatch` is. Weak ETags never match.
 *
 * @throws {InvalidConditionError} If the header is malformed.
 */
export function readCondition(ifMatch: string | undefined): IfMatch | undefined {
  if (ifMatch === undefined) return undefined;
  const list = ifMatch.trim();
  if (list === "*") return "present";
  if (!ETAG_LIST.test(list)) {
    throw new InvalidConditionError(`Invalid If-Match: expected * or "etag", ...: ${list}`);
  }
  const etags = (list.match(/(?:W\/)?"[^"]*"/g) ?? []).filter((etag) => !etag.startsWith("W/"));
  return { etags };
}
