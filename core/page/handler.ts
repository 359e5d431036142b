/**
 * The routes of the page's own server: the files, the stream of events, and the actions.
 *
 * The page has no password. So the server refuses what pages of other sites make a browser send:
 * requests under a foreign host name that points here (DNS rebinding), and forms with an action as
 * their target.
 */
import { STATUS_CODE } from "@std/http/status";
import { KvsError, messageOf, UsageError } from "../errors.ts";
import { jsonAnswer, textAnswer } from "../http/answers.ts";
import { isForeign, isOwnHost } from "../http/browser_guard.ts";
import { type HttpHandler, type HttpRequest, type HttpResponse } from "../http/types.ts";
import { type PageAssets, SAFE_HEADERS } from "./assets.ts";
import { type PageSnapshot } from "./model.ts";
import { MAX_VIEWERS, type Viewers } from "./viewers.ts";

/** The changes that a viewer can ask for. Each function returns when the change has begun. */
export interface PageActions {
  /** Starts or stops servers and moves the keys, in the right order. @throws {KvsError} */
  resize(servers: number): void;
  /** Starts or stops servers. The keys stay on their servers. @throws {KvsError} */
  scale(servers: number): void;
  /** Moves the keys to their owners in a list of `servers` servers. @throws {KvsError} */
  move(servers: number): void;
  /** Deletes a Pod, which the cluster then starts again. @throws {KvsError} */
  delete(server: string): void;
}

/** Thrown when a change cannot be made now. */
export class NotNowError extends KvsError {}

/** The options of {@link createPageHandler}. */
export interface PageHandlerOptions {
  readonly assets: PageAssets;
  readonly viewers: Viewers;
  readonly snapshot: () => PageSnapshot;
  /** `undefined` if viewers cannot change anything. */
  readonly actions: PageActions | undefined;
  /** The host name on which the user told the page to listen. */
  readonly hostname: string;
}

/** The longest body of an action (bytes). */
const MAX_BODY_BYTES = 1024;

const ACTION_PREFIX = "/actions/";

/** Makes the handler of the page's server. */
export function createPageHandler(options: PageHandlerOptions): HttpHandler {
  const { assets, viewers, snapshot, actions, hostname } = options;

  function stream(head: boolean): HttpResponse {
    const headers = {
      ...SAFE_HEADERS,
      "content-type": "text/event-stream; charset=utf-8",
      "cache-control": "no-store",
      // Tells a proxy to pass on each event at once.
      "x-accel-buffering": "no",
    };
    if (head) return { status: 200, headers };
    const body = viewers.open(snapshot());
    if (body !== undefined) return { status: 200, headers, body };
    return textAnswer(503, `Too many viewers: ${MAX_VIEWERS} at most`, { "retry-after": "10" });
  }

  return (request) => {
    const { method, path } = request;
    const refused = refusal(request, hostname);
    if (refused !== undefined) return refused;
    if (path.startsWith(ACTION_PREFIX) && actions !== undefined) {
      if (method !== "POST") return wrongMethod("POST");
      return act(request, path.slice(ACTION_PREFIX.length), actions);
    }
    if (method !== "GET" && method !== "HEAD") return wrongMethod("GET, HEAD");
    if (path === "/events") return stream(method === "HEAD");
    if (path === "/snapshot") {
      return jsonAnswer(200, snapshot(), { ...SAFE_HEADERS, "cache-control": "no-store" });
    }
    return assets.answer(request) ?? textAnswer(404, `No such page: ${path}`);
  };
}

function wrongMethod(allow: string): HttpResponse {
  return textAnswer(STATUS_CODE.MethodNotAllowed, `Method not allowed: use ${allow}`, { allow });
}

/** Begins an action, and answers whether it was accepted. */
async function act(
  request: HttpRequest,
  action: string,
  actions: PageActions,
): Promise<HttpResponse> {
  try {
    const body: unknown = JSON.parse(
      new TextDecoder().decode(await request.body?.bytes(MAX_BODY_BYTES) ?? new Uint8Array()),
    );
    switch (action) {
      case "resize":
      case "scale":
      case "move":
        actions[action](numberIn(body, "servers"));
        break;
      case "delete":
        actions.delete(textIn(body, "server"));
        break;
      default:
        return textAnswer(404, `No such action: ${action}`);
    }
    return jsonAnswer(STATUS_CODE.Accepted, { accepted: action });
  } catch (error) {
    if (error instanceof NotNowError) return textAnswer(STATUS_CODE.Conflict, error.message);
    if (error instanceof KvsError || error instanceof SyntaxError) {
      return textAnswer(STATUS_CODE.BadRequest, messageOf(error));
    }
    throw error;
  }
}

function fieldOf(body: unknown, name: string): unknown {
  return typeof body === "object" && body !== null
    ? Object.entries(body).find(([key]) => key === name)?.[1]
    : undefined;
}

function numberIn(body: unknown, name: string): number {
  const value = fieldOf(body, name);
  if (typeof value !== "number" || !Number.isInteger(value)) {
    throw new UsageError(`Expected a whole number as "${name}"`);
  }
  return value;
}

function textIn(body: unknown, name: string): string {
  const value = fieldOf(body, name);
  if (typeof value !== "string") throw new UsageError(`Expected text as "${name}"`);
  return value;
}

/**
 * The answer to a request that is refused; `undefined` if the request may go on.
 *
 * The Host has to be an address, `localhost`, or the name that the user gave, which no other site
 * has. Any port is right, since `kubectl port-forward` changes it. A request other than GET has to
 * come from this page: browsers tell the origin of each such request.
 *
 * @param name The host name on which the user told the page to listen.
 */
function refusal(request: HttpRequest, name: string): HttpResponse | undefined {
  if (!isOwnHost(request.header("host") ?? "", [name.toLowerCase()])) {
    return textAnswer(
      STATUS_CODE.MisdirectedRequest,
      `Not for this host: open the page by address, as localhost, or as ${name}`,
    );
  }
  if (request.method === "GET" || request.method === "HEAD") return undefined;
  if (request.header("origin") === undefined || isForeign(request)) {
    return textAnswer(STATUS_CODE.Forbidden, "Only the page itself can change anything");
  }
  if (request.header("content-type") !== "application/json") {
    return textAnswer(STATUS_CODE.UnsupportedMediaType, "Expected application/json");
  }
  return undefined;
}
