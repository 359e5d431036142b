/** The lines of a batch as operations. */
import { InvalidOperationError } from "../errors.ts";
import { isObject, isOptionalText } from "../protocol.ts";

/** One operation of a batch. Its fields are texts of the right names; what they say is not checked. */
export interface Operation {
  readonly op: "put" | "get" | "head" | "delete";
  readonly key: string;
  /** Of a put: the value as text; else it has `base64`. */
  readonly value?: string;
  readonly base64?: string;
  /** Of a put: the content type. */
  readonly type?: string;
  readonly ifMatch?: string;
  readonly ifNoneMatch?: string;
}

/** The fields that each operation takes. A field that would be ignored is refused. */
const FIELDS = new Map([
  ["put", new Set(["op", "key", "value", "base64", "type", "ifMatch", "ifNoneMatch"])],
  ["get", new Set(["op", "key"])],
  ["head", new Set(["op", "key"])],
  ["delete", new Set(["op", "key", "ifMatch", "ifNoneMatch"])],
]);

/** @throws {InvalidOperationError} If the line is not an operation. */
export function parseOperation(line: string): Operation {
  let parsed: unknown;
  try {
    parsed = JSON.parse(line);
  } catch {
    throw new InvalidOperationError("Invalid operation: the line is not JSON");
  }
  if (!isOperation(parsed)) {
    throw new InvalidOperationError(
      'Invalid operation: expected "op" put, get, head or delete, "key", for put "value" or "base64" ' +
        'and maybe "type", for put and delete maybe "ifMatch" or "ifNoneMatch", all of them texts',
    );
  }
  return parsed;
}

function isOperation(parsed: unknown): parsed is Operation {
  if (!isObject(parsed)) return false;
  const { op, key, value, base64, type, ifMatch, ifNoneMatch } = parsed;
  const fields = typeof op === "string" ? FIELDS.get(op) : undefined;
  if (fields === undefined || typeof key !== "string") return false;
  for (const name in parsed) if (!fields.has(name)) return false;
  if (!isOptionalText(type) || !isOptionalText(ifMatch) || !isOptionalText(ifNoneMatch)) {
    return false;
  }
  if (op !== "put") return true;
  return value === undefined
    ? typeof base64 === "string"
    : typeof value === "string" && base64 === undefined;
}
