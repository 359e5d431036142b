/**
 * The request handler of a shard: a request in, an answer out. Opens no port and touches no disk;
 * answers without a promise where memory has the answer.
 */
import { STATUS_CODE, type StatusCode } from "@std/http/status";
import { AnswerRoom } from "./answer_room.ts";
import { allKeys, load, save } from "./book_routes.ts";
import { type BrowserGuard } from "../http/browser_guard.ts";
import { DeferredAnswer } from "./answers.ts";
import { type DiskRoom } from "../system/disk.ts";
import { KvsError, messageOf, ShuttingDownError, StorageBusyError } from "../errors.ts";
import { type Guard } from "./guard.ts";
import { type HttpHandler, type HttpRequest, type HttpResponse } from "../http/types.ts";
import { keyFromSegment } from "../key.ts";
import { type Lifecycle } from "./lifecycle.ts";
import { type Log } from "../log.ts";
import { type RequestMetrics, routeIndex } from "./metrics.ts";
import { type MetricsText } from "./metrics_page.ts";
import { METRICS, V1_BATCH, V1_KEYS, V1_MOVE, V1_STATS } from "../protocol.ts";
import { statusOf } from "./statuses.ts";
import { type MoveWatch } from "./move_watch.ts";
import { refuseQuery } from "./query.ts";
import { errorAnswer, UNAVAILABLE } from "./answers.ts";
import { jsonAnswer, textAnswer } from "../http/answers.ts";
import { type SetResult, type Store } from "../store.ts";
import {
  deleteKey,
  getKey,
  KEY_METHODS,
  listKeys,
  moveOf,
  postBatch,
  putKey,
  putMove,
  type RouteResult,
} from "./v1_routes.ts";

/** What a handler works with. */
export interface HandlerOptions {
  /** The store as clients see it, `undefined` until it is open. */
  readonly store: () => Store | undefined;
  /** Tells writes of a move from those of clients; without it all are the same. */
  readonly moves?: () => MoveWatch | undefined;
  readonly lifecycle: Lifecycle;
  /** Admits to the data routes; without it they are open to everyone. */
  readonly guard?: Guard | undefined;
  /** Keeps pages of other sites from the data routes. */
  readonly browserGuard: BrowserGuard;
  /** What room the disk has for more. */
  readonly room: () => Promise<DiskRoom>;
  /** Tells its disk from others; `undefined` where that is not known. */
  readonly fileSystem?: string | undefined;
  /** What the journal takes of it at most. */
  readonly journalBytes?: number | undefined;
  /** Counts the requests, and tells all numbers. */
  readonly requests: RequestMetrics;
  readonly metrics: () => Promise<MetricsText>;
  /** The largest value that is taken, in bytes. */
  readonly maxValueBytes: number;
  readonly log: Log;
}

/** Methods of what can only be looked at, for `Allow`. */
const LOOKS = "GET, HEAD";

const KEY_PREFIX = `${V1_KEYS}/`;

/** The most that the answers of all batches may take in memory (characters), but for one more. */
const ANSWERS = 16 * 1024 * 1024;

const ROUTES = `kvs: one shard of a key/value store.

Book routes (GET, plain text; in KEY and WORD write ? as %3F, / as %2F, % as %25)
  /save/KEY/WORD       save WORD under KEY, answer WORD
  /load/KEY            the value, or _key_not_found_
  /allKeys             all keys, joined by commas

Native routes
  PUT /v1/keys/KEY     save the body (If-Match, If-None-Match: *)
  GET /v1/keys/KEY     the value, with ETag (If-Match, If-None-Match)
  DELETE /v1/keys/KEY  delete (If-Match)
  GET /v1/keys         a page of keys: ?prefix= &after= &limit=
                       (Accept: application/x-ndjson streams them all)
  POST /v1/batch       one JSON operation a line: {"op":"put","key":"a","value":"x"}
  GET /v1/stats        number of keys, and the room that the disk has for more
  PUT /v1/move         kvs rebalance says that a move begins, and that it is complete

Health
  /healthz             200 while the process can serve at all
  /readyz              200 when ready, else 503 with the reason
  /metrics             numbers for Prometheus
`;

