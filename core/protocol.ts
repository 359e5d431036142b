/** What goes over the wire, as both ends need it: paths, sentinel bodies, content types. */

/** Body of `/load/KEY` where there is no such key; the status is 200. Book contract. */
export const KEY_NOT_FOUND = "_key_not_found_";

/** Body of every data route while the server is shutting down; the status is 503. Book contract. */
export const SHUTTING_DOWN = "_shutting_down_";

/** Separates keys in the answer of `/allKeys`; therefore escaped within one. Book contract. */
export const KEY_SEPARATOR = ",";

/** Path of the native key routes. */
export const V1_KEYS = "/v1/keys";

/** Path of the native route for many operations at once. */
export const V1_BATCH = "/v1/batch";

/** Path of the native route that tells how many keys there are, and the room for more. */
export const V1_STATS = "/v1/stats";

/** Path of the native route by which a move of keys says that it begins, and that it is complete. */
export const V1_MOVE = "/v1/move";

/**
 * What a move tells a server of itself: that it begins, or goes on after it was stopped; that it begins
 * anew, and may replace what clients wrote; that it is complete.
 */
export type MoveStep = "begin" | "restart" | "complete";

const MOVE_STEPS: ReadonlySet<string> = new Set<MoveStep>(["begin", "restart", "complete"]);

/** Whether `text` is a step of a move. */
export function isMoveStep(text: unknown): text is MoveStep {
  return typeof text === "string" && MOVE_STEPS.has(text);
}

/** Name in the query of the writes that a move makes, for its own name. Without it a write is a client's. */
export const MOVE_QUERY = "move";

/** Path of the metrics in the text form of Prometheus. */
export const METRICS = "/metrics";

/** Content type of every answer of the book routes. Book contract. */
export const TEXT_TYPE = "text/plain; charset=utf-8";

/** The content type of a value that was saved without one. */
export const DEFAULT_CONTENT_TYPE = "application/octet-stream";

/** Whether `value` is an object (or an array), whose fields can be asked for by name. */
export function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null;
}

/** Whether `value` is a text or was left out. */
export function isOptionalText(value: unknown): value is string | undefined {
  return value === undefined || typeof value === "string";
}

/** From this size on (bytes) a value is never held in memory whole. */
export const LARGE_VALUE_BYTES = 64 * 1024;
