/** A proxy in front of a server of ours: a test sees what is asked there, and decides what comes of it. */

/** A request on its way. */
export interface Asked {
  readonly method: string;
  /** Path and query. */
  readonly target: string;
  readonly body: string;
  /** Whether it is a batch that begins with this operation. */
  isBatchOf(op: "put" | "get" | "head"): boolean;
}

/** Answers a request, by `forward` as the server does. */
export type Doorman = (
  asked: Asked,
  forward: (signal?: AbortSignal) => Promise<Response>,
) => Promise<Response>;

/** A proxy on a free port of loopback, in this process. */
export class Doorway implements AsyncDisposable {
  readonly #server: Deno.HttpServer<Deno.NetAddr>;

  /** @param behind HOST:PORT of the server. */
  constructor(behind: string, doorman: Doorman) {
    this.#server = Deno.serve(
      { port: 0, hostname: "127.0.0.1", onListen() {} },
      async (request) => {
        const { method } = request;
        const target = request.url.slice(request.url.indexOf("/", "http://".length));
        const bytes = await request.bytes();
        const body = new TextDecoder().decode(bytes);
        const isBatchOf = (op: string) => body.startsWith(`{"op":"${op}"`);
        const forward = async (signal: AbortSignal | null = null) => {
          const sent = method === "GET" ? null : bytes;
          const answer = await fetch(`http://${behind}${target}`, { method, body: sent, signal });
          const { status, headers } = answer;
          return new Response(await answer.bytes(), { status, headers });
        };
        return await doorman({ method, target, body, isBatchOf }, forward);
      },
    );
  }

  get address(): string {
    return `127.0.0.1:${this.#server.addr.port}`;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#server.shutdown();
  }
}
