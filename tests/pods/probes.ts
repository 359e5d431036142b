/** The probes of one container, asked over HTTP at the Pod's address, as the kubelet does. */
import { delay } from "@std/async/delay";
import { type IContainer, required } from "./manifest.ts";

type Probe = NonNullable<IContainer["readinessProbe"]>;

/** What comes of the probes. */
export interface ProbeOptions {
  /** Probes begin when this has resolved. */
  readonly begin: Promise<void> | undefined;
  readonly onReady: (ready: boolean) => void;
  /** The startup or liveness probe has failed: the container has to end. */
  readonly onFailed: (which: "startup" | "liveness") => Promise<void>;
}

/** Asks from its creation to its disposal. */
export class Probes implements AsyncDisposable {
  /** Whether the container takes requests; a container without readiness probe does at once. */
  ready = false;
  readonly #address: string;
  readonly #container: IContainer;
  readonly #options: ProbeOptions;
  readonly #stop = new AbortController();
  readonly #running: Promise<unknown>;

  constructor(address: string, container: IContainer, options: ProbeOptions) {
    this.#address = address;
    this.#container = container;
    this.#options = options;
    this.#running = this.#run();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    this.ready = false;
    await this.#running;
  }

  async #run(): Promise<void> {
    await this.#options.begin;
    const { startupProbe, readinessProbe, livenessProbe } = this.#container;
    if (startupProbe !== undefined && !await this.#becomes(startupProbe, true)) {
      if (!this.#stop.signal.aborted) await this.#options.onFailed("startup");
      return;
    }
    await Promise.all([this.#readiness(readinessProbe), this.#liveness(livenessProbe)]);
  }

  async #readiness(probe: Probe | undefined): Promise<void> {
    while (!this.#stop.signal.aborted) {
      if (probe !== undefined && !await this.#turns(probe, true)) return;
      this.#setReady(true);
      if (probe === undefined || !await this.#turns(probe, false)) return;
      this.#setReady(false);
    }
  }

  #setReady(ready: boolean): void {
    this.ready = ready;
    this.#options.onReady(ready);
  }

  async #liveness(probe: Probe | undefined): Promise<void> {
    if (probe !== undefined && await this.#turns(probe, false)) {
      await this.#options.onFailed("liveness");
    }
  }

  /** Resolves to `true` once the probe has come out as `wanted`, `false` after too many others. */
  async #becomes(probe: Probe, wanted: boolean): Promise<boolean> {
    for (let tries = 0; tries < (probe.failureThreshold ?? 3); tries++) {
      if (await this.#ask(probe) === wanted) return !this.#stop.signal.aborted;
      if (!await this.#pause(probe)) return false;
    }
    return false;
  }

  /** Resolves to `true` once the probe came out as `wanted` often enough, `false` at the end. */
  async #turns(probe: Probe, wanted: boolean): Promise<boolean> {
    const enough = wanted ? probe.successThreshold ?? 1 : probe.failureThreshold ?? 3;
    for (let seen = 0; seen < enough;) {
      seen = await this.#ask(probe) === wanted ? seen + 1 : 0;
      if (this.#stop.signal.aborted) return false;
      if (seen < enough && !await this.#pause(probe)) return false;
    }
    return true;
  }

  async #pause({ periodSeconds = 10 }: Probe): Promise<boolean> {
    await delay(periodSeconds * 1000, { signal: this.#stop.signal }).catch(() => {});
    return !this.#stop.signal.aborted;
  }

  async #ask({ httpGet, timeoutSeconds = 1 }: Probe): Promise<boolean> {
    const { path, port } = required(httpGet, "httpGet of a probe");
    const url = `http://${this.#address}:${this.#portOf(port)}${path}`;
    try {
      const signal = AbortSignal.any([
        this.#stop.signal,
        AbortSignal.timeout(timeoutSeconds * 1000),
      ]);
      const response = await fetch(url, { signal, headers: { connection: "close" } });
      await response.body?.cancel();
      return response.ok;
    } catch {
      return false; // refused, reset, too late
    }
  }

  #portOf(port: string | number): number {
    if (typeof port === "number") return port;
    const named = this.#container.ports?.find(({ name }) => name === port);
    return required(named?.containerPort, `port ${port}`);
  }
}
