/** One Pod, and what the kubelet does for it: volumes, hooks, probes, restarts, a grace period. */
import { delay } from "@std/async/delay";
import { until } from "../e2e/program.ts";
import { containerOf, type IPodSpec, required } from "./manifest.ts";
import { podman, tryPodman } from "./podman.ts";
import { containerOptions, podOptions } from "./security.ts";
import { PodVolumes } from "./volumes.ts";
import { Probes } from "./probes.ts";

/** What a Pod is made with. */
export interface PodOptions {
  /** Its name in the cluster, which is also its host name. */
  readonly name: string;
  /** Name of podman's pod: nothing else on this machine has it. */
  readonly id: string;
  readonly spec: IPodSpec;
  readonly labels: Readonly<Record<string, string>>;
  /** The headless Service that names it. */
  readonly subdomain?: string | undefined;
  /** Options of `podman pod create` for network and DNS. */
  readonly network: readonly string[];
  /** Where volumes that live as long as the Pod are made. */
  readonly folder: string;
  /** Folders of the claims, by the name of the volume. */
  readonly claims: ReadonlyMap<string, string>;
  /** Takes what happens to the Pod, as `kubectl get events` would tell it. */
  readonly onEvent: (what: string) => void;
}

/** What Kubernetes grants where the manifest does not say. */
const DEFAULT_GRACE_SECONDS = 30;

/** How the only container of a Pod ended. */
export interface Ended {
  readonly exitCode: number;
}

/** A Pod from its creation to its end. */
export class KubePod {
  readonly options: PodOptions;
  /** Rejects where the kubelet could not do its work. */
  readonly gone: Promise<void>;
  /** Published as soon as there is one. */
  ip: string | undefined;
  /** How often the container was started again. */
  restarts = 0;
  /** How the last container ended. */
  lastEnd: Ended | undefined;
  /** Whether it is over (restartPolicy Never) though the Pod is still there. */
  completed = false;
  #volumes: PodVolumes | undefined;
  #probes: Probes | undefined;
  #terminating = false;
  #container = 0;
  #termination: Promise<void> | undefined;
  readonly #started = Promise.withResolvers<void>();
  readonly #goneResolvers = Promise.withResolvers<void>();

