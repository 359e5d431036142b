/** Runs podman. */
import { TextLineStream } from "@std/streams/text-line-stream";

/** Runs `podman ARGS` to its end and resolves to what it printed. @throws {Error} If it failed. */
export async function podman(...args: string[]): Promise<string> {
  return await run("podman", ...args);
}

/** Runs a program to its end and resolves to what it printed. @throws {Error} If it failed. */
export async function run(program: string, ...args: string[]): Promise<string> {
  const output = await new Deno.Command(program, { args, stdin: "null" }).output();
  const decoder = new TextDecoder();
  if (!output.success) {
    const why = decoder.decode(output.stderr).trim() || `exit code ${output.code}`;
    throw new Error(`${program} ${args.join(" ")}: ${why}`);
  }
  return decoder.decode(output.stdout).trim();
}

/** As {@link podman}, where a failure is expected or does no harm. */
export async function tryPodman(...args: string[]): Promise<string | undefined> {
  try {
    return await podman(...args);
  } catch {
    return undefined;
  }
}

/** Whether podman can run containers here; tests that need it are ignored otherwise. */
export const HAS_PODMAN = await tryPodman("info", "--format", "{{.Host.Arch}}") !== undefined;

/** The lines that a container writes, from its beginning, as they come. */
export class ContainerLog implements AsyncDisposable {
  readonly lines: string[] = [];
  readonly #process: Deno.ChildProcess;
  readonly #read: Promise<unknown>;

  constructor(container: string) {
    this.#process = new Deno.Command("podman", {
      args: ["logs", "--follow", container],
      stdin: "null",
      stdout: "piped",
      stderr: "piped",
    }).spawn();
    this.#read = Promise.all([
      this.#collect(this.#process.stdout),
      this.#collect(this.#process.stderr),
      this.#process.status,
    ]);
  }

  async #collect(stream: ReadableStream<Uint8Array<ArrayBuffer>>): Promise<void> {
    const lines = stream.pipeThrough(new TextDecoderStream()).pipeThrough(new TextLineStream());
    for await (const line of lines) this.lines.push(line);
  }

  /** Resolves when the container has ended and all it wrote is in `lines`. */
  async ended(): Promise<void> {
    await this.#read;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    try {
      this.#process.kill("SIGKILL");
    } catch (error) {
      if (!(error instanceof TypeError) && !(error instanceof Deno.errors.NotFound)) throw error;
    }
    await this.#read;
  }
}
