/** One operation of a batch on the store, and its result as a line tells it. */
import { decodeBase64, encodeBase64 } from "@std/encoding/base64";
import { STATUS_CODE } from "@std/http/status";
import { InvalidOperationError, KvsError, messageOf, ValueTooLargeError } from "../errors.ts";
import { type Log } from "../log.ts";
import { DEFAULT_CONTENT_TYPE, LARGE_VALUE_BYTES } from "../protocol.ts";
import { type LargeValue } from "../store.ts";
import { Value } from "../value.ts";
import { writeCondition } from "./conditions.ts";
import { type Operation } from "./parse_operation.ts";
import { type OwnedStore } from "./owned_store.ts";
import { checkContentType } from "./request_value.ts";
import { errorName, statusOf } from "./statuses.ts";

/** The result of one operation, as it is written. */
export type Result = Readonly<Record<string, string | number>>;

/**
 * Runs one operation; without a promise if memory has the answer. Its key has been through `checkKey`.
 *
 * @param maxBytes The largest value that is taken.
 * @throws {KvsError} If the operation fails; a promise rejects with it.
 */
export function runOperation(
  store: OwnedStore,
  operation: Operation,
  maxBytes: number,
): Result | Promise<Result> {
  switch (operation.op) {
    case "put":
      return put(store, operation, maxBytes);
    case "delete":
      return remove(store, operation);
    default:
      return read(store, operation);
  }
}

function read(store: OwnedStore, { op, key }: Operation): Result | Promise<Result> {
  const answer = op === "get" ? got : seen;
  const value = store.get(key);
  return value instanceof Promise ? value.then((found) => answer(key, found)) : answer(key, value);
}

function seen(key: string, value: Value | LargeValue | undefined): Result {
  if (value === undefined) return { status: STATUS_CODE.NotFound, key };
  if (!(value instanceof Value)) value.discard();
  const { etag, size, contentType } = value;
  return { status: STATUS_CODE.OK, key, etag, size, type: contentType };
}

function got(key: string, value: Value | LargeValue | undefined): Result {
  if (value === undefined) return { status: STATUS_CODE.NotFound, key };
  if (!(value instanceof Value)) {
    value.discard();
    throw new ValueTooLargeError(value.size, LARGE_VALUE_BYTES);
  }
  const { text, bytes, etag, contentType } = value;
  return {
    status: STATUS_CODE.OK,
    key,
    ...(text === null ? { base64: encodeBase64(bytes) } : { value: text }),
    etag,
    type: contentType,
  };
}

function put(store: OwnedStore, operation: Operation, maxBytes: number): Promise<Result> {
  const { key, value, base64, type } = operation;
  const contentType = type === undefined ? DEFAULT_CONTENT_TYPE : checkContentType(type);
  const whole = new Value(
    value === undefined ? decode(base64 ?? "") : wellFormed(value),
    contentType,
  );
  if (whole.size > maxBytes) throw new ValueTooLargeError(whole.size, maxBytes);
  return store.set(key, whole, conditionOf(operation)).then(({ created, etag }) => {
    return { status: created ? STATUS_CODE.Created : STATUS_CODE.NoContent, key, etag };
  });
}

function remove(store: OwnedStore, operation: Operation): Promise<Result> {
  const { key } = operation;
  return store.delete(key, conditionOf(operation)).then((found) => {
    return { status: found ? STATUS_CODE.NoContent : STATUS_CODE.NotFound, key };
  });
}

function conditionOf({ ifMatch, ifNoneMatch }: Operation) {
  return writeCondition(ifMatch, ifNoneMatch);
}

function wellFormed(text: string): string {
  if (text.isWellFormed()) return text;
  throw new InvalidOperationError('Invalid operation: "value" is not valid Unicode');
}

function decode(base64: string): Uint8Array<ArrayBuffer> {
  try {
    return decodeBase64(base64);
  } catch {
    throw new InvalidOperationError('Invalid operation: "base64" is not base64');
  }
}

/** The result of an operation that failed. `key` if it is known. */
export function failure(error: unknown, log: Log, key?: string): Result {
  const status = statusOf(error);
  const known = error instanceof KvsError;
  if (!known) log("error", "operation failed", { error: messageOf(error) });
  const detail = known ? error.message : "Internal error: the server's log tells more";
  const what = { status, error: errorName(status), detail };
  return key === undefined ? what : { ...what, key };
}
