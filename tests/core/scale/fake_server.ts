/** A server in memory with the rules that the mover depends on, for tests that make it fail at a chosen request. */
import { compareKeys } from "../../../core/key.ts";
import {
  END_MARK,
  isHandedOver,
  type Layout,
  type Mark,
  NO_MARK,
  parseLayout,
  storeOf,
} from "../../../core/layout/layout.ts";
import { isInRange, Place } from "../../../core/layout/ownership.ts";
import { succeed } from "../../../core/layout/succession.ts";

interface Entry {
  readonly value: string;
  readonly type: string;
}

interface Fence {
  readonly number: number;
  readonly after: string | undefined;
  readonly upto: string | undefined;
}

/** Stands in the way of a request: an answer in place of the server's own, or `undefined`. */
export type Hook = (route: string, body: string) => Response | undefined | "lost";

/** A value of more characters is large. */
const LARGE = 1000;

/** One server. */
export class FakeServer implements AsyncDisposable {
  store: string = crypto.randomUUID();
  layout: Layout | undefined;
  self: string | undefined;
  mark: Mark = NO_MARK;
  keys = new Map<string, Entry>();
  stopped = false;
  leaving = false;
  fence: Fence | undefined;
  /** What the fences were leased for (ms). */
  readonly leases: number[] = [];
  /** Requests, as the route and the body. */
  readonly log: string[] = [];
  freeBytes = 1e12;
  usedBytes = 1e6;
  hook: Hook = () => undefined;
  #taken = new Map<string, string>();
  #fences = 0;
  readonly #server: Deno.HttpServer<Deno.NetAddr>;

