/** A server of another make: the three book routes, `text/html`, insertion order, nothing else. */

/** What a {@link ForeignServer} can be made to do. */
export interface ForeignOptions {
  /**
   * Called before each save with the number of those before it. The save waits for it; what it
   * resolves to is the status to answer instead of saving.
   */
  readonly onSave?: (saves: number) => Promise<number | undefined> | undefined;
}

/** A foreign server on a free port of loopback, in this process. */
export class ForeignServer implements AsyncDisposable {
  readonly values = new Map<string, string>();
  saves = 0;
  /** Answer 503 to everything. */
  shuttingDown = false;
  readonly #options: ForeignOptions;
  readonly #server: Deno.HttpServer<Deno.NetAddr>;

  constructor(options: ForeignOptions = {}) {
    this.#options = options;
    this.#server = Deno.serve(
      { port: 0, hostname: "127.0.0.1", onListen() {} },
      (request) => this.#answer(request),
    );
  }

  get address(): string {
    return `127.0.0.1:${this.#server.addr.port}`;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#server.shutdown();
  }

  async #answer(request: Request): Promise<Response> {
    if (this.shuttingDown) return html(503, "_shutting_down_");
    const path = request.url.slice(request.url.indexOf("/", "http://".length));
    const [, route, key = "", word = "", ...rest] = path.split("/").map(decodeURIComponent);
    if (request.method !== "GET" || rest.length > 0) return html(404, "<h1>Not Found</h1>");
    switch (route) {
      case "allKeys":
        return html(200, [...this.values.keys()].map(encodeURIComponent).join(","));
      case "load":
        return html(200, this.values.get(key) ?? "_key_not_found_");
      case "save": {
        const status = await this.#options.onSave?.(this.saves++);
        if (status !== undefined) return html(status, "<h1>Failed</h1>");
        this.values.set(key, word);
        return html(200, word);
      }
      default:
        return html(404, "<h1>Not Found</h1>");
    }
  }
}

function html(status: number, body: string): Response {
  return new Response(body, { status, headers: { "content-type": "text/html" } });
}
