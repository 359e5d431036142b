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

/** Path of the native route that tells and takes the layout of the cluster. */
export const V1_LAYOUT = "/v1/layout";

/** Path of the native route by which a source fences the next range of its keys and tells them. */
export const V1_HANDOVER = "/v1/handover";

/** Path of the native route by which a target takes a range of keys. */
export const V1_TAKE = "/v1/handover/take";

/** Path of the native route by which a source learns that all targets have taken a range. */
export const V1_DONE = "/v1/handover/done";

/** Header of a request: the layout by which the client asks, as `CLUSTER:EPOCH` or `CLUSTER:EPOCH;moved`. */
export const LAYOUT_HEADER = "kvs-layout";

/** Header of a GET: the number of the fence under which the mover reads a large value. */
export const FENCE_HEADER = "kvs-fence";

/** A run of `kvs rebalance`, as one server knows it. */
export interface MoveRun {
  /** The name of the move; the same in each run from one list to the same other list. */
  readonly name: string;
  /** A UUID that tells one run from another. */
  readonly run: string;
}

/** The last run that a server took part in. */
export interface MoveNote extends MoveRun {
  /** Whether all keys are on their new servers, so that clients may go by the to-be list. */
  readonly complete: boolean;
}

/** A step of a run. `begin`: it is about to copy keys. `complete`: it is done. */
export type MoveStep = "begin" | "complete";

/** Whether `text` is a step of a run. */
export function isMoveStep(text: unknown): text is MoveStep {
  return text === "begin" || text === "complete";
}

/** Name in the query of a write that a run of a move makes; its value is the run. Other writes are of clients. */
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
