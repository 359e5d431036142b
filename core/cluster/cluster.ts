/**
 * The StatefulSet in small: keeps a number of Pods on one machine. It creates them in order, each with a stable name,
 * address and volume, takes them away in reverse order, and replaces each Pod that was deleted.
 */
import { join } from "@std/path";
import { type Access, OPEN_ACCESS } from "../access.ts";
import { findFreePort, isPortFree, reachableHost } from "./ports.ts";
import { Pod, type PodEvent, type PodState } from "./pod.ts";
import { RemoteError, StartError } from "../errors.ts";
import { Remote } from "../client/remote.ts";
import { parseServerList, type ServerAddress } from "../client/server_list.ts";

/** What a {@link Cluster} is made with. */
export interface ClusterOptions {
  /** The address that the servers listen on. */
  readonly host: string;
  /** server-N listens on this plus N; 0 finds a free port for each server, which the server then keeps. */
  readonly port: number;
  /** server-N keeps its data in the folder server-N in here. */
  readonly dataDir: string;
  /** From the prestop hook to SIGKILL (milliseconds). */
  readonly graceMs: number;
  /** How long a server answers 503 after SIGTERM (milliseconds). */
  readonly drainMs: number;
  /** The token that the servers ask for, if any. */
  readonly access?: Access;
  readonly onEvent: (event: PodEvent) => void;
  /** Awaited before a Pod is created. Stands for scheduling and pulling the image on Kubernetes. */
  readonly beforeCreate?: (name: string) => Promise<void>;
}

/** What is known of a Pod without a request to its server. */
export interface PodStatus {
  readonly name: string;
  readonly server: ServerAddress;
  readonly state: PodState;
  readonly pid: number | undefined;
  readonly restarts: number;
}

/** A line of `list`. */
export interface PodReport extends PodStatus {
  /** How many keys the server lists, `undefined` if it does not answer. */
  readonly keys: number | undefined;
}

/** How long a server may take to list its keys (milliseconds). */
const LIST_TIMEOUT_MS = 2000;

/** The stable name of a Pod. */
export function podName(ordinal: number): string {
  return `server-${ordinal}`;
}

/** A StatefulSet on this machine. It has no Pods until {@link Cluster.scaleTo}. */
export class Cluster {
  readonly #options: ClusterOptions;
  readonly #pods = new Map<number, Pod>();
  readonly #servers = new Map<number, ServerAddress>();
  #replicas = 0;
  /** Counts the calls that set `#replicas`, so that an older call learns of a newer one. */
  #generation = 0;
  #creating = false;
  #closed = false;
  #failure: string | undefined;
  #changed = Promise.withResolvers<void>();
  #reconciling = false;

  constructor(options: ClusterOptions) {
    this.#options = options;
  }

  /** How many Pods there should be. */
  get replicas(): number {
    return this.#replicas;
  }

