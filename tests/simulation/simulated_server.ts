/** A server in memory: the real routes over a store and files that outlive its crashes. */
import { type StorageFailedError } from "../../core/errors.ts";
import { BrowserGuard } from "../../core/http/browser_guard.ts";
import { headersOf, isBodyless } from "../../core/http/headers.ts";
import {
  type HttpBody,
  type HttpHandler,
  type HttpRequest,
  type HttpResponse,
} from "../../core/http/types.ts";
import { ClusterStateFile } from "../../core/server/cluster_state.ts";
import { createHandler } from "../../core/server/handler.ts";
import { LastMove } from "../../core/server/last_move.ts";
import { Lifecycle } from "../../core/server/lifecycle.ts";
import { Membership } from "../../core/server/membership.ts";
import { RequestMetrics } from "../../core/server/metrics.ts";
import { type Store } from "../../core/store.ts";
import { type Contents, memoryFiles } from "./memory_files.ts";
import { type Durable, MemoryStore } from "./memory_store.ts";
import { type Scheduler } from "./scheduler.ts";

/** Changes the store of a server, to plant a fault. */
export type Wrap = (store: Store, membership: Membership) => Store;

/** The head of a request on its way. */
export interface SentRequest {
  readonly method: string;
  readonly url: string;
  readonly headers: Headers;
}

/** A server, through all its starts. */
export class SimulatedServer {
  readonly name: string;
  membership: Membership | undefined;
  /** The number of the start. */
  start = 0;
  readonly files: Contents = new Map();
  readonly durable: Durable = new Map();
  readonly fatal: StorageFailedError[] = [];
  readonly #scheduler: Scheduler;
  readonly #wrap: Wrap;
  #handler: HttpHandler | undefined;
  #onDown: (() => void)[] = [];

  constructor(name: string, scheduler: Scheduler, wrap: Wrap = (store) => store) {
    this.name = name;
    this.#scheduler = scheduler;
    this.#wrap = wrap;
  }

  get isUp(): boolean {
    return this.#handler !== undefined;
  }

  /** Loses all memory; what was under way never ends. */
  crash(): void {
    this.start++;
    this.#handler = undefined;
    this.membership = undefined;
    for (const tell of this.#onDown.splice(0)) tell();
  }

  /** Calls `tell` when this start has crashed. */
  whenDown(tell: () => void): void {
    this.#onDown.push(tell);
  }

  /** Starts the server over what its disk has. */
  async boot(): Promise<void> {
    const start = ++this.start;
    const scheduler = this.#scheduler;
    const isSame = () => this.start === start;
    const pause = (what: string) => () =>
      new Promise<void>((resolve) => {
        scheduler.add(`${this.name}.${start} ${what}`, () => isSame() && resolve());
      });
    const files = memoryFiles(this.files, pause("flushes a file"));
    const log = () => {};
    const membership = new Membership({
      file: await ClusterStateFile.open("/kvs", files, log),
      clock: {
        now: () => scheduler.now(),
        after: (ms, run) => scheduler.after(ms, () => isSame() && run()),
      },
      log,
      onFatal: (error) => this.fatal.push(error),
    });
    const lastMove = await LastMove.open("/kvs", files, log);
    const kept = new MemoryStore(this.durable, pause("writes a key"));
    const store = this.#wrap(kept, membership);
    const lifecycle = new Lifecycle("/kvs/none");
    const handler = createHandler({
      store: () => store,
      lastMove,
      membership,
      lifecycle,
      browserGuard: new BrowserGuard(undefined),
      requests: new RequestMetrics(),
      metrics: () => Promise.resolve({ contentType: "text/plain", text: "" }),
      room: () =>
        Promise.resolve({ freeBytes: 1e12, usedBytes: 0, freeFiles: null, blockBytes: 4096 }),
      maxValueBytes: 1e6,
      log,
    });
    await membership.resume(store);
    if (!isSame()) return;
    lifecycle.started();
    this.membership = membership;
    this.#handler = handler;
  }

  /** Answers a request. @throws {TypeError} If the server is down. */
  async answer(request: SentRequest, bytes: Uint8Array<ArrayBuffer>): Promise<Response> {
    if (this.#handler === undefined) throw new TypeError("connection refused");
    const answer = await this.#handler(requestOf(request, bytes));
    const headers = new Headers();
    for (const line of headersOf(answer).text.split("\r\n")) {
      const colon = line.indexOf(": ");
      if (colon > 0) headers.set(line.slice(0, colon), line.slice(colon + 2));
    }
    const body = await bytesOf(answer.body);
    headers.set("content-length", String(body.length));
    const { status } = answer;
    return new Response(isBodyless(status) ? null : body, { status, headers });
  }
}

/** A request as a server reads it. */
function requestOf(
  { method, url, headers }: SentRequest,
  bytes: Uint8Array<ArrayBuffer>,
): HttpRequest {
  const { pathname: path, search } = new URL(url);
  return {
    method,
    path,
    query: search.slice(1),
    contentLength: bytes.length,
    chunked: false,
    body: bytes.length === 0 ? undefined : bodyOf(bytes),
    header: (name) => headers.get(name) ?? undefined,
  };
}

function bodyOf(bytes: Uint8Array<ArrayBuffer>): HttpBody {
  return {
    bytes: () => bytes,
    view: () => bytes,
    async *chunks() {
      yield await Promise.resolve(bytes);
    },
  };
}

async function bytesOf(body: HttpResponse["body"]): Promise<Uint8Array<ArrayBuffer>> {
  if (body instanceof ReadableStream) return await new Response(body).bytes();
  return typeof body === "string" ? new TextEncoder().encode(body) : new Uint8Array(body ?? []);
}
