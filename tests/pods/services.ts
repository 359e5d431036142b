/** What the Services of a cluster publish: names in its DNS, and addresses behind a name. */
import { type IService, nameOf, required } from "./manifest.ts";
import { type KubePod } from "./kubelet.ts";

/** What follows the name of a Service. */
const DOMAIN = "default.svc.cluster.local";

/** The domains that the kubelet lets a Pod search. */
export const SEARCH_DOMAINS: readonly string[] = [DOMAIN, "svc.cluster.local", "cluster.local"];

/** The Services of a cluster, and the Pods that they choose from. */
export class Services implements AsyncDisposable {
  readonly #services = new Map<string, IService>();
  readonly #pods: () => Iterable<KubePod>;
  readonly #gateway: string;
  readonly #proxies = new Map<string, ServiceProxy>();

  /** @param gateway This machine's address in the Pods' network, where cluster IPs are served. */
  constructor(pods: () => Iterable<KubePod>, gateway: string) {
    this.#pods = pods;
    this.#gateway = gateway;
  }

  /** Creates or replaces a Service. */
  apply(service: IService): void {
    const name = nameOf(service);
    this.#services.set(name, service);
    if (service.spec?.clusterIP === "None" || this.#proxies.has(name)) return;
    if (this.#proxies.size > 0) throw new TypeError("One Service with a cluster IP is played here");
    this.#proxies.set(name, new ServiceProxy(this.#gateway, service, () => this.endpoints(name)));
  }

  /** The Pods that a Service publishes now. */
  endpoints(name: string): KubePod[] {
    const spec = required(this.#services.get(name), `Service ${name}`).spec;
    const selector = Object.entries(spec?.selector ?? {});
    return [...this.#pods()].filter((pod) =>
      pod.ip !== undefined && !pod.completed &&
      selector.every(([label, value]) => pod.options.labels[label] === value) &&
      // The rule of the EndpointSlice controller: a Pod that terminates is not ready.
      (spec?.publishNotReadyAddresses === true || (pod.ready && !pod.terminating))
    );
  }

  /** The addresses of a name as DNS gives them, `undefined` if there is no such name. */
  resolve(fullName: string): readonly string[] | undefined {
    if (!fullName.endsWith(`.${DOMAIN}`)) return undefined;
    const labels = fullName.slice(0, -DOMAIN.length - 1).split(".");
    const service = labels.pop() ?? "";
    const [host, ...more] = labels;
    const spec = this.#services.get(service)?.spec;
    if (spec === undefined || more.length > 0) return undefined;
    if (spec.clusterIP !== "None") return host === undefined ? [this.#gateway] : undefined;
    const published = this.endpoints(service);
    if (host === undefined) return published.map(({ ip }) => required(ip, "address"));
    const pod = published.find(({ name, options }) =>
      name === host && options.subdomain === service
    );
    return pod?.ip === undefined ? undefined : [pod.ip];
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const proxy of this.#proxies.values()) await proxy[Symbol.asyncDispose]();
  }
}

/** kube-proxy in small: hands each connection to a cluster IP on to one of the endpoints. */
class ServiceProxy implements AsyncDisposable {
  readonly #listener: Deno.TcpListener;
  readonly #endpoints: () => KubePod[];
  readonly #port: number;
  readonly #serving: Promise<void>;
  #turn = 0;

  constructor(hostname: string, service: IService, endpoints: () => KubePod[]) {
    this.#port = required(service.spec?.ports?.[0]?.port, "port of a Service");
    this.#endpoints = endpoints;
    this.#listener = Deno.listen({ hostname, port: this.#port });
    this.#serving = this.#serve();
  }

  async #serve(): Promise<void> {
    const open = new Set<Promise<void>>();
    for await (const connection of this.#listener) {
      const handed = this.#handOn(connection).finally(() => open.delete(handed));
      open.add(handed);
    }
    await Promise.all(open);
  }

  async #handOn(client: Deno.TcpConn): Promise<void> {
    const endpoints = this.#endpoints();
    const ip = endpoints[this.#turn++ % Math.max(1, endpoints.length)]?.ip;
    if (ip === undefined) return client.close(); // nobody is ready: refused
    try {
      const server = await Deno.connect({ hostname: ip, port: this.#port });
      await Promise.all([
        client.readable.pipeTo(server.writable),
        server.readable.pipeTo(client.writable),
      ]);
    } catch {
      // One of the two has gone; the other sees the end.
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#listener.close();
    await this.#serving;
  }
}
