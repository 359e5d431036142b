/** The manifests, as far as they can be checked without a cluster: types, security, what refers to what. */
import {
  assert,
  assertArrayIncludes,
  assertEquals,
  assertLess,
  assertMatch,
  assertStringIncludes,
  assertThrows,
} from "@std/assert";
import { fromFileUrl } from "@std/path";
import { parseAll } from "@std/yaml/parse";
import { type Command, parseCommandLine } from "../cmd/args.ts";
import { client } from "../cmd/client.ts";
import { rebalance } from "../cmd/rebalance.ts";
import { server } from "../cmd/server.ts";
import { TempDir } from "./e2e/program.ts";
import { brokenRules, RULE_NAMES } from "./pod_security.ts";
import {
  bytesOf,
  containerOf,
  type IPodSpec,
  type IService,
  type IStatefulSet,
  MANIFEST_NAMES,
  type ManifestName,
  MANIFESTS,
  nameOf,
  parseManifest,
  podSpecOf,
  readManifest,
  required,
} from "./pods/manifest.ts";

const COMMANDS: Record<string, Command> = { server, client, rebalance };
const SERVERS = ["server-0.server", "server-1.server", "server-2.server"];

/** The manifests of servers that are there to be kept. */
const FULL: readonly ManifestName[] = ["server.yaml", "server-disk.yaml"];

/**
 * What a server may take at the end of its drain period (seconds): for requests in flight, and for
 * writing what is left of the journal; core/server/shard.ts.
 */
const CLOSE_SECONDS = 2 + 3;

for (const name of MANIFEST_NAMES) {
  Deno.test(`manifests/${name} is what the Kubernetes API takes, short and restricted`, async () => {
    const resources = await readManifest(name);
    assert(resources.length > 0);
    assertLess((await Deno.readTextFile(MANIFESTS + name)).split("\n").length, 110);
    for (const resource of resources) {
      const spec = podSpecOf(resource);
      if (spec === undefined) continue;
      assertEquals(brokenRules(spec), []);
      const { image, imagePullPolicy, command, args = [], resources: limits } = containerOf(spec);
      assertEquals([image, imagePullPolicy, command], ["kvs", "IfNotPresent", undefined]);
      assert(limits?.requests?.["cpu"] !== undefined && limits.limits?.["cpu"] === undefined);
      assert(bytesOf(limits.requests["memory"]) <= bytesOf(limits.limits?.["memory"]));
      const [role = "", ...rest] = args;
      const parsed = parseCommandLine(required(COMMANDS[role], role), rest, () => undefined);
      assertEquals(parsed.kind, "run");
    }
  });
}

Deno.test("readManifest() refuses what the Kubernetes API refuses", async () => {
  const text = await Deno.readTextFile(MANIFESTS + "server.yaml");
  const wrong: readonly (readonly [string, string, string])[] = [
    ["replicas: 3", 'replicas: "3"', "spec/replicas must be integer"],
    ["apiVersion: apps/v1", "apiVersion: apps/v1beta1", "Unknown kind"],
    ["selector: { matchLabels: { app: server } }", "selector: server", "must be object"],
    ["medium: Memory, sizeLimit: 64Mi", "medium: 1", "must be string"],
    ["containerPort: 80", "containerPort: http", "must be integer"],
    ["drop: [ALL]", "drop: ALL", "must be array"],
    ["serviceName: server", "serviceName: [server]", "must be string"],
    ["terminationGracePeriodSeconds: 10", "terminationGracePeriodSeconds: 10s", "must be integer"],
  ];
  for (const [right, broken, why] of wrong) {
    assertStringIncludes(text, right);
    assertThrows(() => parseManifest(text.replaceAll(right, broken)), Error, why, broken);
  }
});

Deno.test("no manifest has a field that the Kubernetes API does not know", async () => {
  const literals = await Promise.all(MANIFEST_NAMES.map(async (name) => {
    const documents = parseAll(await Deno.readTextFile(MANIFESTS + name));
    return `${JSON.stringify(documents)};`;
  }));
  const right = literals.map((literal, at) => `const m${at}: Known[] = ${literal}`);
  assertEquals(await typeErrors(right.join("\n")), "");

  const fields = ["readinessProbe", "publishNotReadyAddresses", "fsGroup", "sizeLimit"];
  const wrong = fields.flatMap((field) =>
    right.map((line) => line.replace("m", `${field}s`).replaceAll(`"${field}":`, `"${field}s":`))
  );
  const errors = await typeErrors(wrong.join("\n"));
  for (const field of fields) {
    assertStringIncludes(errors, `'"${field}s"' does not exist in type`);
  }
});