/** Makes the handler of a shard. */
export function createHandler(options: HandlerOptions): HttpHandler {
  const { lifecycle, guard, browserGuard, requests, log, maxValueBytes } = options;
  const answers = new AnswerRoom(ANSWERS);
  /** Tells this start of the server from another, for those who compare numbers of writes. */
  const start = crypto.randomUUID();

  /**
   * Runs `route` on the store, if the request may have it and the shard is serving; `now` as
   * `performance.now()` told it, since another look at the clock costs as much as to count a request.
   */
  function withStore(
    request: HttpRequest,
    now: number,
    route: (store: Store) => RouteResult,
  ): RouteResult {
    const refusal = browserGuard.refusal(request);
    if (refusal !== undefined) return errorAnswer(request.path, STATUS_CODE.Forbidden, refusal);
    if (guard !== undefined && !guard.admits(request)) return unauthorized(request.path);
    const store = options.store();
    const isServing = store !== undefined && lifecycle.phaseAt(now) === "serving";
    return isServing ? route(store) : UNAVAILABLE;
  }

  function route(request: HttpRequest, now: number): RouteResult {
    const { method, path } = request;
    if (path.startsWith("/load/")) {
      const key = path.slice(6);
      if (key.includes("/")) return noRoute(path);
      return method === "GET"
        ? withStore(request, now, (store) => load(store, key))
        : wrongMethod(path, "GET");
    }
    if (path.startsWith("/save/")) {
      const slash = path.indexOf("/", 6);
      if (slash < 0 || path.includes("/", slash + 1)) return noRoute(path);
      if (method !== "GET") return wrongMethod(path, "GET");
      return withStore(
        request,
        now,
        (store) => save(store, path.slice(6, slash), path.slice(slash + 1), maxValueBytes),
      );
    }
    if (path.startsWith(KEY_PREFIX)) {
      const segment = path.slice(KEY_PREFIX.length);
      return segment.includes("/") ? noRoute(path) : keyRoute(request, segment, now);
    }
    switch (path) {
      case "/allKeys":
        return method === "GET" ? withStore(request, now, allKeys) : wrongMethod(path, "GET");
      case V1_KEYS:
        return isLook(method)
          ? withStore(request, now, (store) => listKeys(store, request))
          : wrongMethod(path, LOOKS);
      case V1_BATCH:
        return method === "POST"
          ? withStore(request, now, (store) => batch(store, request))
          : wrongMethod(path, "POST");
      case V1_STATS:
        return isLook(method)
          ? withStore(request, now, (store) => stats(store, request))
          : wrongMethod(path, LOOKS);
      case V1_MOVE:
        return method === "PUT"
          ? withStore(request, now, () => move(request))
          : wrongMethod(path, "PUT");
      case "/healthz":
      case "/readyz":
        return health(request, lifecycle);
      case METRICS:
        return isLook(method) ? metrics() : wrongMethod(path, LOOKS);
      case "/":
        return textPage(request, STATUS_CODE.OK, ROUTES);
      default:
        return noRoute(path);
    }
  }

  function keyRoute(request: HttpRequest, segment: string, now: number): RouteResult {
    switch (request.method) {
      case "GET":
      case "HEAD":
        return withStore(request, now, (store) => getKey(store, keyFromSegment(segment), request));
      case "PUT":
        return withStore(
          request,
          now,
          (store) => {
            const key = keyFromSegment(segment);
            return putKey(writtenBy(request, store), key, request, maxValueBytes);
          },
        );
      case "DELETE":
        return withStore(
          request,
          now,
          (store) => deleteKey(store, keyFromSegment(segment), request),
        );
      default:
        return wrongMethod(request.path, KEY_METHODS);
    }
  }

  function batch(store: Store, request: HttpRequest): RouteResult {
    return postBatch(request, answers, {
      store: writtenBy(request, store),
      maxValueBytes,
      serving: () => lifecycle.phase === "serving",
      log,
    });
  }

  /** The store as whoever sends the request may write to it. */
  function writtenBy(request: HttpRequest, store: Store): Store {
    const move = moveOf(request);
    return move === undefined ? store : options.moves?.()?.movers(move) ?? store;
  }

  function move(request: HttpRequest): RouteResult {
    const moves = options.moves?.();
    return moves === undefined ? noRoute(request.path) : putMove(moves, request);
  }

  async function metrics(): Promise<HttpResponse> {
    const { contentType, text } = await options.metrics();
    return { status: STATUS_CODE.OK, headers: { "content-type": contentType }, body: text };
  }

  async function stats(store: Store, { query }: HttpRequest): Promise<HttpResponse> {
    refuseQuery(query);
    const { freeBytes, usedBytes, freeFiles, blockBytes } = await options.room();
    const { fileSystem, journalBytes } = options;
    const room = { freeBytes, usedBytes, freeFiles, blockBytes, fileSystem, journalBytes };
    return jsonAnswer(STATUS_CODE.OK, { keys: store.size, start, writes: store.writes, ...room });
  }

  function failed(error: unknown, path: string): HttpResponse {
    const status = statusOf(error);
    if (error instanceof ShuttingDownError) return UNAVAILABLE;
    if (error instanceof StorageBusyError) {
      return errorAnswer(path, status, error.message, { "retry-after": "1" });
    }
    if (error instanceof KvsError) return errorAnswer(path, status, error.message);
    log("error", "request failed", { path: path.slice(0, 200), error: messageOf(error) });
    return errorAnswer(path, status, "Internal error: the server's log tells more");
  }

  function counted(answer: HttpResponse, index: number, startedAt: number): HttpResponse {
    requests.observe(index, answer.status, performance.now() - startedAt);
    return answer;
  }

  /** Apart from the rest, so that an answer which is there at once costs no functions. */
  function settle(
    answer: Promise<HttpResponse> | DeferredAnswer<SetResult>,
    path: string,
    index: number,
    startedAt: number,
  ): Promise<HttpResponse> {
    const finish = (response: HttpResponse) => counted(response, index, startedAt);
    const refuse = (error: unknown) => finish(failed(error, path));
    return answer instanceof Promise ? answer.then(finish, refuse) : answer.settle(finish, refuse);
  }

  return (request) => {
    const startedAt = performance.now();
    const { method, path } = request;
    const index = routeIndex(method, path);
    try {
      const answer = route(request, startedAt);
      return answer instanceof Promise || answer instanceof DeferredAnswer
        ? settle(answer, path, index, startedAt)
        : counted(answer, index, startedAt);
    } catch (error) {
      return counted(failed(error, path), index, startedAt);
    }
  };
}

