/** What was measured on. */
import { COMPILED, SOURCE } from "./runtimes.ts";
import { GENERATORS } from "./generators.ts";
import { findProgram, run } from "./stage.ts";

const TIMEOUT_MS = 10_000;

/** How each program says its version. */
const VERSIONS: readonly (readonly [string, ...string[]])[] = [
  ["redis-server", "--version"],
  ["etcd", "--version"],
  ["memcached", "-V"],
  ["nginx", "-v"],
];

async function firstLine(program: string, args: readonly string[]): Promise<string> {
  const path = await findProgram(program);
  if (path === undefined) return `${program}: not installed`;
  const { stdout, stderr } = await run(path, args, TIMEOUT_MS);
  return (stdout.trim() || stderr.trim()).split("\n")[0] ?? program;
}

/** The facts, a line each. */
export async function machineFacts(folder: string): Promise<string[]> {
  const processor = /^model name\s*: (.*)$/m.exec(await Deno.readTextFile("/proc/cpuinfo"))?.[1];
  const [load = 0] = Deno.loadavg();
  const memory = Math.round(Deno.systemMemoryInfo().total / 2 ** 30);
  const fileSystem = await firstLine("findmnt", ["-n", "-o", "FSTYPE", "-T", folder]);
  const versions = await Promise.all(VERSIONS.map(([name, ...args]) => firstLine(name, args)));
  return [
    `${navigator.hardwareConcurrency} cores (${processor ?? Deno.build.arch}), ${memory} GiB, ` +
    `Linux ${Deno.osRelease()}, data on ${fileSystem}`,
    `kvs: compiled with Deno ${COMPILED.version}, from source on Deno ${SOURCE.version}`,
    ...GENERATORS,
    versions.join("; "),
    `${new Date().toISOString()}, load average at the start ${load.toFixed(2)}` +
    (load > 0.5 ? ": the machine is busy with something else, figures are noisy" : ""),
    ...(fileSystem === "tmpfs" ? ["On tmpfs a flush costs nothing: saves mean nothing here"] : []),
  ];
}