/** What the type checker says of `Known[]` literals, which may have no other fields than the types. */
async function typeErrors(declarations: string): Promise<string> {
  await using folder = new TempDir();
  const path = folder.join("manifests.ts");
  const types = new URL("./pods/manifest.ts", import.meta.url).href;
  const imported = `import type { Resource as Known } from "${types}";\n`;
  await Deno.writeTextFile(path, imported + declarations);
  const config = fromFileUrl(new URL("../deno.json", import.meta.url));
  const { stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["check", "--quiet", "--config", config, path],
    env: { NO_COLOR: "1" },
  }).output();
  return new TextDecoder().decode(stderr);
}

Deno.test("brokenRules() finds each rule of the Pod Security Standard restricted", async () => {
  type Container = IPodSpec["containers"][number];
  const breaks: Record<string, (spec: IPodSpec, container: Container) => void> = {
    "HostProcess": (spec) => spec.securityContext = { windowsOptions: { hostProcess: true } },
    "Host Namespaces": (spec) => spec.hostPID = true,
    "Privileged Containers": (_, container) => container.securityContext = { privileged: true },
    "Volume Types": (spec) => spec.volumes = [{ name: "x", hostPath: { path: "/" } }],
    "Host Ports": (_, container) => container.ports = [{ containerPort: 80, hostPort: 80 }],
    "Host Probes / Lifecycle Hooks": (_, container) =>
      container.livenessProbe = { httpGet: { host: "example.com", port: 80 } },
    "AppArmor": (spec) => spec.securityContext = { appArmorProfile: { type: "Unconfined" } },
    "SELinux": (spec) => spec.securityContext = { seLinuxOptions: { type: "spc_t" } },
    "/proc Mount Type": (_, container) => container.securityContext = { procMount: "Unmasked" },
    "Sysctls": (spec) =>
      spec.securityContext = { sysctls: [{ name: "kernel.msgmax", value: "65536" }] },
    "Privilege Escalation": (_, container) =>
      container.securityContext = { allowPrivilegeEscalation: true },
    "Running as Non-root": (spec) => spec.securityContext = {},
    "Running as Non-root user": (_, container) => container.securityContext = { runAsUser: 0 },
    "Seccomp": (_, container) =>
      container.securityContext = { seccompProfile: { type: "Unconfined" } },
    "Capabilities": (_, container) =>
      container.securityContext = { capabilities: { drop: ["ALL"], add: ["SYS_ADMIN"] } },
  };
  assertEquals(Object.keys(breaks), RULE_NAMES);
  for (const [rule, apply] of Object.entries(breaks)) {
    const [, , , resource] = await readManifest("server.yaml");
    const spec = required(podSpecOf(required(resource, "StatefulSet")), "spec");
    assertEquals(brokenRules(spec), []);
    apply(spec, containerOf(spec));
    assertArrayIncludes(brokenRules(spec), [rule]);
  }
});

Deno.test("each set of servers finds its Service, its volume and its hooks", async () => {
  for (const name of ["minimal/server.yaml", ...FULL] as const) {
    const set = await statefulSet(name);
    const from = name === "minimal/server.yaml" ? "minimal/service.yaml" : name;
    const headless = required(await service(from, "server"), "headless Service");
    assertEquals(nameOf(set), "server");
    assertEquals(set.spec?.serviceName, nameOf(headless));
    assertEquals(headless.spec?.clusterIP, "None");
    assertEquals(headless.spec?.publishNotReadyAddresses, true);
    assertEquals(headless.spec?.selector, set.spec?.template.metadata?.labels);
    assertEquals(set.spec?.selector.matchLabels, set.spec?.template.metadata?.labels);
    const container = containerOf(required(set.spec?.template.spec, "spec"));
    assertEquals(container.args?.slice(0, 3), ["server", "80", "/var/data"]);
    assertEquals(container.readinessProbe?.httpGet, { path: "/readyz", port: "http" });
    assertEquals(container.livenessProbe?.httpGet, { path: "/healthz", port: "http" });
    assertEquals(container.ports, [{ name: "http", containerPort: 80 }]);
  }
  for (const name of FULL) {
    const set = await statefulSet(name);
    const spec = required(set.spec?.template.spec, "spec");
    const container = containerOf(spec);
    const { postStart, preStop } = container.lifecycle ?? {};
    assertEquals(postStart?.exec?.command, ["/kvs", "lifecycle", "poststart"]);
    assertEquals(preStop?.exec?.command, ["/kvs", "lifecycle", "prestop"]);
    assertEquals(container.volumeMounts, [{ name: "data", mountPath: "/var/data" }]);
    const drain = container.args?.find((arg) => arg.startsWith("--drain="))?.slice(8);
    assertEquals(spec.terminationGracePeriodSeconds, 10);
    // What is left is for the hook: a process that has to start on a busy node.
    assertLess(Number(drain) + CLOSE_SECONDS, 10);

    const ready = required(await service(name, "server-ready"), "Service of those that are ready");
    assertEquals(ready.spec?.publishNotReadyAddresses, undefined);
    assertEquals(ready.spec?.selector, { app: "server" });
    const budget = (await readManifest(name)).find(({ kind }) => kind === "PodDisruptionBudget");
    assert(budget?.kind === "PodDisruptionBudget");
    assertEquals(budget.spec?.maxUnavailable, 1);
    assertEquals(budget.spec?.selector, set.spec?.selector);
  }
});

