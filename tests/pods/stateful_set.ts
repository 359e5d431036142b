/** The StatefulSet controller: Pods in order, each when all before it are ready. */
import { delay } from "@std/async/delay";
import { until } from "../e2e/program.ts";
import { type KubePod } from "./kubelet.ts";
import { type IStatefulSet, nameOf } from "./manifest.ts";

/** How often the controller looks (milliseconds). */
const LOOK_MS = 20;

/** How long a rollout may take (milliseconds): three servers on a machine that is busy. */
const ROLLOUT_PATIENCE_MS = 120_000;

/** What a {@link StatefulSetController} needs of its cluster. */
export interface ControllerOptions {
  /** Makes the Pod of an ordinal. */
  readonly create: (set: IStatefulSet, ordinal: number) => Promise<KubePod>;
  /** Awaited before each Pod is made: what scheduling and pulling the image take. */
  readonly beforeCreate: (name: string) => Promise<void>;
}

/** One StatefulSet with podManagementPolicy OrderedReady. */
export class StatefulSetController {
  readonly set: IStatefulSet;
  readonly #options: ControllerOptions;
  readonly #pods = new Map<number, KubePod>();
  readonly #running: Promise<void>;
  #replicas: number;
  #closed = false;
  /** Why a Pod could not be run. */
  #failure: unknown;

  constructor(set: IStatefulSet, options: ControllerOptions) {
    this.set = set;
    this.#options = options;
    this.#replicas = set.spec?.replicas ?? 1;
    this.#running = this.#run();
    this.#running.catch(() => {});
  }

  /** The Pods there are, in order. */
  get pods(): KubePod[] {
    return [...this.#pods].sort(([a], [b]) => a - b).map(([, pod]) => pod);
  }

  /** `kubectl scale`; does not wait. */
  scale(replicas: number): void {
    this.#replicas = replicas;
  }

  /**
   * `kubectl rollout status --timeout`: resolves when there are as many Pods as wanted, all ready.
   *
   * @throws {Error} If the controller or the kubelet failed, or it takes too long.
   */
  async settled(): Promise<void> {
    await until(`there are ${this.#replicas} Pods that are ready`, async () => {
      if (this.#closed) await this.#running;
      return this.#pods.size === this.#replicas && this.pods.every((pod) => isUp(pod)) || undefined;
    }, ROLLOUT_PATIENCE_MS);
  }

  /** `kubectl rollout restart`: each Pod anew, the last one first, the next when it is ready. */
  async restart(): Promise<void> {
    for (const pod of this.pods.reverse()) {
      await pod.terminate();
      await this.settled();
    }
  }

  /** Ends the controller; the Pods stay as they are. @throws {Error} If it failed before. */
  async stop(): Promise<void> {
    this.#closed = true;
    await this.#running;
  }

  /** `kubectl delete statefulset`: the garbage collector deletes all Pods at the same time. */
  async delete(): Promise<void> {
    await this.stop();
    await Promise.all(this.pods.map((pod) => pod.terminate()));
  }

  async #run(): Promise<void> {
    try {
      while (!this.#closed) {
        if (this.#failure !== undefined) throw this.#failure;
        await this.#step();
        await delay(LOOK_MS);
      }
    } finally {
      this.#closed = true;
    }
  }

  /** Takes the one step towards the wanted number of Pods that is due, if any. */
  async #step(): Promise<void> {
    const pods = this.pods;
    const last = pods.at(-1);
    if (last !== undefined && Math.max(...this.#pods.keys()) >= this.#replicas) {
      // The next one goes when this one has gone.
      await last.terminate();
      return;
    }
    for (let ordinal = 0; ordinal < this.#replicas; ordinal++) {
      const pod = this.#pods.get(ordinal);
      if (pod === undefined) return await this.#create(ordinal);
      if (!isUp(pod)) return;
    }
  }

  async #create(ordinal: number): Promise<void> {
    await this.#options.beforeCreate(`${nameOf(this.set)}-${ordinal}`);
    if (this.#closed || ordinal >= this.#replicas) return;
    const pod = await this.#options.create(this.set, ordinal);
    this.#pods.set(ordinal, pod);
    pod.gone.then(() => this.#pods.delete(ordinal), (error) => this.#failure = error);
  }
}

function isUp(pod: KubePod): boolean {
  return pod.ready && !pod.terminating;
}