  /** The first `count` servers, whether they run or not, since their addresses are stable. */
  servers(count: number = this.#replicas): readonly ServerAddress[] {
    return Array.from({ length: count }, (_, ordinal) => this.#server(ordinal));
  }

  /** The first `count` servers as a list for `kvs client` and `kvs rebalance`. */
  serverList(count: number): string {
    return this.servers(count).map(({ name }) => name).join(",");
  }

  /**
   * Brings up the first Pods; resolves when all are ready, or when {@link stop} came first.
   *
   * @throws {StartError} If a port is taken, or a server ends before it ever was ready. Other servers may run then,
   * so {@link stop} has to be called.
   */
  async start(replicas: number): Promise<void> {
    const { host, port } = this.#options;
    for (let ordinal = 0; port !== 0 && ordinal < replicas; ordinal++) {
      if (!isPortFree(host, port + ordinal)) {
        const where = `${host}:${port + ordinal}`;
        throw new StartError(
          `Cannot start ${podName(ordinal)}: ${where} is taken by another program`,
        );
      }
    }
    this.#failure = undefined;
    this.#wantReplicas(replicas);
    await this.#until(() => this.#isSettled() || this.#failure !== undefined);
    if (this.#failure !== undefined) throw new StartError(this.#failure);
  }

  /**
   * Sets how many Pods there should be. Missing Pods are created in order, each when all before it are ready; surplus
   * Pods are terminated one at a time, the last one first. Resolves to `true` when the number is reached, to `false`
   * if another number was asked for meanwhile.
   */
  async scaleTo(replicas: number): Promise<boolean> {
    const generation = this.#wantReplicas(replicas);
    await this.#until(() => this.#generation !== generation || this.#isSettled());
    return this.#generation === generation && !this.#closed;
  }

  /** Resolves when there are as many Pods as wanted and all are ready, or when the cluster is stopping. */
  async settled(): Promise<void> {
    await this.#until(() => this.#isSettled());
  }

  /**
   * Deletes a Pod, as `kubectl delete pod`: it is terminated, and a new Pod takes its place. Resolves when the old
   * Pod has gone, to `false` if there is no such Pod.
   */
  async delete(name: string): Promise<boolean> {
    const pod = [...this.#pods.values()].find(({ spec }) => spec.name === name);
    if (pod === undefined) return false;
    await pod.terminate();
    return true;
  }

  /** Deletes the whole set, as `kubectl delete statefulset`: all Pods at the same time. */
  async deleteAll(): Promise<void> {
    this.#wantReplicas(0);
    await Promise.all([...this.#pods.values()].map((pod) => pod.terminate()));
  }

  /** The Pods there are, in order. */
  pods(): PodStatus[] {
    return this.#ordered().map(({ spec: { name, server }, state, pid, restarts }) => ({
      name,
      server,
      state,
      pid,
      restarts,
    }));
  }

  /** The Pods there are, in order, with their keys. */
  async list(): Promise<PodReport[]> {
    return await Promise.all(
      this.pods().map(async (pod) => ({
        ...pod,
        keys: await countKeys(pod.server, this.access),
      })),
    );
  }

  /** Holds the token that the servers ask for, if any. */
  get access(): Access {
    return this.#options.access ?? OPEN_ACCESS;
  }

  /** Terminates all Pods for good, one after the other, the last one first. */
  async stop(): Promise<void> {
    this.#close();
    for (const pod of this.#ordered().reverse()) await pod.terminate();
  }

  /** Ends all processes at once with SIGKILL; {@link stop} then resolves when they have gone. */
  kill(): void {
    this.#close();
    for (const pod of this.#pods.values()) pod.kill();
  }

  #close(): void {
    this.#closed = true;
    this.#wake();
  }

  /** @throws {StartError} If no free port is left. */
  #wantReplicas(replicas: number): number {
    // Addresses come before Pods, so that the caller is told what is wrong with one.
    this.servers(replicas);
    this.#replicas = replicas;
    this.#generation++;
    this.#wake();
    return this.#generation;
  }

  #server(ordinal: number): ServerAddress {
    let server = this.#servers.get(ordinal);
    if (server === undefined) {
      const { host, port } = this.#options;
      const ownPort = port === 0 ? findFreePort(host) : port + ordinal;
      server = parseServerList(`${reachableHost(host)}:${ownPort}`, podName(ordinal))[0];
      if (server === undefined) throw new RangeError("A server list of one has no server");
      this.#servers.set(ordinal, server);
    }
    return server;
  }

  #ordered(): Pod[] {
    return [...this.#pods].sort(([a], [b]) => a - b).map(([, pod]) => pod);
  }

  #isSettled(): boolean {
    return this.#pods.size === this.#replicas && !this.#creating &&
      [...this.#pods.values()].every(({ state }) => state === "Ready");
  }

  /** Resolves when `condition` holds, which is evaluated after every change, or when the cluster stops. */
  async #until(condition: () => boolean): Promise<void> {
    while (!condition() && !this.#closed) await this.#changed.promise;
  }

  /** Wakes the waiting calls after a change and takes the next step, once for many changes. */
  #wake(): void {
    this.#changed.resolve();
    this.#changed = Promise.withResolvers();
    if (this.#reconciling) return;
    this.#reconciling = true;
    queueMicrotask(() => {
      this.#reconciling = false;
      this.#reconcile();
    });
  }

  /** Takes the next step towards the wanted number of Pods, if one is due. */
  #reconcile(): void {
    if (this.#closed) return;
    const last = Math.max(-1, ...this.#pods.keys());
    if (last >= this.#replicas) {
      void this.#pods.get(last)?.terminate();
      return;
    }
    for (let ordinal = 0; ordinal < this.#replicas; ordinal++) {
      const pod = this.#pods.get(ordinal);
      if (pod === undefined) {
        if (!this.#creating) void this.#create(ordinal);
        return;
      }
      if (pod.state !== "Ready") return;
    }
  }

  async #create(ordinal: number): Promise<void> {
    this.#creating = true;
    await this.#options.beforeCreate?.(podName(ordinal));
    this.#creating = false;
    // The cluster may have been stopped or scaled meanwhile.
    if (!this.#closed && ordinal < this.#replicas) this.#add(ordinal);
    this.#wake();
  }

  #add(ordinal: number): void {
    const { host, dataDir, graceMs, drainMs } = this.#options;
    const name = podName(ordinal);
    const server = this.#server(ordinal);
    const pod = new Pod({
      name,
      host,
      port: Number(new URL(server.origin).port || 80),
      server,
      dataDir: join(dataDir, name),
      graceMs,
      drainMs,
      access: this.access,
    }, (event) => {
      if (event.kind === "died" && !event.wasReady) {
        this.#failure ??= `Cannot start ${event.name}: ${event.why}`;
      }
      this.#options.onEvent(event);
      this.#wake();
    });
    this.#pods.set(ordinal, pod);
    void pod.gone.then(() => {
      this.#pods.delete(ordinal);
      this.#wake();
    });
  }
}

async function countKeys(server: ServerAddress, access: Access): Promise<number | undefined> {
  try {
    return (await new Remote(server, { timeoutMs: LIST_TIMEOUT_MS, access }).allKeys()).length;
  } catch (error) {
    if (error instanceof RemoteError) return undefined;
    throw error;
  }
}
