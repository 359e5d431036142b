/** What a run of the benchmark leaves on the machine while it lasts: processes and one folder. */
import { TextLineStream } from "@std/streams/text-line-stream";
import { basename, join } from "@std/path";
import { delay } from "@std/async/delay";

/** How long a program may take to start. */
const START_TIMEOUT_MS = 30_000;

const POLL_MS = 5;
const KEPT_LINES = 20;

/** Options of a process. */
export interface SpawnOptions {
  readonly cwd?: string;
  readonly env?: Record<string, string>;
}

/** What a process that ran to its end wrote. */
export interface Output {
  readonly stdout: string;
  readonly stderr: string;
}

const children = new Set<Deno.ChildProcess>();
const folders: string[] = [];
let closing: Promise<void> | undefined;

/** Variables for children: none that would change what a `kvs` or a Deno does. */
function environment(extra: Record<string, string> = {}): Record<string, string> {
  const inherited = Object.entries(Deno.env.toObject()).filter(([name]) =>
    !name.startsWith("KVS_") && name !== "NO_COLOR"
  );
  return { ...Object.fromEntries(inherited), NO_COLOR: "1", ...extra };
}

function spawn(program: string, args: readonly string[], options: SpawnOptions): Spawned {
  if (closing !== undefined) throw new InterruptedError();
  const child = new Deno.Command(program, {
    args: [...args],
    clearEnv: true,
    ...options,
    env: environment(options.env),
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  children.add(child);
  const ended = child.status.finally(() => children.delete(child));
  return { child, ended };
}

interface Spawned {
  readonly child: Deno.ChildProcess;
  readonly ended: Promise<Deno.CommandStatus>;
}

function kill(child: Deno.ChildProcess): void {
  try {
    child.kill("SIGKILL");
  } catch (error) {
    // Deno says TypeError when it knows of the end, and NotFound when only the kernel does.
    if (!(error instanceof TypeError || error instanceof Deno.errors.NotFound)) throw error;
  }
}

/** A program that runs until it is stopped. */
export class Child {
  readonly pid: number;
  /** The last lines of both outputs. */
  readonly lines: string[] = [];
  readonly #spawned: Spawned;
  readonly #read: Promise<unknown>;
  readonly #name: string;
  #over = false;

  constructor(program: string, args: readonly string[], options: SpawnOptions = {}) {
    this.#spawned = spawn(program, args, options);
    this.#name = basename(program);
    const { child, ended } = this.#spawned;
    this.pid = child.pid;
    this.#read = Promise.all([
      this.#collect(child.stdout),
      this.#collect(child.stderr),
      ended.then(() => this.#over = true),
    ]);
  }

  async #collect(stream: ReadableStream<Uint8Array<ArrayBuffer>>): Promise<void> {
    const lines = stream.pipeThrough(new TextDecoderStream()).pipeThrough(new TextLineStream());
    for await (const line of lines) {
      this.lines.push(line);
      if (this.lines.length > KEPT_LINES) this.lines.shift();
    }
  }

  /** Calls `look` until it finds something. @throws {Error} If the program ends or takes too long. */
  async until<T>(
    what: string,
    look: () => T | undefined | Promise<T | undefined>,
    timeoutMs = START_TIMEOUT_MS,
  ): Promise<T> {
    const end = performance.now() + timeoutMs;
    while (true) {
      const found = await look();
      if (found !== undefined) return found;
      if (this.#over || performance.now() > end) {
        const said = this.lines.slice(-3).join(" / ");
        throw new Error(
          `${this.#name} ${this.#over ? "ended" : "waited"} without ${what}: ${said}`,
        );
      }
      await delay(POLL_MS);
    }
  }

  /** Resolves to the first line that matches. */
  async line(pattern: RegExp, timeoutMs = START_TIMEOUT_MS): Promise<RegExpExecArray> {
    return await this.until(String(pattern), () => {
      for (const line of this.lines) {
        const match = pattern.exec(line);
        if (match !== null) return match;
      }
      return undefined;
    }, timeoutMs);
  }

  /** Resolves when it has ended by itself. */
  async ended(): Promise<void> {
    await this.#read;
  }

  /** Resolves when something accepts connections on `port` of loopback. */
  async accepts(port: number): Promise<void> {
    await this.until(`a listener on port ${port}`, async () => {
      try {
        (await Deno.connect({ hostname: "127.0.0.1", port })).close();
        return true;
      } catch (error) {
        if (error instanceof Deno.errors.ConnectionRefused) return undefined;
        throw error;
      }
    });
  }

  /** Sends a signal and waits for the end. */
  async stop(signal: Deno.Signal = "SIGKILL"): Promise<void> {
    if (!this.#over) this.#spawned.child.kill(signal);
    await this.#read;
  }
}

/** Runs a program to its end. @throws {Error} If it fails, or takes longer than `timeoutMs`. */
export async function run(
  program: string,
  args: readonly string[],
  timeoutMs: number,
  options: SpawnOptions = {},
): Promise<Output> {
  const { child, ended } = spawn(program, args, options);
  const timer = setTimeout(() => kill(child), timeoutMs);
  try {
    const [status, stdout, stderr] = await Promise.all([
      ended,
      new Response(child.stdout).text(),
      new Response(child.stderr).text(),
    ]);
    if (!status.success) {
      const why = status.signal ?? `exit code ${status.code}`;
      // A program in Deno says what went wrong first and where after that.
      throw new Error(`${basename(program)}: ${why}: ${stderr.trim().slice(0, 500)}`);
    }
    return { stdout, stderr };
  } finally {
    clearTimeout(timer);
  }
}

/** Returns the path of a program that Debian's packages put on the machine, or `undefined`. */
export async function findProgram(name: string): Promise<string | undefined> {
  // Debian's own first: a shim of a version manager may stand before it in PATH.
  for (const folder of ["/usr/bin", "/usr/sbin", ...(Deno.env.get("PATH") ?? "").split(":")]) {
    try {
      const path = join(folder, name);
      if ((await Deno.stat(path)).isFile) return path;
    } catch (error) {
      if (!(error instanceof Deno.errors.NotFound || error instanceof Deno.errors.NotADirectory)) {
        throw error;
      }
    }
  }
  return undefined;
}

/** Returns a port of loopback that was free just now, for programs that cannot pick one. */
export function freePort(): number {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const { port } = listener.addr;
  listener.close();
  return port;
}

/** Makes a folder that goes when the benchmark ends. */
export async function makeFolder(parent: string): Promise<string> {
  const folder = await Deno.makeTempDir({ dir: parent, prefix: "bench-" });
  folders.push(folder);
  return folder;
}

/** The benchmark is ending: nothing is started any more. */
export class InterruptedError extends Error {
  constructor() {
    super("interrupted");
  }
}

/** Whether {@link closeStage} was called: programs that end now were ended by it. */
export function isClosing(): boolean {
  return closing !== undefined;
}

/** Ends every process and removes every folder. Nothing can be started from then on. */
export function closeStage(): Promise<void> {
  return closing ??= endAll();
}

async function endAll(): Promise<void> {
  const ends = [...children].map(async (child) => {
    kill(child);
    await child.status;
  });
  await Promise.all(ends);
  // A million files: rm takes them in the order of inodes, which is several times as fast on ext4
  // as the order in which they are listed.
  const rm = new Deno.Command("rm", { args: ["-rf", ...folders], stdin: "null" });
  const { success } = await rm.spawn().status;
  if (!success) throw new Error(`Cannot remove ${[...folders].join(" ")}`);
}

/** Seconds of CPU that processes have taken so far; none for one that has ended. */
export async function cpuSeconds(pids: readonly number[]): Promise<number> {
  let ticks = 0;
  for (const pid of pids) {
    const stat = await Deno.readTextFile(`/proc/${pid}/stat`).catch(() => undefined);
    if (stat === undefined) continue;
    // The second field, the program's name in parentheses, may hold spaces.
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    ticks += Number(fields[11]) + Number(fields[12]);
  }
  return ticks / 100;
}

/** Resident memory of a process in bytes. */
export async function residentBytes(pid: number): Promise<number> {
  const status = await Deno.readTextFile(`/proc/${pid}/status`);
  return Number(/^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1]) * 1024;
}

/** The most resident memory that a process has had so far, in bytes. */
export async function peakBytes(pid: number): Promise<number> {
  const status = await Deno.readTextFile(`/proc/${pid}/status`);
  return Number(/^VmHWM:\s+(\d+) kB$/m.exec(status)?.[1]) * 1024;
}

// Longer than kvs waits until a burst of saves is over, before it makes files of them.
const SETTLE_WINDOW_MS = 1500;
const SETTLE_TIMEOUT_MS = 20_000;

/**
 * Waits until processes are idle, so that what one does behind its answers (a checkpoint, a rewrite
 * of a log) is not paid for by the next one in turn. Resolves to the milliseconds waited.
 */
export async function settle(pids: readonly number[]): Promise<number> {
  const start = performance.now();
  let before = await cpuSeconds(pids);
  while (performance.now() - start < SETTLE_TIMEOUT_MS) {
    await delay(SETTLE_WINDOW_MS);
    const now = await cpuSeconds(pids);
    // Some ticks of a hundredth each: what idle event loops of ten programs may come to.
    if (now - before <= 0.05) break;
    before = now;
  }
  return performance.now() - start;
}
