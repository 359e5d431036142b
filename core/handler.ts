/**
 * The request handler of a shard: a Request in, a Response out. Opens no port and touches no disk;
 * answers without a promise where memory has the answer.
 */
import { STATUS_CODE } from "@std/http/status";
import { allKeys, load, save } from "./book_routes.ts";
import { type BodyLimits } from "./body.ts";
import { KvsError, messageOf } from "./errors.ts";
import { keyFromSegment } from "./key.ts";
import { type Lifecycle } from "./lifecycle.ts";
import { type Log } from "./log.ts";
import { errorName, statusOf, V1_KEYS } from "./protocol.ts";
import { jsonError, textResponse, unavailable } from "./respond.ts";
import { type Store } from "./store.ts";
import { deleteKey, getKey, KEY_METHODS, listKeys, putKey } from "./v1_routes.ts";

/** What a handler works with. */
export interface HandlerOptions {
  /** The store, `undefined` until it is open. */
  readonly store: () => Store | undefined;
  readonly lifecycle: Lifecycle;
  readonly limits: BodyLimits;
  readonly log: Log;
}

type Answer = Response | Promise<Response>;

const ROUTES = `kvs: one shard of a key/value store.

Book routes (GET, plain text)
  /save/KEY/WORD       save WORD under KEY, answer WORD
  /load/KEY            the value, or _key_not_found_
  /allKeys             all keys, joined by commas

Native routes
  PUT /v1/keys/KEY     save the body (If-Match, If-None-Match: *)
  GET /v1/keys/KEY     the value, with ETag
  DELETE /v1/keys/KEY  delete (If-Match)
  GET /v1/keys         a page of keys: ?prefix= &after= &limit=
                       (Accept: application/x-ndjson streams them all)
Health
  /healthz             200 while the process can serve at all
  /readyz              200 when ready, else 503 with the reason
`;

/** Makes the handler of a shard. */
export function createHandler(options: HandlerOptions): (request: Request) => Answer {
  const { lifecycle } = options;

  /** Runs `route` on the store, if the shard is serving. */
  function withStore(route: (store: Store) => Answer): Answer {
    const store = options.store();
    return store === undefined || lifecycle.phase !== "serving" ? unavailable() : route(store);
  }

  function route(request: Request, path: string, query: string): Answer {
    const { method } = request;
    if (path.startsWith("/load/")) {
      const key = path.slice(6);
      if (key.includes("/")) return noRoute(path);
      return method === "GET" ? withStore((store) => load(store, key)) : wrongMethod("GET");
    }
    if (path.startsWith("/save/")) {
      const slash = path.indexOf("/", 6);
      if (slash < 0 || path.includes("/", slash + 1)) return noRoute(path);
      if (method !== "GET") return wrongMethod("GET");
      return withStore((store) => save(store, path.slice(6, slash), path.slice(slash + 1)));
    }
    if (path.startsWith(`${V1_KEYS}/`)) {
      const segment = path.slice(V1_KEYS.length + 1);
      if (segment.includes("/")) return noRoute(path);
      return keyRoute(request, method, segment);
    }
    switch (path) {
      case "/allKeys":
        return method === "GET" ? withStore(allKeys) : wrongMethod("GET");
      case V1_KEYS:
        return method === "GET"
          ? withStore((store) => listKeys(store, query, request))
          : wrongMethod("GET", path);
      case "/healthz":
        return method === "GET" || method === "HEAD"
          ? textResponse(STATUS_CODE.OK, "ok\n")
          : wrongMethod("GET, HEAD");
      case "/readyz":
        return method === "GET" || method === "HEAD" ? readiness() : wrongMethod("GET, HEAD");
      case "/":
        return method === "GET" || method === "HEAD"
          ? textResponse(STATUS_CODE.OK, ROUTES)
          : wrongMethod("GET, HEAD");
      default:
        return noRoute(path);
    }
  }

  function keyRoute(request: Request, method: string, segment: string): Answer {
    switch (method) {
      case "GET":
      case "HEAD":
        return withStore((store) => getKey(store, keyFromSegment(segment), request));
      case "PUT":
        return withStore((store) =>
          putKey(store, keyFromSegment(segment), request, options.limits)
        );
      case "DELETE":
        return withStore((store) => deleteKey(store, keyFromSegment(segment), request));
      default:
        return wrongMethod(KEY_METHODS, V1_KEYS);
    }
  }

  function readiness(): Response {
    const ready = lifecycle.phase === "serving";
    return textResponse(
      ready ? STATUS_CODE.OK : STATUS_CODE.ServiceUnavailable,
      lifecycle.reason + "\n",
    );
  }

  function failed(error: unknown, path: string): Response {
    const status = statusOf(error);
    const known = error instanceof KvsError;
    if (!known) {
      options.log("error", "request failed", { path: path.slice(0, 200), error: messageOf(error) });
    }
    const detail = known ? error.message : "Internal error: the server's log tells more";
    return path.startsWith("/v1/")
      ? jsonError(status, errorName(status), detail)
      : textResponse(status, detail);
  }

  return (request) => {
    // The runtime hands the path on as it came; the URL class would resolve dots and escapes.
    const { url } = request;
    const start = url.indexOf("/", "http://".length);
    const mark = url.indexOf("?", start);
    const path = start < 0 ? "" : mark < 0 ? url.slice(start) : url.slice(start, mark);
    try {
      const answer = route(request, path, mark < 0 ? "" : url.slice(mark + 1));
      return answer instanceof Promise ? answer.catch((error) => failed(error, path)) : answer;
    } catch (error) {
      return failed(error, path);
    }
  };
}

function noRoute(path: string): Response {
  const detail = "No such route: GET / lists them";
  return path.startsWith("/v1/")
    ? jsonError(STATUS_CODE.NotFound, errorName(STATUS_CODE.NotFound), detail)
    : textResponse(STATUS_CODE.NotFound, detail);
}

function wrongMethod(allow: string, path = ""): Response {
  const status = STATUS_CODE.MethodNotAllowed;
  const detail = `Method not allowed: ${allow}`;
  return path.startsWith("/v1/")
    ? jsonError(status, errorName(status), detail, { allow })
    : textResponse(status, detail, { allow });
}