/** Makes the handler of a port that tells of health and has no data. */
export function createHealthHandler(lifecycle: Lifecycle): HttpHandler {
  return (request) => {
    const { path } = request;
    return path === "/healthz" || path === "/readyz"
      ? health(request, lifecycle)
      : errorAnswer(path, STATUS_CODE.NotFound, "No such route: /healthz and /readyz are all");
  };
}

function health(request: HttpRequest, lifecycle: Lifecycle): HttpResponse {
  if (request.path === "/healthz") return textPage(request, STATUS_CODE.OK, "ok\n");
  return lifecycle.phase === "serving"
    ? textPage(request, STATUS_CODE.OK, "ready\n")
    : textPage(request, STATUS_CODE.ServiceUnavailable, lifecycle.reason + "\n");
}

/** A page that is there to be looked at. */
function textPage({ method, path }: HttpRequest, status: StatusCode, text: string): HttpResponse {
  return isLook(method) ? textAnswer(status, text) : wrongMethod(path, LOOKS);
}

/** Whether a request asks for what there is, with its body or without: RFC 9110 section 9.3.2. */
function isLook(method: string): boolean {
  return method === "GET" || method === "HEAD";
}

function unauthorized(path: string): HttpResponse {
  const detail = "Unauthorized: this server wants a token, as Authorization: Bearer TOKEN";
  return errorAnswer(path, STATUS_CODE.Unauthorized, detail, {
    "www-authenticate": 'Bearer realm="kvs"',
  });
}

function noRoute(path: string): HttpResponse {
  return errorAnswer(path, STATUS_CODE.NotFound, "No such route: GET / lists them");
}

function wrongMethod(path: string, allow: string): HttpResponse {
  const detail = `Method not allowed: ${allow}`;
  return errorAnswer(path, STATUS_CODE.MethodNotAllowed, detail, { allow });
}
