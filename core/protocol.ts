/** The words on the wire that server and client share: paths, bodies with a meaning, content types. */

/** Body of `/load/KEY` if there is no such key; the status is 200. Book contract. */
export const KEY_NOT_FOUND = "_key_not_found_";

/**
 * Body of every data route while the server does not serve: it starts, ends, or has the marker. The status is 503. Book
 * contract.
 */
export const SHUTTING_DOWN = "_shutting_down_";

/** Separates keys in the answer of `/allKeys`, and is escaped within a key. Book contract. */
export const KEY_SEPARATOR = ",";

/** Path of the native key routes. */
export const V1_KEYS = "/v1/keys";

/** Path of the native route for many operations at once. */
export const V1_BATCH = "/v1/batch";

/** Path of the native route that tells the number of keys, and the room for more. */
export const V1_STATS = "/v1/stats";

/** Path of the native route that a move of keys tells its steps. */
export const V1_MOVE = "/v1/move";

/**
 * A step of a move. `begin`: it begins, or goes on after it was stopped. `restart`: it begins anew, and may replace the
 * values that clients wrote. `complete`: it is done.
 */
export type MoveStep = "begin" | "restart" | "complete";

const MOVE_STEPS: ReadonlySet<string> = new Set<MoveStep>(["begin", "restart", "complete"]);

/** Whether `text` is a step of a move. */
export function isMoveStep(text: unknown): text is MoveStep {
  return typeof text === "string" && MOVE_STEPS.has(text);
}

/** Name in the query of a write that a move makes; its value is the name of the move. Other writes are of clients. */
export const MOVE_QUERY = "move";

/** Path of the metrics, in the text format of Prometheus. */
export const METRICS = "/metrics";

/** Content type of every answer of the book routes. Book contract. */
export const TEXT_TYPE = "text/plain; charset=utf-8";

/** The content type of a value that was saved without one. */
export const DEFAULT_CONTENT_TYPE = "application/octet-stream";

/** Whether `value` is an object or an array. */
export function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null;
}

/** Whether `value` is a text or `undefined`. */
export function isOptionalText(value: unknown): value is string | undefined {
  return value === undefined || typeof value === "string";
}

/** A value with more bytes is large: a server never holds it in memory whole. */
export const LARGE_VALUE_BYTES = 64 * 1024;
