/** A Kubernetes in small, for one test: `kubectl` as methods, podman below, all of it gone at the end. */
import { join } from "@std/path";
import { TempDir, until } from "../e2e/program.ts";
import { NameServer } from "./dns.ts";
import { KubePod } from "./kubelet.ts";
import {
  type IPod,
  type IPodSpec,
  type IStatefulSet,
  type ManifestName,
  nameOf,
  readManifest,
  required,
  type Resource,
} from "./manifest.ts";
import { ContainerLog, podman, tryPodman } from "./podman.ts";
import { Rows } from "./rows.ts";
import { SEARCH_DOMAINS, Services } from "./services.ts";
import { StatefulSetController } from "./stateful_set.ts";
import { makeDisk } from "./volumes.ts";

/** A cluster that holds what was applied to it. */
export class KubeCluster implements AsyncDisposable {
  /** What happened, as `kubectl get events` tells it: seconds since the beginning, and what. */
  readonly events: string[] = [];
  readonly services: Services;
  /** Awaited before a Pod of a StatefulSet is created. */
  beforeCreate: (name: string) => Promise<void> = () => Promise.resolve();
  readonly #id: string;
  readonly #folder = new TempDir();
  readonly #gateway: string;
  readonly #begin = performance.now();
  readonly #pods = new Map<string, KubePod>();
  readonly #logs: ContainerLog[] = [];
  #nameServer: NameServer | undefined;
  #set: StatefulSetController | undefined;
  #count = 0;

