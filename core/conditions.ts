/** Conditional requests: header fields of RFC 9110 section 13.1 to what the store checks. */
import { InvalidConditionError, PreconditionFailedError } from "./errors.ts";
import { type Condition } from "./store.ts";

/** A condition that only a key which is there can meet. */
export type IfMatch = Exclude<Condition, "absent">;

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
  return ifMatch === null ? undefined : parseIfMatch(ifMatch);
}

/**
 * Returns what a read expects to find, `undefined` where `ifMatch` is. Weak ETags never match.
 *
 * @throws {InvalidConditionError} If the header is malformed.
 */
export function readCondition(ifMatch: string | undefined): IfMatch | undefined {
  return ifMatch === undefined ? undefined : parseIfMatch(ifMatch);
}

/** Whether a key is as `expected`; `etag` is that of its value, `undefined` if it is absent. */
export function isAsExpected(expected: IfMatch, etag: string | undefined): boolean {
  return etag !== undefined && (expected === "present" || expected.etags.includes(etag));
}

/** The error that tells of a condition that does not hold. */
export function preconditionFailed(): PreconditionFailedError {
  return new PreconditionFailedError(
    "Precondition failed: the key is not in the state that the request names",
  );
}

function parseIfMatch(text: string): IfMatch {
  const list = text.trim();
  if (list === "*") return "present";
  if (!ETAG_LIST.test(list)) {
    throw new InvalidConditionError(`Invalid If-Match: expected * or "etag", ...: ${list}`);
  }
  const etags = (list.match(/(?:W\/)?"[^"]*"/g) ?? []).filter((etag) => !etag.startsWith("W/"));
  return { etags };
}
