import { assertEquals } from "@std/assert";
import {
  findRoute,
  ROUTE_NAMES,
  type RouteName,
  ROUTES_TEXT,
} from "../../../core/server/routes.ts";

Deno.test("findRoute() knows paths and methods, and nothing that a client makes up", () => {
  const table: readonly (readonly [string, string, RouteName | undefined, string?])[] = [
    ["GET", "/load/a", "load", "GET"],
    ["GET", "/load/", "load", "GET"],
    ["GET", "/load/a%2Fb", "load", "GET"],
    ["POST", "/load/a", undefined, "GET"],
    ["GET", "/load/a/b", undefined],
    ["GET", "/load", undefined],
    ["GET", "/save/a/b", "save", "GET"],
    ["GET", "/save//", "save", "GET"],
    ["GET", "/save/a", undefined],
    ["GET", "/save/a/b/c", undefined],
    ["GET", "/save/a/b/c/d", undefined],
    ["GET", "/allKeys", "allKeys", "GET"],
    ["GET", "/allKeys/", undefined],
    ["GET", "/v1/keys/a", "v1_get", "GET, HEAD, PUT, DELETE"],
    ["HEAD", "/v1/keys/a", "v1_get", "GET, HEAD, PUT, DELETE"],
    ["PUT", "/v1/keys/a", "v1_put", "GET, HEAD, PUT, DELETE"],
    ["DELETE", "/v1/keys/", "v1_delete", "GET, HEAD, PUT, DELETE"],
    ["PATCH", "/v1/keys/a", undefined, "GET, HEAD, PUT, DELETE"],
    ["GET", "/v1/keys/a/b", undefined],
    ["GET", "/v1/keys", "v1_list", "GET, HEAD"],
    ["POST", "/v1/batch", "v1_batch", "POST"],
    ["HEAD", "/v1/stats", "v1_stats", "GET, HEAD"],
    ["PUT", "/v1/move", "v1_move", "PUT"],
    ["GET", "/healthz", "health", "GET, HEAD"],
    ["GET", "/readyz", "health", "GET, HEAD"],
    ["GET", "/metrics", "metrics", "GET, HEAD"],
    ["GET", "/", "index", "GET, HEAD"],
    ["constructor", "/", undefined, "GET, HEAD"],
    ["GET", "/v1/keysx", undefined],
    ["GET", "/constructor", undefined],
    ["GET", "/load/{key}/", undefined],
    ["GET", "", undefined],
  ];
  for (const [method, path, name, allow] of table) {
    const route = findRoute(path);
    const operation = route?.operation(method);
    assertEquals([method, path, operation?.name, route?.allow], [method, path, name, allow]);
    if (operation !== undefined) assertEquals(ROUTE_NAMES[operation.index], operation.name);
  }
});

Deno.test("the text of GET / lists every route with its method, but itself", () => {
  const lines = ROUTES_TEXT.split("\n");
  for (
    const line of [
      "  /save/KEY/WORD       save WORD under KEY, answer WORD",
      "  GET /v1/keys/KEY     the value, with ETag (If-Match, If-None-Match)",
      "  DELETE /v1/keys/KEY  delete (If-Match)",
      "                       (Accept: application/x-ndjson streams them all)",
      "  /readyz              200 when ready, else 503 with the reason",
    ]
  ) assertEquals([line, lines.includes(line)], [line, true]);
  const listed = lines.flatMap((line) => /^ {2}(?:(\w+) )?(\/\S+) /.exec(line)?.slice(1, 3) ?? []);
  const names = new Set<string>();
  for (let at = 0; at < listed.length; at += 2) {
    const operation = findRoute(listed[at + 1] ?? "")?.operation(listed[at] ?? "GET");
    names.add(operation?.name ?? `no such route: ${listed[at + 1]}`);
  }
  assertEquals(names, new Set(ROUTE_NAMES.filter((name) => name !== "other" && name !== "index")));
});
