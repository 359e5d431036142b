/**
 * One Pod of the cluster on one machine: a server process with a stable name, address and volume. It also does the
 * work of the kubelet: hooks, readiness, restarts with back-off, a grace period.
 */
import { delay } from "@std/async/delay";
import { type Access } from "../access.ts";
import { messageOf, RemoteError } from "../errors.ts";
import { Remote } from "../client/remote.ts";
import { accessVariables, Child, PARENT_PIPE, runProgram } from "./child.ts";
import { type ServerAddress } from "../client/server_list.ts";

/** What a Pod is doing, in the words of `kubectl get pods`. */
export type PodState = "Pending" | "Running" | "Ready" | "Terminating";

/** What a Pod is started with. */
export interface PodSpec {
  /** Its stable name, for example `server-0`. */
  readonly name: string;
  /** The address that the server is told to listen on. */
  readonly host: string;
  readonly port: number;
  /** How the server is reached. */
  readonly server: ServerAddress;
  /** The volume: a folder that outlives the Pod; made if it is missing. */
  readonly dataDir: string;
  /** From the beginning of the prestop hook to SIGKILL (ms; terminationGracePeriodSeconds). */
  readonly graceMs: number;
  /** How long the server answers 503 after SIGTERM (ms). */
  readonly drainMs: number;
  /** Holds the token that the server is to ask for, if any. */
  readonly access: Access;
}

/** What happens to a Pod. */
export type PodEvent =
  | { readonly kind: "started"; readonly name: string; readonly pid: number }
  | { readonly kind: "ready"; readonly name: string; readonly address: string }
  | { readonly kind: "unready"; readonly name: string }
  | {
    readonly kind: "died";
    readonly name: string;
    readonly why: string;
    /** When it is started again. */
    readonly backOffMs: number;
    readonly wasReady: boolean;
  }
  | { readonly kind: "terminating"; readonly name: string }
  | { readonly kind: "stopped"; readonly name: string; readonly killed: boolean }
  /** What went wrong in a hook. */
  | { readonly kind: "warning"; readonly name: string; readonly line: string }
  /** A line that the server wrote. */
  | { readonly kind: "log"; readonly name: string; readonly line: string };

/** Time from one readiness probe to the next, before and after the Pod is ready (periodSeconds). */
const UNREADY_PERIOD_MS = 50;
const READY_PERIOD_MS = 1000;

/** How long the readiness probe waits for an answer (timeoutSeconds). */
const PROBE_TIMEOUT_MS = 1000;

/**
 * The kubelet's CrashLoopBackOff in small: the first restart comes at once, the next after `first`, and each further
 * wait is twice as long, up to `max`. A server that ran for `forgetAfter` starts over.
 */
const BACK_OFF_MS = { first: 500, max: 10_000, forgetAfter: 10_000 };

/** A Pod, from its creation to the end of its termination. The next Pod of the same name is a new object. */
export class Pod {
  readonly spec: PodSpec;
  /** Resolves when the Pod was terminated and its last process has ended. */
  readonly gone: Promise<void>;
  readonly #onEvent: (event: PodEvent) => void;
  readonly #remote: Remote;
  readonly #end = new AbortController();
  readonly #kill = new AbortController();
  #child: Child | undefined;
  #hook: Promise<boolean> = Promise.resolve(true);
  #ready = false;
  #restarts = 0;

