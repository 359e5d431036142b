import { assert, assertEquals, assertMatch } from "@std/assert";
import { MANIFESTS } from "../pods/manifest.ts";
import { Server, TempDir, until } from "./program.ts";

/** Samples of a page by name with labels; fails where a line is none. */
function samplesOf(page: string): Map<string, number> {
  const samples = new Map<string, number>();
  const types = new Set<string>();
  for (const line of page.split("\n")) {
    if (line === "" || line.startsWith("# HELP ")) continue;
    if (line.startsWith("# TYPE ")) {
      const [, , name = "", type = ""] = line.split(" ");
      assertMatch(type, /^(counter|gauge|histogram)$/);
      assert(!types.has(name), `${name} is there twice`);
      types.add(name);
      continue;
    }
    const match = /^([a-z_]+(?:\{[^}]*\})?) (\S+)$/.exec(line);
    assert(match !== null, `No sample: ${line}`);
    const [, name = "", value] = match;
    assert(!samples.has(name) && !Number.isNaN(Number(value)), line);
    samples.set(name, Number(value));
  }
  return samples;
}

Deno.test("/metrics counts what happens, by route, and needs no token", async () => {
  await using dir = new TempDir();
  await Deno.writeTextFile(dir.join("token"), "secret");
  await using server = await Server.start(dir.join("data"), ["--token-file", dir.join("token")]);
  const headers = { authorization: "Bearer secret" };
  const sample = async (name: string) => {
    const { status, headers, body } = await server.ask("/metrics");
    assertEquals(status, 200);
    assertEquals(headers.get("content-type"), "text/plain; version=0.0.4; charset=utf-8");
    return samplesOf(body).get(name);
  };
  for (let i = 0; i < 3; i++) await server.ask(`/save/key${i}/value`, { headers });
  await server.ask("/load/key0", { headers });
  await server.ask("/load/none", { headers });
  await server.ask("/load/key0");
  await server.ask("/v1/keys?limit=1", { headers });
  const batch = '{"op":"get","key":"key0"}\n';
  await server.ask("/v1/batch", { method: "POST", headers, body: batch });
  for (const path of ["/made/up/1", "/made/up/2"]) await server.ask(path);
  const samples = samplesOf((await server.ask("/metrics")).body);
  const requests = (route: string, status: number) =>
    samples.get(`kvs_http_requests_total{route="${route}",status="${status}"}`);
  assertEquals([
    requests("save", 200),
    requests("load", 200),
    requests("load", 401),
    requests("v1_list", 200),
    requests("v1_batch", 200),
    requests("other", 404),
  ], [3, 2, 1, 1, 1, 2]);
  assertEquals(samples.get("kvs_keys"), 3);
  assertEquals(samples.get('kvs_http_request_duration_seconds_count{route="save"}'), 3);
  assertEquals(samples.get('kvs_http_request_duration_seconds_bucket{route="save",le="+Inf"}'), 3);
  assert((samples.get("kvs_cache_hits_total") ?? 0) >= 1);
  assert((samples.get("kvs_open_connections") ?? 0) >= 1);
  assert((samples.get("kvs_journal_flush_duration_seconds_count") ?? 0) >= 1);
  assert(![...samples.keys()].some((name) => /key0|made|secret/.test(name)));
  await until("the saves are in key files", async () => {
    return await sample("kvs_journal_bytes") === 0 ? true : undefined;
  });
  assert((await sample("kvs_checkpoints_total") ?? 0) >= 1);
});

Deno.test("the dashboard asks for nothing that /metrics does not have", async () => {
  await using dir = new TempDir();
  await using server = await Server.start(dir.path);
  await server.ask("/save/a/1");
  const page = await until("there was a checkpoint", async () => {
    const { body } = await server.ask("/metrics");
    return samplesOf(body).has("kvs_last_checkpoint_timestamp_seconds") ? body : undefined;
  });
  const known = new Set([...samplesOf(page).keys()].map((name) => name.replace(/\{.*/, "")));
  const text = await Deno.readTextFile(`${MANIFESTS}observability/dashboard.json`);
  const dashboard: unknown = JSON.parse(text);
  assert(typeof dashboard === "object" && dashboard !== null && "panels" in dashboard);
  assert(Array.isArray(dashboard.panels));
  const ids = new Set<unknown>();
  const asked = new Set<string>();
  for (const { id, title, targets } of dashboard.panels) {
    assert(typeof title === "string" && Array.isArray(targets) && targets.length > 0);
    ids.add(id);
    for (const { expr } of targets) {
      const names = String(expr).match(/\b(?:kvs|process)_[a-z_]+\b/g) ?? [];
      assert(names.length > 0, title);
      names.forEach((name) => asked.add(name));
    }
  }
  assertEquals(ids.size, dashboard.panels.length);
  assertEquals([...asked].filter((name) => !known.has(name)), []);
  // And it leaves nothing out, but for what belongs to a histogram that it shows by its buckets.
  const left = [...known].filter((name) => !asked.has(name) && !/_(sum|count)$/.test(name));
  assertEquals(left, ["process_start_time_seconds"]);
});
