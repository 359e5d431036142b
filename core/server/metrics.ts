/**
 * What a shard counts while it serves: plain numbers in arrays, since a request from memory takes some
 * 10 µs and a metrics library asks 1 µs for one observation. The library (metrics_page.ts) only sees
 * them when somebody asks.
 */
import { Histogram } from "../histogram.ts";
import { OTHER, ROUTE_NAMES, type RouteName } from "./routes.ts";

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
