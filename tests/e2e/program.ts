/** What end-to-end tests share: the compiled binary as real processes, folders, and polling. */
import { fromFileUrl, join } from "@std/path";
import { delay } from "@std/async/delay";
import { TextLineStream } from "@std/streams/text-line-stream";

/** The binary under test, made by `deno task compile`. */
export const KVS = fromFileUrl(new URL("../../dist/kvs", import.meta.url));

/** How long anything may take that a test waits for (milliseconds); far over what it takes. */
export const PATIENCE_MS = 60_000;

const POLL_MS = 10;

/** Calls `look` until it returns something, and returns that. Fails with `what` after a deadline. */
export async function until<T>(
  what: string,
  look: () => T | undefined | Promise<T | undefined>,
  patienceMs = PATIENCE_MS,
): Promise<T> {
  const end = performance.now() + patienceMs;
  while (true) {
    const found = await look();
    if (found !== undefined) return found;
    if (performance.now() > end) throw new Error(`Waited ${patienceMs} ms in vain until ${what}`);
    await delay(POLL_MS);
  }
}

/** A folder that goes with the test. */
export class TempDir implements AsyncDisposable {
  readonly path: string;

  constructor() {
    this.path = Deno.makeTempDirSync({ prefix: "kvs-test-" });
  }

  join(...names: string[]): string {
    return join(this.path, ...names);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    // The servers of a cluster that was killed end by themselves, and may still write files meanwhile.
    await until(`${this.path} is removed`, async () => {
      try {
        await Deno.remove(this.path, { recursive: true });
        return true;
      } catch (error) {
        if (/\(os error 39\)/.test(String(error))) return undefined;
        throw error;
      }
    });
  }
}

/** How a process is started. */
export interface StartOptions {
  readonly env?: Record<string, string>;
  readonly cwd?: string;
  /** What a shell does before it becomes the process: limits, signals that are ignored, redirections. */
  readonly shell?: string;
}

function commandOf(args: readonly string[], { shell, ...options }: StartOptions): [
  program: string,
  options: { args: string[] } & Omit<StartOptions, "shell">,
] {
  return shell === undefined
    ? [KVS, { args: [...args], ...options }]
    : ["sh", { args: ["-c", `${shell}; exec "$0" "$@"`, KVS, ...args], ...options }];
}

/** What a process that ran to its end left. */
export interface Finished {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs `kvs ARGS` to its end. */
export async function kvs(args: readonly string[], options: StartOptions = {}): Promise<Finished> {
  const [program, command] = commandOf(args, options);
  const { code, stdout, stderr } = await new Deno.Command(program, {
    stdin: "null",
    ...command,
  }).output();
  const decoder = new TextDecoder();
  return { code, stdout: decoder.decode(stdout), stderr: decoder.decode(stderr) };
}

/** `kvs ARGS` as a running process; killed when the test ends. */
export class Running implements AsyncDisposable {
  /** Lines so far, newest last. */
  readonly stdout: string[] = [];
  readonly stderr: string[] = [];
  readonly #process: Deno.ChildProcess;
  readonly #read: Promise<unknown>;
  #ended = false;

  constructor(args: readonly string[], options: StartOptions = {}) {
    const [program, command] = commandOf(args, options);
    this.#process = new Deno.Command(program, {
      stdin: "piped",
      stdout: "piped",
      stderr: "piped",
      ...command,
    }).spawn();
    this.#read = Promise.all([
      collect(this.#process.stdout, this.stdout),
      collect(this.#process.stderr, this.stderr),
      this.#process.status.then(() => this.#ended = true),
    ]);
  }

  get pid(): number {
    return this.#process.pid;
  }

  /** Whether it has ended. */
  get ended(): boolean {
    return this.#ended;
  }

  /** Sends a signal; nothing happens where the process has ended. */
  kill(signal: Deno.Signal): void {
    try {
      if (!this.#ended) this.#process.kill(signal);
    } catch (error) {
      // It ended just now, and its end has not been told yet.
      if (!(error instanceof TypeError || error instanceof Deno.errors.NotFound)) throw error;
    }
  }

  /** Writes a line to its standard input. */
  async type(line: string): Promise<void> {
    const writer = this.#process.stdin.getWriter();
    await writer.write(new TextEncoder().encode(line + "\n"));
    writer.releaseLock();
  }

  /** Resolves to the first line of either output that matches. */
  async line(pattern: RegExp): Promise<RegExpExecArray> {
    return await until(`${pattern} is printed; printed was: ${this.stderr.join("\n")}`, () => {
      for (const line of [...this.stdout, ...this.stderr]) {
        const match = pattern.exec(line);
        if (match !== null) return match;
      }
      if (this.#ended) throw new Error(`Ended without ${pattern}: ${this.stderr.join("\n")}`);
      return undefined;
    });
  }

  /** Waits for the end and resolves to the exit code; the one of a shell where a signal ended it. */
  async exit(): Promise<number> {
    await until("the process ends", () => this.#ended ? true : undefined);
    await this.#read;
    return (await this.#process.status).code;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.kill("SIGKILL");
    await this.#process.stdin.close().catch(() => {});
    await this.#read;
  }
}

/** A running `kvs server` on a free port of loopback. */
export class Server extends Running {
  readonly dir: string;
  #address = "";

  private constructor(dir: string, args: readonly string[], port: number, options: StartOptions) {
    super(["server", String(port), dir, "--host", "127.0.0.1", ...args], options);
    this.dir = dir;
  }

  /** Starts a server on `dir` and waits until it listens; `port` 0 picks a free one. */
  static async start(
    dir: string,
    args: readonly string[] = [],
    port = 0,
    options: StartOptions = {},
  ): Promise<Server> {
    const server = new Server(dir, args, port, options);
    try {
      const [, address = ""] = await server.line(/listening.*address"?[=:]"?([0-9.:]+)/);
      server.#address = address;
      return server;
    } catch (error) {
      await server[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** As HOST:PORT, the form of a server list. */
  get address(): string {
    return this.#address;
  }

  get port(): number {
    return Number(this.#address.split(":").at(-1));
  }

  /** Sends a request to a path, which goes out as it is; resolves to status, headers and body. */
  async ask(path: string, init: RequestInit = {}): Promise<Answer> {
    const response = await fetch(`http://${this.#address}${path}`, init);
    return { status: response.status, headers: response.headers, body: await response.text() };
  }
}

/** What a server answered. */
export interface Answer {
  readonly status: number;
  readonly headers: Headers;
  readonly body: string;
}

async function collect(
  stream: ReadableStream<Uint8Array<ArrayBuffer>>,
  into: string[],
): Promise<void> {
  const lines = stream.pipeThrough(new TextDecoderStream()).pipeThrough(new TextLineStream());
  for await (const line of lines) into.push(line);
}
