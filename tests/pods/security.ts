/**
 * What a Pod's manifest says of its rights and resources, as options of podman. Fields that are not
 * known here are refused, so that no line of a manifest is played as if it were not there.
 */
import { bytesOf, containerOf, type IPodSpec, required } from "./manifest.ts";

type PodSecurity = NonNullable<IPodSpec["securityContext"]>;

/** Options of `podman pod create`: what all containers of the Pod share. */
export function podOptions(spec: IPodSpec): string[] {
  const { sysctls = [] } = spec.securityContext ?? {};
  return sysctls.flatMap(({ name, value }) => ["--sysctl", `${name}=${value}`]);
}

/** Options of `podman run`, and what follows them: the image and its arguments. */
export function containerOptions(spec: IPodSpec): { options: string[]; command: string[] } {
  const container = containerOf(spec);
  onlyKnown("Pod", spec, [
    "automountServiceAccountToken",
    "containers",
    "restartPolicy",
    "securityContext",
    "terminationGracePeriodSeconds",
    "volumes",
  ]);
  onlyKnown("container", container, [
    "args",
    "image",
    "imagePullPolicy",
    "lifecycle",
    "livenessProbe",
    "name",
    "ports",
    "readinessProbe",
    "resources",
    "securityContext",
    "startupProbe",
    "volumeMounts",
  ]);
  const { securityContext = {}, resources } = container;
  onlyKnown("securityContext of a container", securityContext, [
    "allowPrivilegeEscalation",
    "capabilities",
    "readOnlyRootFilesystem",
  ]);
  // --read-only-tmpfs would put a writable /tmp there, which Kubernetes does not.
  const options = ["--pull=never", "--read-only-tmpfs=false", ...userOptions(spec)];
  if (securityContext.readOnlyRootFilesystem === true) options.push("--read-only");
  if (securityContext.allowPrivilegeEscalation === false) {
    options.push("--security-opt", "no-new-privileges");
  }
  for (const name of securityContext.capabilities?.drop ?? []) options.push("--cap-drop", name);
  for (const name of securityContext.capabilities?.add ?? []) options.push("--cap-add", name);
  const memory = resources?.limits?.["memory"];
  if (memory !== undefined) options.push("--memory", `${bytesOf(memory)}b`);
  return { options, command: [required(container.image, "image"), ...container.args ?? []] };
}

function userOptions({ securityContext = {} }: IPodSpec): string[] {
  onlyKnown<PodSecurity>("securityContext of a Pod", securityContext, [
    "fsGroup",
    "fsGroupChangePolicy",
    "runAsGroup",
    "runAsNonRoot",
    "runAsUser",
    "seccompProfile",
    "sysctls",
  ]);
  const { runAsUser, runAsGroup, fsGroup, runAsNonRoot } = securityContext;
  if (runAsNonRoot !== true || runAsUser === 0) throw new TypeError("A Pod would run as root");
  if (securityContext.seccompProfile?.type !== "RuntimeDefault") {
    throw new TypeError("Only the seccomp profile of the runtime is played here");
  }
  const options: string[] = [];
  if (runAsUser !== undefined) {
    options.push(
      "--user",
      runAsGroup === undefined ? `${runAsUser}` : `${runAsUser}:${runAsGroup}`,
    );
  }
  if (fsGroup !== undefined) options.push("--group-add", `${fsGroup}`);
  return options;
}

function onlyKnown<T extends object>(
  what: string,
  object: T,
  known: readonly (keyof T & string)[],
): void {
  const names: readonly string[] = known;
  const unknown = Object.keys(object).filter((key) => !names.includes(key));
  if (unknown.length > 0) throw new TypeError(`Fields of a ${what} not played here: ${unknown}`);
}
