/**
 * The numbers that a shard counts while it serves. They are plain numbers in arrays, because an
 * observation of a metrics library costs a good part of a load. The library (metrics_page.ts) reads the
 * numbers at a request for `/metrics`.
 */
import { Histogram } from "../histogram.ts";
import { OTHER, ROUTE_NAMES, type RouteName } from "./routes.ts";

/** Each status from 200 to 599 has a place. */
const FIRST_STATUS = 200;
const STATUSES = 400;

/** The requests of one route. */
export interface RouteCounts {
  readonly route: RouteName;
  /** The number of answers by status, without statuses that never came. */
  readonly statuses: readonly (readonly [status: number, count: number])[];
  /** The time from the whole header to the answer; to its beginning for a stream. */
  readonly latency: Histogram;
}

/** Counts requests. */
export class RequestMetrics {
  readonly #statuses = ROUTE_NAMES.map(() => new Float64Array(STATUSES));
  readonly #latencies = ROUTE_NAMES.map(() => new Histogram());

  /** Counts a request that was answered after `ms` milliseconds; `route` is its index in {@link ROUTE_NAMES}. */
  observe(route: number, status: number, ms: number): void {
    const statuses = this.#statuses[route];
    if (statuses === undefined) return;
    const at = status - FIRST_STATUS;
    statuses[at] = (statuses[at] ?? 0) + 1;
    this.#latencies[route]?.observe(ms);
  }

  /** Counts a request that could not be parsed, so that the time of its beginning is not known. */
  refused(status: number): void {
    const statuses = this.#statuses[OTHER];
    const at = status - FIRST_STATUS;
    if (statuses !== undefined) statuses[at] = (statuses[at] ?? 0) + 1;
  }

  /** The counts so far, without routes that nobody used. */
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
