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

/** Path of the metrics in the text form of Prometheus. */
export const METRICS = "/metrics";

/** Content type of every answer of the book routes. Book contract. */
export const TEXT_TYPE = "text/plain; charset=utf-8";

/** The content type of a value that was saved without one. */
export const DEFAULT_CONTENT_TYPE = "application/octet-stream";
