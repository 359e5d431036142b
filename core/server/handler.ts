/**
 * The request handler of a shard: a request in, an answer out. It opens no port, and reaches the disk only
 * through its options. It answers without a promise if memory has the answer.
 */
import { STATUS_CODE } from "@std/http/status";
import {
  KvsError,
  LayoutConflictError,
  messageOf,
  MisdirectedKeyError,
  OutOfClusterError,
  ShuttingDownError,
  StorageBusyError,
} from "../errors.ts";
import { jsonAnswer, textAnswer } from "../http/answers.ts";
import { type BrowserGuard } from "../http/browser_guard.ts";
import { type HttpHandler, type HttpRequest, type HttpResponse } from "../http/types.ts";
import { type Log } from "../log.ts";
import { type Store } from "../store.ts";
import { type DiskRoom } from "../system/disk.ts";
import { AnswerAllowance } from "./answer_allowance.ts";
import {
  errorAnswer,
  noRoute,
  type RouteResult,
  unauthorized,
  UNAVAILABLE,
  wrongMethod,
} from "./answers.ts";
import { postBatch } from "./batch_route.ts";
import { allKeys, load, save } from "./book_routes.ts";
import { type Guard } from "./guard.ts";
import { type Lifecycle } from "./lifecycle.ts";
import { type RequestMetrics } from "./metrics.ts";
import { type MetricsText } from "./metrics_page.ts";
import { type LastMove } from "./last_move.ts";
import {
  checkFence,
  claimOf,
  getLayout,
  postDone,
  postHandover,
  postTake,
  putLayout,
} from "./layout_routes.ts";
import { type Membership } from "./membership.ts";
import { putMove, writeCheck } from "./move_route.ts";
import { OwnedStore } from "./owned_store.ts";
import { refuseQuery } from "./query.ts";
import { type DataRoute, findRoute, type OpenRoute, OTHER, ROUTES_TEXT } from "./routes.ts";
import { errorName, statusOf } from "./statuses.ts";
import { deleteKey, getKey, keyOf, listKeys, putKey } from "./v1_routes.ts";

/** The parts of a shard that a handler works with. */
export interface HandlerOptions {
  /** The store; `undefined` until it is open. */
  readonly store: () => Store | undefined;
  readonly lastMove: LastMove;
  readonly membership: Membership;
  readonly lifecycle: Lifecycle;
  /** Admits requests to the data routes. Without a guard these are open to everyone. */
  readonly guard?: Guard | undefined;
  /** Keeps pages of other sites from the data routes. */
  readonly browserGuard: BrowserGuard;
  /** Asks for the room of the disk. */
  readonly room: () => Promise<DiskRoom>;
  /** Tells the disk of the shard from other disks; `undefined` if that is not known. */
  readonly fileSystem?: string | undefined;
  /** The most that the journal takes of the disk, in bytes. */
  readonly journalBytes?: number | undefined;
  /** Counts the requests. */
  readonly requests: RequestMetrics;
  /** Writes the text of `/metrics`. */
  readonly metrics: () => Promise<MetricsText>;
  /** The largest value that is taken, in bytes. */
  readonly maxValueBytes: number;
  readonly log: Log;
}

/** The most that the answers of all batches take in memory (characters). One batch at a time may take more. */
const ANSWERS = 16 * 1024 * 1024;

/** Answers a data route. */
type DataHandler = (store: Store, request: HttpRequest) => RouteResult;