Deno.test("the guarded servers are those of server-disk.yaml with Secrets and HTTPS probes", async () => {
  const text = await Deno.readTextFile(`${MANIFESTS}guarded/server.yaml`);
  // A patch names no image, which the type asks for.
  const [patch, ...more] = parseManifest(
    text.replace("- name: server\n", "- name: server\n          image: kvs\n"),
  );
  assert(patch?.kind === "StatefulSet" && more.length === 0);
  const base = await statefulSet("server-disk.yaml");
  assertEquals(nameOf(patch), nameOf(base));
  assertEquals(patch.spec?.selector, base.spec?.selector);
  const spec = required(patch.spec?.template.spec, "spec");
  const container = containerOf(spec);
  const before = containerOf(required(base.spec?.template.spec, "spec"));
  assertEquals(container.name, before.name);
  const args = required(container.args, "args");
  assertEquals(args.slice(0, before.args?.length), before.args);
  assertEquals(parseCommandLine(server, args.slice(1), () => undefined).kind, "run");
  for (const probe of ["startupProbe", "readinessProbe", "livenessProbe"] as const) {
    const { httpGet } = required(before[probe], probe);
    assertEquals(container[probe]?.httpGet, { ...httpGet, port: "http", scheme: "HTTPS" });
  }
  // Every file that an option names is in a Secret that is mounted as a folder.
  const mounts = required(container.volumeMounts, "volumeMounts");
  for (const arg of args.slice(before.args?.length)) {
    const folder = /=(\/.*)\/[^/]+$/.exec(arg)?.[1];
    const mount = required(mounts.find(({ mountPath }) => mountPath === folder), arg);
    assertEquals([mount.readOnly, mount.subPath], [true, undefined]);
    const volume = required(spec.volumes?.find(({ name }) => name === mount.name), mount.name);
    assertEquals(volume.secret?.defaultMode, 0o440);
    assertMatch(String(volume.secret?.secretName), /^kvs-(token|tls)$/);
  }
});

Deno.test("the network policy lets in every client of the manifests, and nobody who is none", async () => {
  const [policy, ...more] = await readManifest("guarded/network-policy.yaml");
  assert(policy?.kind === "NetworkPolicy" && more.length === 0);
  const set = await statefulSet("server-disk.yaml");
  assertEquals(policy.spec?.podSelector, { ...set.spec?.selector });
  assertEquals([policy.spec?.policyTypes, policy.spec?.egress], [["Ingress", "Egress"], []]);
  const [rule, ...rules] = required(policy.spec?.ingress, "ingress");
  assertEquals(rules, []);
  assertEquals(rule?.ports, [{ protocol: "TCP", port: "http" }]);
  const apps: string[] = [];
  for (const name of MANIFEST_NAMES) {
    for (const resource of await readManifest(name)) {
      if (resource.kind === "Pod") apps.push(String(resource.metadata?.labels?.["app"]));
    }
  }
  const [first, label, scraper] = required(rule?.from, "from");
  assertEquals(first, {
    podSelector: { matchExpressions: [{ key: "app", operator: "In", values: apps }] },
  });
  assertEquals(label, { podSelector: { matchLabels: { "kvs-client": "true" } } });
  assert(scraper?.namespaceSelector !== undefined && scraper.podSelector !== undefined);
});

Deno.test("servers on disk have memory for their journal, their cache and a million keys", async () => {
  for (const name of ["server-disk.yaml", "minimal/server.yaml"] as const) {
    const { args = [], resources } = containerOf(
      required((await statefulSet(name)).spec?.template.spec, "spec"),
    );
    const journal = args.find((arg) => arg.startsWith("--journal="))?.slice(10).replace("B", "");
    // 180 bytes a key; the cache of 64 MiB; the runtime.
    const rest = 1e6 * 180 + bytesOf("64Mi") + bytesOf("64Mi");
    assertLess(bytesOf(journal) + rest, bytesOf(resources?.limits?.["memory"]));
  }
});