  private constructor(id: string, gateway: string) {
    this.#id = id;
    this.#gateway = gateway;
    this.services = new Services(() => this.#livingPods(), gateway);
  }

  /** Makes a cluster; its network has a name that no other run uses. */
  static async open(): Promise<KubeCluster> {
    const id = `kvs-test-${crypto.randomUUID().slice(0, 8)}`;
    await podman("network", "create", "--disable-dns", id);
    const gateway = await podman(
      "network",
      "inspect",
      "--format",
      "{{range .Subnets}}{{.Gateway}}{{end}}",
      id,
    );
    const cluster = new KubeCluster(id, gateway);
    try {
      // The gateway has its address from the first Pod in the network on, so this one comes first.
      await podman("pod", "create", "--name", `${id}-node`, "--network", id);
      await podman("pod", "start", `${id}-node`);
      const resolve = (name: string) => cluster.services.resolve(name);
      cluster.#nameServer = await NameServer.listen(gateway, resolve);
      return cluster;
    } catch (error) {
      await cluster[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** `kubectl apply -f`. A Pod starts in the background; so do those of a StatefulSet. */
  async apply(name: ManifestName): Promise<void> {
    this.applyResources(await readManifest(name));
  }

  /** As {@link apply}, for what is not in a file. */
  applyResources(resources: readonly Resource[]): void {
    for (const resource of resources) {
      if (resource.kind === "Service") {
        this.services.apply(resource);
      } else if (resource.kind === "StatefulSet") {
        this.#set = new StatefulSetController(resource, {
          create: (set, ordinal) => this.#createOrdinal(set, ordinal),
          beforeCreate: (name) => this.beforeCreate(name),
        });
      } else if (resource.kind === "Pod") {
        this.#createPod(resource);
      }
    }
  }

  /** The StatefulSet. */
  get set(): StatefulSetController {
    return required(this.#set, "StatefulSet: none was applied");
  }

  /** A Pod by its name. */
  pod(name: string): KubePod {
    const found = [...this.#livingPods()].find((pod) => pod.name === name);
    return required(found, `Pod ${name}`);
  }

  /** `kubectl delete pod`, with `--wait`. */
  async deletePod(name: string): Promise<void> {
    const pod = this.pod(name);
    await pod.terminate();
    this.#pods.delete(name);
  }

  /** `kubectl delete statefulset`, with `--wait`. */
  async deleteSet(): Promise<void> {
    await this.set.delete();
    this.#set = undefined;
  }

  /** `kubectl logs -f` of a client. */
  async rows(name: string): Promise<Rows> {
    return new Rows(await this.log(name));
  }

  /** `kubectl logs -f`. */
  async log(name: string): Promise<ContainerLog> {
    const pod = this.pod(name);
    // The log of a container that does not run yet would end at once.
    await pod.started;
    const log = new ContainerLog(pod.container);
    this.#logs.push(log);
    return log;
  }

  /** Runs a one-shot Pod to its end; resolves to its exit code and what it printed. */
  async runToEnd(name: ManifestName): Promise<{ exitCode: number | undefined; lines: string[] }> {
    await this.apply(name);
    const podName = name.replace(".yaml", "");
    const log = await this.log(podName);
    const pod = this.pod(podName);
    await until(`${podName} has completed`, () => pod.completed || undefined);
    await log.ended();
    await this.deletePod(podName);
    return { exitCode: pod.lastEnd?.exitCode, lines: log.lines };
  }

  /** The addresses of a name as a Pod of this cluster would find them. */
  resolve(name: string): readonly string[] | undefined {
    return this.services.resolve(`${name}.${SEARCH_DOMAINS[0]}`);
  }

  /** The status and body that a name answers, asked from outside of the Pods; `undefined`: none. */
  async get(name: string, path: string): Promise<{ status: number; body: string } | undefined> {
    const address = this.resolve(name)?.[0];
    if (address === undefined) return undefined;
    try {
      const response = await fetch(`http://${address}${path}`, {
        headers: { connection: "close" },
        signal: AbortSignal.timeout(2000),
      });
      return { status: response.status, body: await response.text() };
    } catch {
      return undefined;
    }
  }

  /** Takes away all of it, however the test went. */
  async [Symbol.asyncDispose](): Promise<void> {
    for (const log of this.#logs) await log[Symbol.asyncDispose]();
    await this.#set?.stop().catch(() => {});
    await Promise.all([...this.#livingPods()].map((pod) => pod.vanish().catch(() => {})));
    await this.services[Symbol.asyncDispose]();
    await this.#nameServer?.[Symbol.asyncDispose]();
    // What a failure in the middle may have left behind.
    const left = await tryPodman(
      "pod",
      "ps",
      "--filter",
      `name=^${this.#id}`,
      "--format",
      "{{.Name}}",
    );
    for (const pod of left?.split("\n") ?? []) {
      if (pod !== "") await tryPodman("pod", "rm", "--force", "--time", "0", pod);
    }
    await tryPodman("network", "rm", "--force", this.#id);
    await this.#folder[Symbol.asyncDispose]();
  }

  *#livingPods(): Iterable<KubePod> {
    yield* this.#pods.values();
    yield* this.#set?.pods ?? [];
  }

  #createPod(resource: IPod): void {
    const name = nameOf(resource);
    const spec = required(resource.spec, "spec of a Pod");
    this.#pods.set(name, this.#start(name, spec, { labels: resource.metadata?.labels ?? {} }));
  }

  async #createOrdinal(set: IStatefulSet, ordinal: number): Promise<KubePod> {
    const name = `${nameOf(set)}-${ordinal}`;
    const claims = new Map<string, string>();
    for (const template of set.spec?.volumeClaimTemplates ?? []) {
      const volume = required(template.metadata?.name, "name of a volumeClaimTemplate");
      const path = join(this.#folder.path, "claims", `${volume}-${name}`);
      // A claim that is there keeps its volume, and its data.
      await Deno.stat(path).catch(() => makeDisk(path));
      claims.set(volume, path);
    }
    const template = required(set.spec?.template, "template of a StatefulSet");
    return this.#start(name, required(template.spec, "spec of a template"), {
      labels: template.metadata?.labels ?? {},
      subdomain: set.spec?.serviceName,
      claims,
    });
  }

  #start(
    name: string,
    spec: IPodSpec,
    { labels, subdomain, claims = new Map() }: {
      labels: Record<string, string>;
      subdomain?: string | undefined;
      claims?: Map<string, string>;
    },
  ): KubePod {
    const id = `${this.#id}-${name}-${this.#count++}`;
    // deno-fmt-ignore
    const network = ["--network", this.#id, "--dns", this.#gateway, "--dns-opt", "ndots:5",
      ...SEARCH_DOMAINS.flatMap((domain) => ["--dns-search", domain])];
    const pod = new KubePod({
      name,
      id,
      spec,
      labels,
      subdomain,
      network,
      folder: join(this.#folder.path, id),
      claims,
      onEvent: (what) => {
        const seconds = ((performance.now() - this.#begin) / 1000).toFixed(1).padStart(6);
        this.events.push(`${seconds} ${name}: ${what}`);
      },
    });
    return pod;
  }
}