  constructor() {
    this.#server = Deno.serve(
      { port: 0, hostname: "127.0.0.1", onListen() {} },
      (request) => this.#answer(request),
    );
  }

  get name(): string {
    return `127.0.0.1:${this.#server.addr.port}`;
  }

  /** Replaces the disk by an empty one. */
  loseDisk(): void {
    this.store = crypto.randomUUID();
    this.layout = undefined;
    this.self = undefined;
    this.mark = NO_MARK;
    this.fence = undefined;
    this.keys.clear();
    this.#taken.clear();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#server.shutdown();
  }

  async #answer(request: Request): Promise<Response> {
    const url = new URL(request.url);
    const route = `${request.method} ${url.pathname}`;
    const body = await request.text();
    this.log.push(`${route} ${body}`);
    const instead = this.hook(route, body);
    if (instead instanceof Response) return instead;
    const answer = this.#route(route, url, body, request);
    // A 503 stands for an answer that was lost behind a request that was carried out.
    return instead === "lost" ? new Response("_shutting_down_", { status: 503 }) : answer;
  }

  #route(route: string, url: URL, body: string, request: Request): Response {
    switch (route) {
      case "GET /v1/layout":
        return this.#tell();
      case "PUT /v1/layout":
        return this.#put(JSON.parse(body));
      case "POST /v1/handover":
        return this.#handover(JSON.parse(body));
      case "POST /v1/handover/take":
        return this.#take(body);
      case "POST /v1/handover/done":
        return this.#done(JSON.parse(body));
      case "GET /v1/keys":
        return this.#list(url.searchParams.get("after"));
      case "GET /v1/stats":
        return Response.json({
          freeBytes: this.freeBytes,
          usedBytes: this.usedBytes,
          blockBytes: 4096,
          journalBytes: 1e6,
        });
      case "POST /v1/batch":
        return this.#sizes(body);
    }
    const key = decodeURIComponent(url.pathname.slice("/v1/keys/".length));
    const fence = Number(request.headers.get("kvs-fence"));
    if (fence !== this.fence?.number) return this.#refuse("the fence has ended");
    return new Response(this.keys.get(key)?.value);
  }

  #tell(): Response {
    const { layout = null, self = null, store, leaving, stopped } = this;
    const mark = { mark: this.mark.key ?? null, end: this.mark.end };
    return Response.json({ layout, self, store, ...mark, keys: this.keys.size, leaving, stopped });
  }

  #put(body: { layout: unknown; self: string; store: string; replace?: boolean }): Response {
    const layout = parseLayout(body.layout);
    const { self, store, mark } = this;
    const held = { layout: this.layout, self, store, mark, hasKeys: this.keys.size > 0 };
    const answer = succeed(held, {
      ...{ layout, self: body.self, store: body.store },
      replace: body.replace ?? false,
    });
    if (answer.result === "refused") {
      if (answer.stops) this.stopped = true;
      return this.#refuse(answer.detail);
    }
    if (answer.result === "taken") {
      if (answer.empties) this.keys.clear();
      if (!answer.continues) {
        this.mark = NO_MARK;
        this.#taken.clear();
      }
      this.fence = undefined;
      this.layout = layout;
      this.self = body.self;
      this.stopped = false;
    }
    return new Response(null, { status: 204 });
  }

  #place(cluster: string, epoch: number): Place | undefined {
    const { layout, self } = this;
    if (layout === undefined || self === undefined || this.stopped) return undefined;
    if (layout.cluster !== cluster || layout.epoch !== epoch) return undefined;
    return storeOf(layout, self) === this.store ? new Place(layout, self) : undefined;
  }

  #handover(body: { cluster: string; epoch: number; keys: number; leaseMs: number }): Response {
    const place = this.#place(body.cluster, body.epoch);
    if (place?.isMoving !== true || !place.isSource) return this.#refuse("no such move");
    if (this.mark.end) return ndjson([{ end: true }]);
    if (this.fence !== undefined) return this.#refuse("a fence stands");
    const leaving = this.#sorted((key) => place.leaves(key) && !isHandedOver(this.mark, key));
    const large = leaving.findIndex((key) => this.#valueOf(key).length > LARGE);
    const most = large < 0 ? body.keys : Math.min(body.keys, Math.max(1, large));
    const range = leaving.slice(0, most);
    const upto = range.length === leaving.length ? undefined : range.at(-1);
    this.fence = { number: ++this.#fences, after: this.mark.key, upto };
    this.leases.push(body.leaseMs);
    const head = {
      fence: this.fence.number,
      after: this.mark.key ?? null,
      upto: upto ?? null,
    };
    const lines = range.map((key) => {
      const { value, type } = this.keys.get(key) ?? { value: "", type: "" };
      const size = value.length;
      return size > LARGE ? { key, type, etag: '"1"', size } : { key, value, type, etag: '"1"' };
    });
    return ndjson([head, ...lines]);
  }

  #take(body: string): Response {
    const [first = "", ...lines] = body.split("\n");
    const { cluster, epoch, since, source, fence, attempt, after, upto, large } = JSON.parse(first);
    const place = this.#place(cluster, epoch);
    if (place?.isMoving !== true || !place.isNext || source === this.self) {
      return this.#refuse("no such move", "behind");
    }
    const number = [since, fence, attempt].map((part) => String(part).padStart(9, "0")).join(" ");
    const last = this.#taken.get(source) ?? "";
    if (number <= last) return this.#refuse("not the newest", number === last ? "repeated" : "old");
    this.#taken.set(source, number);
    const range = { after: after ?? undefined, upto: upto ?? undefined };
    const from = new Place(place.layout, source);
    for (const key of this.#sorted((key) => isInRange(range, key))) {
      if (from.isSourceOf(key) && place.isTargetOf(key)) this.keys.delete(key);
    }
    const entries = large === undefined
      ? lines.filter((line) => line !== "").map((line) => JSON.parse(line))
      : [{ ...large, value: lines.join("\n") }];
    for (const { key, value, type } of entries) {
      const isMine = from.isSourceOf(key) && place.isTargetOf(key) && isInRange(range, key);
      if (!isMine) return new Response("not mine", { status: 400 });
      this.keys.set(key, { value, type });
    }
    return new Response(null, { status: 204 });
  }

  #done({ cluster, epoch, fence }: { cluster: string; epoch: number; fence: number }): Response {
    const place = this.#place(cluster, epoch);
    if (place === undefined || this.fence?.number !== fence) {
      return this.#refuse("the fence has ended");
    }
    const { upto } = this.fence;
    this.mark = upto === undefined ? END_MARK : { key: upto, end: false };
    this.fence = undefined;
    for (const key of this.#sorted((key) => place.leaves(key) && isHandedOver(this.mark, key))) {
      this.keys.delete(key);
    }
    return new Response(null, { status: 204 });
  }

  #list(after: string | null): Response {
    const keys = this.#sorted((key) => after === null || compareKeys(key, after) > 0);
    const page = keys.slice(0, 1000);
    return Response.json({ keys: page, next: keys.length > page.length ? page.at(-1) : null });
  }

  #sizes(body: string): Response {
    const lines = body.split("\n").filter((line) => line !== "");
    return ndjson(lines.map((line) => {
      const { key } = JSON.parse(line);
      return { status: 200, size: this.#valueOf(key).length, etag: '"1"' };
    }));
  }

  #refuse(detail: string, reason?: string): Response {
    const body = { error: "conflict", detail, reason, layout: this.layout ?? null };
    return Response.json(body, { status: 409 });
  }

  #valueOf(key: string): string {
    return this.keys.get(key)?.value ?? "";
  }

  #sorted(wanted: (key: string) => boolean): string[] {
    return [...this.keys.keys()].filter(wanted).toSorted(compareKeys);
  }
}

function ndjson(lines: readonly object[]): Response {
  return new Response(lines.map((line) => JSON.stringify(line) + "\n").join(""));
}