Deno.test("data in memory has room, data on disk stays", async () => {
  const memory = (await statefulSet("server.yaml")).spec;
  const [volume] = memory?.template.spec?.volumes ?? [];
  assertEquals(volume?.name, "data");
  assertEquals(volume?.emptyDir?.medium, "Memory");
  const { args = [], resources } = containerOf(required(memory?.template.spec, "spec"));
  const journal = args.find((arg) => arg.startsWith("--journal="))?.slice(10).replace("B", "");
  const size = bytesOf(volume?.emptyDir?.sizeLimit);
  assertLess(bytesOf(journal), size);
  assertLess(size, bytesOf(resources?.limits?.["memory"]));

  const disk = (await statefulSet("server-disk.yaml")).spec;
  assertEquals(disk?.persistentVolumeClaimRetentionPolicy, {
    whenDeleted: "Retain",
    whenScaled: "Retain",
  });
  const [claim] = disk?.volumeClaimTemplates ?? [];
  assertEquals(claim?.metadata?.name, "data");
  assertEquals(claim?.spec?.accessModes, ["ReadWriteOnce"]);
  assertEquals(claim?.spec?.resources?.requests, { storage: "1Gi" });
  assertEquals(disk?.template.spec?.volumes, undefined);
});

Deno.test("clients and rebalance name the servers that they are for", async () => {
  const three = SERVERS.join(",");
  const two = SERVERS.slice(0, 2).join(",");
  const wanted: readonly (readonly [ManifestName, string[], string])[] = [
    ["client.yaml", ["client", three], "Always"],
    ["client-ro-2.yaml", ["client", two, "readonly"], "Always"],
    ["client-ro-3.yaml", ["client", three, "readonly"], "Always"],
    ["rebalance-down.yaml", ["rebalance", three, two], "Never"],
    ["rebalance-up.yaml", ["rebalance", two, three], "Never"],
  ];
  for (const [name, args, restartPolicy] of wanted) {
    const [pod, ...more] = await readManifest(name);
    assert(pod?.kind === "Pod" && more.length === 0);
    assertEquals(nameOf(pod) + ".yaml", name);
    const spec = required(pod.spec, "spec");
    assertEquals([containerOf(spec).args, spec.restartPolicy], [args, restartPolicy]);
  }
});

Deno.test("kustomization.yaml names the image of every manifest, and no resource twice", async () => {
  const documents = parseAll(await Deno.readTextFile(`${MANIFESTS}kustomization.yaml`));
  assert(Array.isArray(documents) && documents.length === 1);
  const fields = new Map<string, unknown>(Object.entries(documents[0]));
  const resources = fields.get("resources");
  assert(Array.isArray(resources) && resources.length > 0);
  assertEquals(Object.fromEntries(fields), {
    apiVersion: "kustomize.config.k8s.io/v1beta1",
    kind: "Kustomization",
    resources,
    images: [{ name: "kvs", newName: "kvs", newTag: "latest" }],
  });
  const ids: string[] = [];
  for (const resource of resources) {
    const name = required(MANIFEST_NAMES.find((known) => known === resource), String(resource));
    for (const found of await readManifest(name)) ids.push(`${found.kind}/${nameOf(found)}`);
  }
  assertEquals(ids.length, new Set(ids).size);
});

Deno.test("the image is built from what .dockerignore lets through", async () => {
  const root = fromFileUrl(new URL("..", import.meta.url));
  const dockerfile = await Deno.readTextFile(`${root}Dockerfile`);
  assertMatch(dockerfile, /^ARG DENO_VERSION=2\.9\.6$/m);
  assertMatch(dockerfile, /^FROM denoland\/deno:\$\{DENO_VERSION\} AS build$/m);
  assertMatch(dockerfile, /^FROM gcr\.io\/distroless\/cc-debian12:nonroot$/m);
  assertMatch(dockerfile, /^ENTRYPOINT \["\/kvs"\]$/m);
  const ignored = (await Deno.readTextFile(`${root}.dockerignore`)).split("\n");
  assertArrayIncludes(ignored, ["*"]);
  const through = ignored.filter((line) => line.startsWith("!")).map((line) => line.slice(1));
  for (const path of through) assert((await Deno.stat(root + path)).size > 0, path);
  // What compile.ts says the binary is made of.
  const compile = await Deno.readTextFile(`${root}tools/compile.ts`);
  const sources = /const SOURCES = \[([^\]]*)\]/.exec(compile)?.[1]?.match(/[\w./]+/g) ?? [];
  assertEquals(through.toSorted(), sources.toSorted());
});

async function statefulSet(name: ManifestName): Promise<IStatefulSet> {
  const found = (await readManifest(name)).find(({ kind }) => kind === "StatefulSet");
  assert(found?.kind === "StatefulSet");
  return found;
}

async function service(name: ManifestName, service: string): Promise<IService | undefined> {
  for (const resource of await readManifest(name)) {
    if (resource.kind === "Service" && nameOf(resource) === service) return resource;
  }
  return undefined;
}
