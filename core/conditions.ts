/** Conditional requests: header fields of RFC 9110 section 13.1 to what the store checks. */
import { InvalidConditionError } from "./errors.ts";
import { type Condition } from "./store.ts";

const ETAG_LIST = /^(?:W\/)?"[^"]*"(?:\s*,\s*(?:W\/)?"[^"]*")*$/;

/**
 * Returns the condition of a write, `undefined` where it has none. Weak ETags never match a write.
 *
 * @throws {InvalidConditionError} If a header is malformed, or both are there.
 */
export function writeCondition(
  ifMatch: string | null,
  ifNoneMatch: string | null,
): Condition | undefined {
  if (ifMatch !== null && ifNoneMatch !== null) {
    throw new InvalidConditionError("Invalid condition: If-Match and If-None-Match exclude");
  }
  if (ifNoneMatch !== null) {
    if (ifNoneMatch.trim() === "*") return "absent";
    throw new InvalidConditionError("Invalid If-None-Match: a write takes only *");
  }
  if (ifMatch === null) return undefined;
  const list = ifMatch.trim();
  if (list === "*") return "present";
  if (!ETAG_LIST.test(list)) {
    throw new InvalidConditionError(`Invalid If-Match: expected * or "etag", ...: ${list}`);
  }
  const etags = (list.match(/(?:W\/)?"[^"]*"/g) ?? []).filter((etag) => !etag.startsWith("W/"));
  return { etags };
}