  /** Creates the Pod and starts its server. */
  constructor(spec: PodSpec, onEvent: (event: PodEvent) => void) {
    this.spec = spec;
    this.#onEvent = onEvent;
    this.#remote = new Remote(spec.server, {
      timeoutMs: PROBE_TIMEOUT_MS,
      access: spec.access,
    });
    this.gone = this.#live();
  }

  get state(): PodState {
    if (this.#end.signal.aborted) return "Terminating";
    if (this.#child === undefined) return "Pending";
    return this.#ready ? "Ready" : "Running";
  }

  /** The process id of the server, `undefined` while none runs. */
  get pid(): number | undefined {
    return this.#child?.pid;
  }

  /** How many times the server died and was started again. */
  get restarts(): number {
    return this.#restarts;
  }

  /**
   * Ends the Pod as Kubernetes does: prestop hook, SIGTERM, SIGKILL after the grace period, which begins with the
   * hook. Resolves when the Pod has gone.
   */
  async terminate(): Promise<void> {
    if (!this.#end.signal.aborted) {
      this.#end.abort();
      this.#onEvent({ kind: "terminating", name: this.spec.name });
      await this.#stopServer();
    }
    await this.gone;
  }

  /** Ends the Pod at once with SIGKILL, hooks included. */
  kill(): void {
    this.#end.abort();
    this.#kill.abort();
    this.#child?.signal("SIGKILL");
  }

  /** One server process after the other, never two at a time, until the Pod is terminated. */
  async #live(): Promise<void> {
    const { name } = this.spec;
    let backOffMs = 0;
    let killed = false;
    while (!this.#end.signal.aborted) {
      const startedAt = performance.now();
      const end = await this.#serve();
      killed = end.killed;
      if (this.#end.signal.aborted) break;
      if (performance.now() - startedAt > BACK_OFF_MS.forgetAfter) backOffMs = 0;
      const wasReady = this.#ready;
      this.#ready = false;
      this.#restarts++;
      this.#onEvent({ kind: "died", name, why: end.why, backOffMs, wasReady });
      // The signal ends the wait, so that a Pod that backs off can be terminated at once.
      await delay(backOffMs, { signal: this.#end.signal }).catch(() => {});
      backOffMs = Math.min(Math.max(backOffMs * 2, BACK_OFF_MS.first), BACK_OFF_MS.max);
    }
    this.#onEvent({ kind: "stopped", name, killed });
  }

  /** Runs one server process, with the poststart hook and the readiness probe beside it. */
  async #serve(): Promise<{ why: string; killed: boolean }> {
    const { name, host, port, dataDir, drainMs, access } = this.spec;
    let lastLine = "";
    const onLine = (line: string) => {
      lastLine = line;
      this.#onEvent({ kind: "log", name, line });
    };
    const ended = new AbortController();
    try {
      await Deno.mkdir(dataDir, { recursive: true, mode: 0o700 });
      // Nobody would stop a server that is started after the termination.
      if (this.#end.signal.aborted) return { why: "terminated", killed: false };
      const child = new Child(
        ["server", `${port}`, dataDir, "--host", host, "--drain", `${drainMs / 1000}`],
        { onLine, env: { [PARENT_PIPE]: "1", ...accessVariables(access) } },
      );
      this.#child = child;
      this.#onEvent({ kind: "started", name, pid: child.pid });
      if (this.#kill.signal.aborted) child.signal("SIGKILL");
      this.#hook = this.#poststart(child, onLine);
      const probing = this.#probe(AbortSignal.any([ended.signal, this.#end.signal]));
      const status = await child.ended;
      ended.abort();
      await Promise.all([this.#hook, probing]);
      const how = status.signal === null ? `exit code ${status.code}` : `${status.signal}`;
      const why = this.#ready || lastLine === "" ? how : lastLine;
      return { why, killed: status.signal === "SIGKILL" };
    } catch (error) {
      // Without a volume or a process it is the same as a server that could not start.
      return { why: messageOf(error), killed: false };
    } finally {
      this.#child = undefined;
    }
  }

  /** Runs the hook beside the server's start; never rejects. */
  async #poststart(child: Child, onLine: (line: string) => void): Promise<boolean> {
    const failure = await runHook("poststart", this.spec.dataDir, this.#kill.signal);
    if (failure === undefined) return true;
    onLine(failure);
    // As the kubelet does: a container whose postStart hook fails is killed.
    child.signal("SIGKILL");
    return false;
  }

  /** Keeps `#ready` up to date until `signal`; the Pod is not ready before its hook has ended. */
  async #probe(signal: AbortSignal): Promise<void> {
    if (!await this.#hook) return;
    const { name, server } = this.spec;
    while (!signal.aborted) {
      const ready = await this.#isReady();
      if (signal.aborted) return;
      if (ready !== this.#ready) {
        this.#ready = ready;
        this.#onEvent(
          ready ? { kind: "ready", name, address: server.name } : { kind: "unready", name },
        );
      }
      await delay(ready ? READY_PERIOD_MS : UNREADY_PERIOD_MS, { signal }).catch(() => {});
    }
  }

  async #isReady(): Promise<boolean> {
    try {
      return (await this.#remote.request("/readyz")).status === 200;
    } catch (error) {
      if (error instanceof RemoteError) return false;
      throw error;
    }
  }

  async #stopServer(): Promise<void> {
    const child = this.#child;
    if (child === undefined) return;
    const grace = new AbortController();
    const timer = setTimeout(() => {
      grace.abort();
      child.signal("SIGKILL");
    }, this.spec.graceMs);
    try {
      const hooks = AbortSignal.any([grace.signal, this.#kill.signal]);
      // The poststart hook has to end first, because it removes the marker that prestop makes.
      await this.#hook;
      const { name, dataDir } = this.spec;
      const failure = await runHook("prestop", dataDir, hooks);
      // As the kubelet does: the failure is told, and the server is stopped all the same.
      if (failure !== undefined && !this.#kill.signal.aborted) {
        this.#onEvent({ kind: "warning", name, line: failure });
      }
      child.signal("SIGTERM");
      await child.ended;
    } finally {
      clearTimeout(timer);
    }
  }
}

/** Runs a lifecycle hook; resolves to why it failed, `undefined` if it did not. Never rejects. */
async function runHook(
  hook: "prestop" | "poststart",
  dataDir: string,
  signal: AbortSignal,
): Promise<string | undefined> {
  try {
    const { status, stderr } = await runProgram(["lifecycle", hook, dataDir], signal);
    if (status.success) return undefined;
    return `${hook} failed: ${signal.aborted ? "it took too long" : stderr.join("; ")}`;
  } catch (error) {
    return `${hook} failed: ${messageOf(error)}`;
  }
}
