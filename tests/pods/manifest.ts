/** Reads manifests: YAML to Kubernetes objects, checked against the types of the Kubernetes API. */
import { fromFileUrl } from "@std/path";
import { parseAll } from "@std/yaml/parse";
import { type IStatefulSet, StatefulSet } from "kubernetes-models/apps/v1/StatefulSet";
import {
  type IPodDisruptionBudget,
  PodDisruptionBudget,
} from "kubernetes-models/policy/v1/PodDisruptionBudget";
import {
  type INetworkPolicy,
  NetworkPolicy,
} from "kubernetes-models/networking.k8s.io/v1/NetworkPolicy";
import { type IPod, Pod } from "kubernetes-models/v1/Pod";
import { type IPodSpec } from "kubernetes-models/v1/PodSpec";
import { type IContainer } from "kubernetes-models/v1/Container";
import { type IService, Service } from "kubernetes-models/v1/Service";

export type {
  IContainer,
  INetworkPolicy,
  IPod,
  IPodDisruptionBudget,
  IPodSpec,
  IService,
  IStatefulSet,
};

/** What the manifests are made of. */
export type Resource = IService | IStatefulSet | IPod | IPodDisruptionBudget | INetworkPolicy;

/** Where the manifests are. */
export const MANIFESTS = fromFileUrl(new URL("../../manifests/", import.meta.url));

/** All manifests that are applied by name, below {@link MANIFESTS}. */
export const MANIFEST_NAMES = [
  "minimal/server.yaml",
  "minimal/service.yaml",
  "server.yaml",
  "server-disk.yaml",
  "client.yaml",
  "client-ro-2.yaml",
  "client-ro-3.yaml",
  "rebalance-down.yaml",
  "rebalance-up.yaml",
  "guarded/network-policy.yaml",
] as const;

/** The name of a manifest. */
export type ManifestName = typeof MANIFEST_NAMES[number];

/** Reads a manifest. @throws {Error} If a document in it is not what the Kubernetes API takes. */
export async function readManifest(name: ManifestName): Promise<Resource[]> {
  return parseManifest(await Deno.readTextFile(MANIFESTS + name));
}

/** Reads the text of a manifest. @throws {Error} As {@link readManifest}. */
export function parseManifest(text: string): Resource[] {
  const documents = parseAll(text);
  if (!Array.isArray(documents)) throw new TypeError("Not a list of documents");
  return documents.map((document: unknown) => checked(document));
}

function checked(document: unknown): Resource {
  if (Service.is(document)) return new Service(document).validate(), document;
  if (StatefulSet.is(document)) return new StatefulSet(document).validate(), document;
  if (Pod.is(document)) return new Pod(document).validate(), document;
  if (NetworkPolicy.is(document)) return new NetworkPolicy(document).validate(), document;
  if (PodDisruptionBudget.is(document)) {
    return new PodDisruptionBudget(document).validate(), document;
  }
  throw new TypeError(`Unknown kind of resource: ${Deno.inspect(document, { depth: 1 })}`);
}

/** The name of a resource. @throws {TypeError} If it has none. */
export function nameOf(resource: Resource): string {
  return required(resource.metadata?.name, `metadata.name of a ${resource.kind}`);
}

/** The Pods that a resource makes: their spec, or `undefined` where it makes none. */
export function podSpecOf(resource: Resource): IPodSpec | undefined {
  if (resource.kind === "Pod") return resource.spec;
  return resource.kind === "StatefulSet" ? resource.spec?.template.spec : undefined;
}

/** The only container of a Pod. @throws {TypeError} If it has none, or several. */
export function containerOf(spec: IPodSpec): IContainer {
  const [container, ...more] = spec.containers;
  if (more.length > 0 || (spec.initContainers?.length ?? 0) > 0) {
    throw new TypeError("Pods of several containers are not played here");
  }
  return required(container, "container of a Pod");
}

/** The bytes of a quantity such as `64Mi`. @throws {TypeError} If it is of another form. */
export function bytesOf(quantity: string | number | undefined): number {
  const match = /^(\d+)([KMG]i)$/.exec(String(quantity));
  const power = ["Ki", "Mi", "Gi"].indexOf(match?.[2] ?? "") + 1;
  if (power === 0) throw new TypeError(`Not a quantity in Ki, Mi or Gi: ${quantity}`);
  return Number(match?.[1]) * 1024 ** power;
}

/** `value`, which has to be there. @throws {TypeError} If it is not. */
export function required<T>(value: T | null | undefined, what: string): T {
  if (value === undefined || value === null) throw new TypeError(`Missing: ${what}`);
  return value;
}
