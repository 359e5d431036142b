/** This program as a child process: how one role starts another. */
import { TextLineStream } from "@std/streams/text-line-stream";
import { type Access } from "../access.ts";

/** How a {@link Child} is started. */
export interface ChildOptions {
  /** Takes each line of the child's stdout and stderr as it comes. */
  readonly onLine: (line: string, stream: "stdout" | "stderr") => void;
  /** Variables that the child gets besides those of {@link childEnvironment}. */
  readonly env?: Readonly<Record<string, string>>;
}

/** How a child ended: its exit code, or the signal that ended it. */
export type ChildStatus = Pick<Deno.CommandStatus, "code" | "signal" | "success">;

/** The process ids of the children whose end has not been seen. */
const running = new Set<number>();

/** Whether `pid` is a {@link Child} whose end the runtime has yet to tell. */
export function isChild(pid: number): boolean {
  return running.has(pid);
}

/** The command that runs this program with `args`: the compiled binary, or Deno on the source. */
function programCommand(args: readonly string[]): { program: string; args: string[] } {
  const program = Deno.execPath();
  if (Deno.build.standalone) return { program, args: [...args] };
  const main = new URL("../../main.ts", import.meta.url).href;
  return { program, args: ["run", "--allow-all", "--quiet", main, ...args] };
}

/**
 * The variables that a child inherits. `KVS_*` are not among them, because `KVS_DRAIN` or `KVS_PORT` are meant for
 * this role and would change the child. Deno on the source needs the others to find its cache; the compiled binary
 * may not read them and needs none.
 */
function childEnvironment(): Record<string, string> {
  if (Deno.build.standalone) return {};
  return Object.fromEntries(
    Object.entries(Deno.env.toObject()).filter(([name]) => !name.startsWith("KVS_")),
  );
}

/** The variables with which a child gets the token of its parent; a command line would show it. */
export function accessVariables({ token }: Access): Record<string, string> {
  return token === undefined ? {} : { KVS_TOKEN: token };
}

/**
 * A child process in a session of its own: Ctrl-C in the terminal reaches only the parent, which then ends its
 * children in its own order. The child's stdin is a pipe that stays open as long as the parent lives, so that the
 * child can notice the parent's end.
 */
export class Child {
  readonly pid: number;
  /** Resolves when the process has ended and all that it wrote was read. */
  readonly ended: Promise<ChildStatus>;
  readonly #process: Deno.ChildProcess;

  constructor(args: readonly string[], options: ChildOptions) {
    const command = programCommand(args);
    this.#process = new Deno.Command(command.program, {
      args: command.args,
      clearEnv: true,
      env: { ...childEnvironment(), ...options.env },
      detached: true,
      stdin: "piped",
      stdout: "piped",
      stderr: "piped",
    }).spawn();
    this.pid = this.#process.pid;
    running.add(this.pid);
    this.ended = this.#end(options.onLine);
  }

  /** Sends a signal; does nothing once the process has ended. */
  signal(name: Deno.Signal): void {
    try {
      this.#process.kill(name);
    } catch (error) {
      // Deno throws a TypeError if it knows of the end, and NotFound if only the kernel does.
      if (error instanceof TypeError || error instanceof Deno.errors.NotFound) return;
      throw error;
    }
  }

  async #end(onLine: ChildOptions["onLine"]): Promise<ChildStatus> {
    const [status] = await Promise.all([
      this.#process.status.finally(() => running.delete(this.pid)),
      readLines(this.#process.stdout, (line) => onLine(line, "stdout")),
      readLines(this.#process.stderr, (line) => onLine(line, "stderr")),
    ]);
    // Closing may fail because the reader has gone; the pipe is closed all the same.
    await this.#process.stdin.close().catch(() => {});
    return status;
  }
}

/** What a child that ran to its end wrote, by lines, and how it ended. */
export interface Finished {
  readonly status: ChildStatus;
  readonly stdout: readonly string[];
  readonly stderr: readonly string[];
}

/** Runs this program with `args` to its end; `env` is added to its environment, and an abort kills it. */
export async function runProgram(
  args: readonly string[],
  signal: AbortSignal,
  env: Readonly<Record<string, string>> = {},
): Promise<Finished> {
  const lines: { stdout: string[]; stderr: string[] } = { stdout: [], stderr: [] };
  const child = new Child(args, {
    onLine: (line, stream) => lines[stream].push(line),
    env,
  });
  const kill = () => child.signal("SIGKILL");
  signal.addEventListener("abort", kill);
  if (signal.aborted) kill();
  try {
    return { status: await child.ended, ...lines };
  } finally {
    signal.removeEventListener("abort", kill);
  }
}

async function readLines(
  stream: ReadableStream<Uint8Array<ArrayBuffer>>,
  onLine: (line: string) => void,
): Promise<void> {
  const lines = stream.pipeThrough(new TextDecoderStream()).pipeThrough(new TextLineStream());
  for await (const line of lines) onLine(line);
}

/** The variable by which a child is told to end when its stdin ends, which is a pipe from its parent. */
export const PARENT_PIPE = "KVS_PARENT_PIPE";

/**
 * Resolves when the parent has ended, because the kernel then closes the pipe. Never resolves in a process that was
 * not started as a {@link Child} with {@link PARENT_PIPE}.
 */
export async function parentEnded(): Promise<void> {
  if (Deno.env.get(PARENT_PIPE) !== "1") return await new Promise(() => {});
  const buffer = new Uint8Array(64);
  while (await Deno.stdin.read(buffer) !== null);
}