  constructor(options: PodOptions) {
    this.options = options;
    this.gone = this.#goneResolvers.promise;
    // Whoever waits for the end learns of a failure; until then it must not count as unhandled.
    this.gone.catch(() => {});
    this.#live().catch((error) => {
      this.#started.reject(error);
      this.#goneResolvers.reject(error);
    });
    this.#started.promise.catch(() => {});
  }

  get name(): string {
    return this.options.name;
  }

  /** Resolves when the first container runs. */
  get started(): Promise<void> {
    return this.#started.promise;
  }

  /** Whether the readiness probe has succeeded. */
  get ready(): boolean {
    return this.#probes?.ready === true && !this.completed;
  }

  /** Whether it has been deleted and is on its way to its end. */
  get terminating(): boolean {
    return this.#terminating;
  }

  /** Podman's name of the container that runs now. */
  get container(): string {
    return `${this.options.id}-${this.#container}`;
  }

  /** The folder of the host behind a volume. */
  volume(name: string): string {
    return required(this.#volumes, "volumes of a Pod that has started").path(name);
  }

  /**
   * Deletes the Pod: preStop, SIGTERM, and SIGKILL when the grace period, which began with preStop,
   * is over. Resolves when it has gone.
   */
  terminate(): Promise<void> {
    this.#termination ??= this.#terminate();
    return this.#termination;
  }

  /** The node is lost: the Pod ends at this moment, no hook is called and no signal is sent. */
  async vanish(): Promise<void> {
    this.#terminating = true;
    await tryPodman("kill", "--signal", "KILL", this.container);
    this.#termination = this.#remove();
    await this.#termination;
  }

  /** Ends the container at this moment, as the kernel does when memory runs out. */
  async kill(): Promise<void> {
    await podman("kill", "--signal", "KILL", this.container);
  }

  /** Runs a program in the container; resolves to what it prints. @throws {Error} If it fails. */
  async exec(...command: string[]): Promise<string> {
    return await podman("exec", this.container, ...command);
  }

  /** The id of the container's process on this machine. */
  async pid(): Promise<number> {
    return Number(await podman("inspect", "--format", "{{.State.Pid}}", this.container));
  }

  async #live(): Promise<void> {
    const { spec, id, name, folder, claims, network } = this.options;
    this.#volumes = await PodVolumes.prepare(spec, folder, claims);
    const infra = `${id}-infra`;
    // deno-fmt-ignore
    await podman("pod", "create", "--name", id, "--infra-name", infra, "--hostname", name,
      ...network, ...podOptions(spec));
    await podman("pod", "start", id);
    const address = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}";
    this.ip = await podman("inspect", "--format", address, infra);
    this.options.onEvent(`has the address ${this.ip}`);
    // Also where it has been deleted meanwhile: it is ended in order then, hook and all.
    for (;;) {
      await this.#runContainer();
      if (this.#terminating) return;
      this.options.onEvent(`container ended with ${this.lastEnd?.exitCode}`);
      if (spec.restartPolicy === "Never") {
        this.completed = true;
        return;
      }
      // The kubelet restarts at once, and backs off from the second time on.
      if (this.restarts++ > 0) await delay(1000);
    }
  }

  /** Runs one container to its end, with postStart and the probes beside it. */
  async #runContainer(): Promise<void> {
    const { spec, id } = this.options;
    const { volumeMounts = [], lifecycle } = containerOf(spec);
    const { options, command } = containerOptions(spec);
    for (const { name, mountPath } of volumeMounts) {
      options.push("-v", `${this.volume(name)}:${mountPath}`);
    }
    this.#container++;
    this.lastEnd = undefined;
    await podman("run", "--detach", "--pod", id, "--name", this.container, ...options, ...command);
    this.options.onEvent("container started");
    const container = this.container;
    const postStart = lifecycle?.postStart?.exec?.command;
    const hook = postStart === undefined ? undefined : this.#postStart(postStart);
    const probes = new Probes(required(this.ip, "address"), containerOf(spec), {
      // A Pod is not ready before its postStart hook has ended.
      begin: hook,
      onReady: (ready) => this.options.onEvent(ready ? "ready" : "not ready"),
      onFailed: async (which) => {
        this.options.onEvent(`${which} probe failed`);
        await tryPodman("kill", "--signal", "KILL", container);
      },
    });
    this.#probes = probes;
    this.#started.resolve();
    // A container that was removed with its Pod has no exit code any more.
    const exitCode = Number(await tryPodman("wait", "--interval", "50ms", container) ?? -1);
    this.lastEnd = { exitCode };
    this.#probes = undefined;
    await probes[Symbol.asyncDispose]();
    await hook;
  }

  async #postStart(command: readonly string[]): Promise<void> {
    const container = this.container;
    // As the kubelet: a container whose postStart fails is ended and started again.
    if (!await this.#hook("postStart", command)) {
      await tryPodman("kill", "--signal", "KILL", container);
    }
  }

  async #hook(name: string, command: readonly string[]): Promise<boolean> {
    try {
      this.options.onEvent(`${name}: ${await this.exec(...command)}`);
      return true;
    } catch (error) {
      this.options.onEvent(`${name} failed: ${error instanceof Error ? error.message : error}`);
      return false;
    }
  }

  async #terminate(): Promise<void> {
    const { spec } = this.options;
    this.#terminating = true;
    this.options.onEvent("terminating");
    await this.#started.promise;
    const graceMs = (spec.terminationGracePeriodSeconds ?? DEFAULT_GRACE_SECONDS) * 1000;
    const end = performance.now() + graceMs;
    if (!this.completed) {
      const preStop = containerOf(spec).lifecycle?.preStop?.exec?.command;
      if (preStop !== undefined) {
        await withinMs(end - performance.now(), this.#hook("preStop", preStop));
      }
      this.options.onEvent("SIGTERM");
      await tryPodman("kill", "--signal", "TERM", this.container);
      const ended = until("the container ends", () => this.lastEnd, graceMs + 60_000);
      if (await withinMs(end - performance.now(), ended) === undefined) {
        this.options.onEvent("SIGKILL");
        await tryPodman("kill", "--signal", "KILL", this.container);
        await ended;
      }
      this.options.onEvent(`container ended with ${this.lastEnd?.exitCode}`);
    }
    await this.#remove();
  }

  async #remove(): Promise<void> {
    this.ip = undefined;
    await podman("pod", "rm", "--force", "--time", "0", this.options.id);
    await this.#volumes?.release();
    this.options.onEvent("gone");
    this.#goneResolvers.resolve();
  }
}

/** What `promise` resolves to, or `undefined` if it takes longer. */
async function withinMs<T>(ms: number, promise: Promise<T>): Promise<T | undefined> {
  const late = new AbortController();
  const timer = delay(Math.max(0, ms), { signal: late.signal }).then(
    () => undefined,
    () => undefined,
  );
  try {
    return await Promise.race([promise, timer]);
  } finally {
    late.abort();
  }
}
