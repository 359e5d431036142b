/** The one table of errors and statuses. */
import { isStatus, STATUS_CODE, STATUS_TEXT, type StatusCode } from "@std/http/status";
import {
  AnotherMoveError,
  BodyTimeoutError,
  BusyError,
  InvalidConditionError,
  InvalidContentTypeError,
  InvalidKeyError,
  InvalidLayoutError,
  InvalidMoveError,
  InvalidOperationError,
  InvalidQueryError,
  InvalidRangeError,
  LayoutConflictError,
  LengthRequiredError,
  MalformedBodyError,
  MisdirectedKeyError,
  OutOfClusterError,
  PreconditionFailedError,
  ShuttingDownError,
  StorageBusyError,
  StorageFullError,
  ValueTooLargeError,
} from "../errors.ts";

/** Errors and their statuses; the first class that fits counts. */
const STATUSES = [
  [InvalidKeyError, STATUS_CODE.BadRequest],
  [InvalidConditionError, STATUS_CODE.BadRequest],
  [InvalidQueryError, STATUS_CODE.BadRequest],
  [InvalidRangeError, STATUS_CODE.BadRequest],
  [InvalidContentTypeError, STATUS_CODE.BadRequest],
  [InvalidOperationError, STATUS_CODE.BadRequest],
  [InvalidMoveError, STATUS_CODE.BadRequest],
  [InvalidLayoutError, STATUS_CODE.BadRequest],
  [MalformedBodyError, STATUS_CODE.BadRequest],
  [BodyTimeoutError, STATUS_CODE.RequestTimeout],
  [LengthRequiredError, STATUS_CODE.LengthRequired],
  [AnotherMoveError, STATUS_CODE.Conflict],
  [LayoutConflictError, STATUS_CODE.Conflict],
  [MisdirectedKeyError, STATUS_CODE.MisdirectedRequest],
  [PreconditionFailedError, STATUS_CODE.PreconditionFailed],
  [ValueTooLargeError, STATUS_CODE.ContentTooLarge],
  [OutOfClusterError, STATUS_CODE.ServiceUnavailable],
  [BusyError, STATUS_CODE.ServiceUnavailable],
  [ShuttingDownError, STATUS_CODE.ServiceUnavailable],
  [StorageBusyError, STATUS_CODE.ServiceUnavailable],
  [StorageFullError, STATUS_CODE.InsufficientStorage],
] as const;

/** The status that tells a client of `error`; 500 for an error that the table does not have. */
export function statusOf(error: unknown): StatusCode {
  const row = STATUSES.find(([errorClass]) => error instanceof errorClass);
  return row === undefined ? STATUS_CODE.InternalServerError : row[1];
}

/** The `error` of a JSON error body: the status in words, for example `not_found`. */
export function errorName(status: number): string {
  const text = isStatus(status) ? STATUS_TEXT[status] : "error";
  return text.toLowerCase().replaceAll(/[^a-z]+/g, "_");
}
