/**
 * The Pod Security Standard `restricted`, rule by rule, with the baseline that it includes.
 * https://kubernetes.io/docs/concepts/security/pod-security-standards/ (Kubernetes 1.34)
 */
import { type IPodSpec } from "./pods/manifest.ts";

type Container = IPodSpec["containers"][number];

/** One rule: its name in the standard, and what in a Pod breaks it. */
interface Rule {
  readonly name: string;
  breaks(spec: IPodSpec): boolean;
}

const SAFE_SYSCTLS = new Set([
  "kernel.shm_rmid_forced",
  "net.ipv4.ip_local_port_range",
  "net.ipv4.ip_local_reserved_ports",
  "net.ipv4.ip_unprivileged_port_start",
  "net.ipv4.ping_group_range",
  "net.ipv4.tcp_fin_timeout",
  "net.ipv4.tcp_keepalive_intvl",
  "net.ipv4.tcp_keepalive_probes",
  "net.ipv4.tcp_keepalive_time",
  "net.ipv4.tcp_rmem",
  "net.ipv4.tcp_syncookies",
  "net.ipv4.tcp_wmem",
]);

const VOLUME_TYPES = new Set([
  "configMap",
  "csi",
  "downwardAPI",
  "emptyDir",
  "ephemeral",
  "persistentVolumeClaim",
  "projected",
  "secret",
]);

const SELINUX_TYPES = new Set([
  "",
  "container_t",
  "container_init_t",
  "container_kvm_t",
  "container_engine_t",
]);

function containersOf({ containers, initContainers = [] }: IPodSpec): Container[] {
  return [...containers, ...initContainers];
}

function anyContainer(breaks: (container: Container, spec: IPodSpec) => boolean): Rule["breaks"] {
  return (spec) => containersOf(spec).some((container) => breaks(container, spec));
}

/** What a container says of itself, else what its Pod says for it. */
function effective<K extends "runAsNonRoot" | "runAsUser" | "seccompProfile">(
  key: K,
  container: Container,
  spec: IPodSpec,
) {
  return container.securityContext?.[key] ?? spec.securityContext?.[key];
}

const RULES: readonly Rule[] = [
  {
    name: "HostProcess",
    breaks: (spec) =>
      [spec, ...containersOf(spec)].some(({ securityContext }) =>
        securityContext?.windowsOptions?.hostProcess === true
      ),
  },
  {
    name: "Host Namespaces",
    breaks: ({ hostNetwork, hostPID, hostIPC }) => [hostNetwork, hostPID, hostIPC].includes(true),
  },
  {
    name: "Privileged Containers",
    breaks: anyContainer(({ securityContext }) => securityContext?.privileged === true),
  },
  {
    name: "Volume Types",
    breaks: ({ volumes = [] }) =>
      volumes.some((volume) =>
        Object.keys(volume).some((key) => key !== "name" && !VOLUME_TYPES.has(key))
      ),
  },
  {
    name: "Host Ports",
    breaks: anyContainer(({ ports = [] }) => ports.some(({ hostPort = 0 }) => hostPort !== 0)),
  },
  {
    name: "Host Probes / Lifecycle Hooks",
    breaks: anyContainer(({ lifecycle, livenessProbe, readinessProbe, startupProbe }) =>
      [livenessProbe, readinessProbe, startupProbe, lifecycle?.postStart, lifecycle?.preStop]
        .some((handler) => handler?.httpGet?.host ?? handler?.tcpSocket?.host)
    ),
  },
  {
    name: "AppArmor",
    breaks: (spec) =>
      [spec, ...containersOf(spec)].some(({ securityContext }) =>
        securityContext?.appArmorProfile?.type === "Unconfined"
      ),
  },
  {
    name: "SELinux",
    breaks: (spec) =>
      [spec, ...containersOf(spec)].some(({ securityContext }) => {
        const { type = "", user, role } = securityContext?.seLinuxOptions ?? {};
        return !SELINUX_TYPES.has(type) || Boolean(user) || Boolean(role);
      }),
  },
  {
    name: "/proc Mount Type",
    breaks: anyContainer(({ securityContext }) =>
      (securityContext?.procMount ?? "Default") !== "Default"
    ),
  },
  {
    name: "Sysctls",
    breaks: ({ securityContext }) =>
      securityContext?.sysctls?.some(({ name }) => !SAFE_SYSCTLS.has(name)) ?? false,
  },
  {
    name: "Privilege Escalation",
    breaks: anyContainer(({ securityContext }) =>
      securityContext?.allowPrivilegeEscalation !== false
    ),
  },
  {
    name: "Running as Non-root",
    breaks: anyContainer((container, spec) => effective("runAsNonRoot", container, spec) !== true),
  },
  {
    name: "Running as Non-root user",
    breaks: (spec) =>
      [spec, ...containersOf(spec)].some(({ securityContext }) => securityContext?.runAsUser === 0),
  },
  {
    name: "Seccomp",
    breaks: anyContainer((container, spec) => {
      const type = effective("seccompProfile", container, spec)?.type;
      return (type !== "RuntimeDefault" && type !== "Localhost") ||
        spec.securityContext?.seccompProfile?.type === "Unconfined";
    }),
  },
  {
    name: "Capabilities",
    breaks: anyContainer(({ securityContext }) => {
      const { drop = [], add = [] } = securityContext?.capabilities ?? {};
      return !drop.includes("ALL") || add.some((name) => name !== "NET_BIND_SERVICE");
    }),
  },
];

/** The names of all rules. */
export const RULE_NAMES: readonly string[] = RULES.map(({ name }) => name);

/** The names of the rules that a Pod breaks; none if it may run in a restricted namespace. */
export function brokenRules(spec: IPodSpec): string[] {
  return RULES.filter((rule) => rule.breaks(spec)).map(({ name }) => name);
}