/** Makes the handler of a shard. */
export function createHandler(options: HandlerOptions): HttpHandler {
  const { lifecycle, guard, browserGuard, requests, lastMove, membership, log, maxValueBytes } =
    options;
  const answers = new AnswerAllowance(ANSWERS);
  /** Tells this start of the server from another start: numbers of writes compare only within one. */
  const start = crypto.randomUUID();

  /** The functions of the data routes; only `answerData` calls them. */
  const dataRoutes: Record<DataRoute, DataHandler> = {
    save: (store, request) => save(owned(store, request), request.path, maxValueBytes),
    load: (store, request) => load(owned(store, request), request.path),
    allKeys: (store, request) => allKeys(owned(store, request)),
    v1_get: (store, request) => {
      checkFence(request, membership);
      return getKey(owned(store, request), request);
    },
    v1_put: (store, request) => {
      const key = keyOf(request);
      const check = writeCheck(request, lastMove);
      return putKey(owned(store, request), key, request, { maxValueBytes, check });
    },
    v1_delete: (store, request) => deleteKey(owned(store, request), request),
    v1_list: (store, request) => listKeys(owned(store, request), request),
    v1_batch: batch,
    v1_stats: stats,
    v1_move: (_store, request) => putMove(lastMove, request),
    v1_layout: (store, request) => getLayout(store, request, membership),
    v1_layout_put: (store, request) => putLayout(store, request, membership),
    v1_handover: (store, request) => postHandover(store, request, membership),
    v1_take: (store, request) => postTake(store, request, membership),
    v1_done: (store, request) => postDone(store, request, membership),
  };

  const openRoutes: Record<OpenRoute, (request: HttpRequest) => RouteResult> = {
    health: (request) => health(request, lifecycle, membership),
    metrics,
    index: () => textAnswer(STATUS_CODE.OK, ROUTES_TEXT),
  };

  function owned(store: Store, request: HttpRequest): OwnedStore {
    return new OwnedStore(store, membership, claimOf(request), () => request.watchClient?.());
  }

  /** Answers a data route, if the request is admitted and the shard is serving at `now`. */
  function answerData(name: DataRoute, request: HttpRequest, now: number): RouteResult {
    const refusal = browserGuard.refusal(request);
    if (refusal !== undefined) return errorAnswer(request.path, STATUS_CODE.Forbidden, refusal);
    if (guard !== undefined && !guard.admits(request)) return unauthorized(request.path);
    const store = options.store();
    const isServing = store !== undefined && lifecycle.phaseAt(now) === "serving";
    return isServing ? dataRoutes[name](store, request) : UNAVAILABLE;
  }

  function batch(store: Store, request: HttpRequest): RouteResult {
    return postBatch(request, answers, {
      store: owned(store, request),
      layout: () => membership.told,
      maxValueBytes,
      check: writeCheck(request, lastMove),
      serving: () => lifecycle.phase === "serving",
      log,
    });
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
    const move = lastMove.note ?? null;
    const counts = { keys: store.size, start, writes: store.writes };
    return jsonAnswer(STATUS_CODE.OK, { ...counts, move, ...room });
  }

  function failed(error: unknown, path: string): HttpResponse {
    const status = statusOf(error);
    if (error instanceof ShuttingDownError) return UNAVAILABLE;
    if (error instanceof StorageBusyError) {
      return errorAnswer(path, status, error.message, { "retry-after": "1" });
    }
    if (error instanceof OutOfClusterError) {
      return errorAnswer(path, status, error.message, { "retry-after": "1" });
    }
    if (error instanceof MisdirectedKeyError || error instanceof LayoutConflictError) {
      return layoutAnswer(error, path);
    }
    if (error instanceof KvsError) return errorAnswer(path, status, error.message);
    log("error", "request failed", { path: path.slice(0, 200), error: messageOf(error) });
    return errorAnswer(path, status, "Internal error: the server's log tells more");
  }

  /** The answer to a request that goes by another layout; on native routes it tells the layout. */
  function layoutAnswer(
    error: MisdirectedKeyError | LayoutConflictError,
    path: string,
  ): HttpResponse {
    const status = statusOf(error);
    const { message: detail } = error;
    if (!path.startsWith("/v1/")) return errorAnswer(path, status, detail);
    const reason = error instanceof LayoutConflictError ? error.reason : undefined;
    return jsonAnswer(status, { error: errorName(status), detail, reason, ...membership.told });
  }

  function counted(answer: HttpResponse, index: number, startedAt: number): HttpResponse {
    requests.observe(index, answer.status, performance.now() - startedAt);
    return answer;
  }

  /** A function of its own, so that an answer which is there at once makes no closures. */
  function settle(
    answer: Promise<HttpResponse>,
    path: string,
    index: number,
    startedAt: number,
  ): Promise<HttpResponse> {
    return answer.then(
      (response) => counted(response, index, startedAt),
      (error) => counted(failed(error, path), index, startedAt),
    );
  }

  return (request) => {
    const startedAt = performance.now();
    const { method, path } = request;
    const route = findRoute(path);
    const operation = route?.operation(method);
    if (operation === undefined) {
      const answer = route === undefined ? noRoute(path) : wrongMethod(path, route.allow);
      return counted(answer, OTHER, startedAt);
    }
    const { index } = operation;
    try {
      const answer = operation.touchesData
        ? answerData(operation.name, request, startedAt)
        : openRoutes[operation.name](request);
      return answer instanceof Promise
        ? settle(answer, path, index, startedAt)
        : counted(answer, index, startedAt);
    } catch (error) {
      return counted(failed(error, path), index, startedAt);
    }
  };
}

/** Makes the handler of a port that tells of health and has no data. */
export function createHealthHandler(lifecycle: Lifecycle, membership: Membership): HttpHandler {
  return (request) => {
    const { method, path } = request;
    const route = findRoute(path);
    if (route?.operation("GET")?.name !== "health") {
      return errorAnswer(
        path,
        STATUS_CODE.NotFound,
        "No such route: this port has /healthz and /readyz",
      );
    }
    return route.operation(method) === undefined
      ? wrongMethod(path, route.allow)
      : health(request, lifecycle, membership);
  };
}

/** `/healthz` and `/readyz`. */
function health({ path }: HttpRequest, lifecycle: Lifecycle, membership: Membership): HttpResponse {
  if (path === "/healthz") return textAnswer(STATUS_CODE.OK, "ok\n");
  const why = lifecycle.phase === "serving" ? membership.whyOut : lifecycle.reason;
  return why === undefined
    ? textAnswer(STATUS_CODE.OK, "ready\n")
    : textAnswer(STATUS_CODE.ServiceUnavailable, why + "\n");
}
