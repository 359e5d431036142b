import { assertEquals } from "@std/assert";
import { Histogram, LATENCY_BOUNDS } from "../../../core/histogram.ts";
import { RequestMetrics } from "../../../core/server/metrics.ts";
import { Metrics } from "../../../core/server/metrics_page.ts";
import { ROUTE_NAMES } from "../../../core/server/routes.ts";

Deno.test("Histogram counts each duration once, at the least bound that holds it", () => {
  const histogram = new Histogram();
  for (const ms of [0, 0.05, 0.051, 1, 9_999, 10_000, 10_001]) histogram.observe(ms);
  const found = Array.from(histogram.counts, (count, at) => [LATENCY_BOUNDS[at], count] as const)
    .filter(([, count]) => count > 0);
  assertEquals(found, [[0.000_05, 2], [0.000_1, 1], [0.001, 1], [10, 2], [undefined, 1]]);
  assertEquals(Math.round(histogram.sumSeconds), 30);
});

Deno.test("Metrics tells the numbers as they are at each call", async () => {
  const requests = new RequestMetrics();
  const flushes = new Histogram();
  let keys: number | undefined = undefined;
  const metrics = new Metrics({
    requests,
    store: () =>
      keys === undefined ? undefined : {
        keys,
        cacheHits: 7,
        cacheMisses: 3,
        journalBytes: 11,
        journalSegments: 2,
        flushes,
        checkpoints: 5,
        checkpointFailures: 1,
        lastCheckpointMs: 1500,
      },
    connections: () => 4,
    abandoned: () => 5,
    ready: () => keys !== undefined,
    membership: {
      epoch: 12,
      isMoving: true,
      isOut: false,
      handedOver: 13,
      fencedWrites: 14,
      longestWaitMs: 1500,
    },
    leaving: () => Promise.resolve(keys),
    room: () => Promise.resolve({ usedBytes: 9, freeBytes: 8, freeFiles: null, blockBytes: 1 }),
    version: '1"2',
  });
  const lines = async () => (await metrics.page()).text.split("\n");
  const before = await lines();
  assertEquals(before.includes("kvs_ready 0"), true);
  assertEquals(
    before.some((line) => /^kvs_(keys|journal_bytes|disk_free_files)\b/.test(line)),
    false,
  );

  keys = 42;
  flushes.observe(2);
  const load = ROUTE_NAMES.indexOf("load");
  requests.observe(load, 200, 0.01);
  requests.observe(load, 503, 0.2);
  requests.refused(400);
  const after = await lines();
  for (
    const line of [
      `kvs_build_info{version="1\\"2",deno="${Deno.version.deno}"} 1`,
      "kvs_ready 1",
      "kvs_open_connections 4",
      "kvs_abandoned_connections_total 5",
      "kvs_keys 42",
      "kvs_cache_hits_total 7",
      "kvs_cache_misses_total 3",
      "kvs_journal_bytes 11",
      "kvs_journal_segments 2",
      "kvs_checkpoints_total 5",
      "kvs_checkpoint_failures_total 1",
      "kvs_last_checkpoint_timestamp_seconds 1.5",
      "kvs_disk_used_bytes 9",
      "kvs_disk_free_bytes 8",
      'kvs_http_requests_total{route="load",status="200"} 1',
      'kvs_http_requests_total{route="load",status="503"} 1',
      'kvs_http_requests_total{route="other",status="400"} 1',
      "# TYPE kvs_http_request_duration_seconds histogram",
      'kvs_http_request_duration_seconds_bucket{route="load",le="0.00005"} 1',
      'kvs_http_request_duration_seconds_bucket{route="load",le="0.00025"} 2',
      'kvs_http_request_duration_seconds_bucket{route="load",le="+Inf"} 2',
      'kvs_http_request_duration_seconds_count{route="load"} 2',
      'kvs_journal_flush_duration_seconds_bucket{le="0.001"} 0',
      'kvs_journal_flush_duration_seconds_bucket{le="0.0025"} 1',
      "kvs_journal_flush_duration_seconds_sum 0.002",
    ]
  ) assertEquals([line, after.includes(line)], [line, true]);
});
