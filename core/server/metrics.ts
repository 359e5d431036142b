/**
 * What a shard counts while it serves: plain numbers in arrays, since a request from memory takes some
 * 10 µs and a metrics library asks 1 µs for one observation. The library (metrics_page.ts) only sees
 * them when somebody asks.
 */
import { Histogram } from "../histogram.ts";
import { METRICS, V1_BATCH, V1_KEYS, V1_MOVE, V1_STATS } from "../protocol.ts";

const SLASH = 0x2f;

/** What requests are counted by: the routes, never a path, so that there are only so many. */
export const ROUTE_NAMES = [
  "load",
  "save",
  "allKeys",
  "v1_get",
  "v1_put",
  "v1_delete",
  "v1_list",
  "v1_batch",
  "v1_stats",
  "v1_move",
  "health",
  "metrics",
  "index",
  // No such route, a method that it does not have, and what is no proper request at all.
  "other",
] as const;

/** A route. */
export type RouteName = typeof ROUTE_NAMES[number];

/** The index of a route in {@link ROUTE_NAMES}. */
function indexOf(route: RouteName): number {
  return ROUTE_NAMES.indexOf(route);
}

function indices(routes: Readonly<Record<string, RouteName>>): ReadonlyMap<string, number> {
  return new Map(Object.entries(routes).map(([name, route]) => [name, indexOf(route)]));
}

/** Paths that are a route by themselves. */
const PATHS = indices({
  "/allKeys": "allKeys",
  [V1_KEYS]: "v1_list",
  [V1_BATCH]: "v1_batch",
  [V1_STATS]: "v1_stats",
  [V1_MOVE]: "v1_move",
  "/healthz": "health",
  "/readyz": "health",
  [METRICS]: "metrics",
  "/": "index",
});

const KEY_METHODS = indices({ GET: "v1_get", HEAD: "v1_get", PUT: "v1_put", DELETE: "v1_delete" });

const OTHER = indexOf("other");
const LOAD = indexOf("load");
const SAVE = indexOf("save");

/** The index in {@link ROUTE_NAMES} of what a request is counted by. */
export function routeIndex(method: string, path: string): number {
  if (path.startsWith("/load/")) return LOAD;
  if (path.startsWith("/save/")) return SAVE;
  const isKey = path.startsWith(V1_KEYS) && path.charCodeAt(V1_KEYS.length) === SLASH;
  return (isKey ? KEY_METHODS.get(method) : PATHS.get(path)) ?? OTHER;
}

/** Statuses from 200 to 599 have a place each. */
const FIRST_STATUS = 200;
const STATUSES = 400;

/** The requests of one route. */
export interface RouteCounts {
  readonly route: RouteName;
  /** How many by status, without those that never came. */
  readonly statuses: readonly (readonly [status: number, count: number])[];
  /** From the whole head to the answer, which for a stream is when it begins. */
  readonly latency: Histogram;
}

/** Counts requests. */
export class RequestMetrics {
  readonly #statuses = ROUTE_NAMES.map(() => new Float64Array(STATUSES));
  readonly #latencies = ROUTE_NAMES.map(() => new Histogram());

  /** Counts one that was answered after `ms` milliseconds; `route` is its index in {@link ROUTE_NAMES}. */
  observe(route: number, status: number, ms: number): void {
    const statuses = this.#statuses[route];
    if (statuses === undefined) return;
    const at = status - FIRST_STATUS;
    statuses[at] = (statuses[at] ?? 0) + 1;
    this.#latencies[route]?.observe(ms);
  }

  /** Counts one that was no proper request: nobody knows when it began. */
  refused(status: number): void {
    const statuses = this.#statuses[OTHER];
    const at = status - FIRST_STATUS;
    if (statuses !== undefined) statuses[at] = (statuses[at] ?? 0) + 1;
  }

  /** What was counted so far, without routes that nobody used. */
  get counts(): RouteCounts[] {
    return ROUTE_NAMES.flatMap((route, index) => {
      const statuses: [number, number][] = [];
      this.#statuses[index]?.forEach((count, at) => {
        if (count > 0) statuses.push([at + FIRST_STATUS, count]);
      });
      const latency = this.#latencies[index];
      return statuses.length === 0 || latency === undefined ? [] : [{ route, statuses, latency }];
    });
  }
}
