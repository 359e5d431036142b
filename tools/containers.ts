/**
 * Builds the image `kvs` with podman and runs a command that needs it:
 *
 *     deno run --allow-all tools/containers.ts [--install] [COMMAND...]
 *
 * The command finds images and settings by the two variables that podman itself reads, so nothing of
 * this machine's own containers is touched. Where the base images of the Dockerfile cannot be pulled,
 * stand-ins take their place (see base_images.sh). Without podman, or without the rights to use it,
 * the command runs all the same: it has to see for itself that there is none.
 *
 * `--install` installs what is missing of podman on a Debian where this runs as root.
 *
 * @module
 */

import { ensureDir } from "@std/fs/ensure-dir";
import { fromFileUrl, join } from "@std/path";
import { installPackages } from "./debian.ts";
import { npmToolchain } from "./npm_toolchain.ts";

const ROOT = fromFileUrl(new URL("..", import.meta.url));
const DENO_IMAGE = "docker.io/denoland/deno";
const BASE_IMAGE = "gcr.io/distroless/cc-debian12:nonroot";
const PULL_TIMEOUT_MS = 120_000;

/** catatonit is what podman makes its pause image from, iptables what its networks need. */
const DEBIAN_PACKAGES = [
  "podman",
  "buildah",
  "runc",
  "iptables",
  "catatonit",
  "containernetworking-plugins",
];

/** Runs a program with its output shown, or collected; resolves to whether it succeeded. */
async function run(program: string, args: string[], env: Record<string, string> = {}) {
  try {
    const { success, stdout } = await new Deno.Command(program, {
      args,
      env,
      cwd: ROOT,
      stdin: "null",
      stdout: "piped",
      stderr: "inherit",
    }).output();
    return { success, text: new TextDecoder().decode(stdout).trim() };
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
    return { success: false, text: `${program} was not found` };
  }
}

async function must(program: string, args: string[], env: Record<string, string> = {}) {
  const { success, text } = await run(program, args, env);
  if (!success) throw new Error(`${program} ${args.slice(0, 2).join(" ")} failed: ${text}`);
  return text;
}

/** Writes the settings of podman and buildah; returns the variables that lead to them. */
async function configure(folder: string): Promise<Record<string, string>> {
  await ensureDir(join(folder, "networks"));
  // runc and limits that may be set: crun, and limits above those of this process, need rights that
  // root in a container or in a small virtual machine does not have. CNI is what Debian 12 has.
  const containers = [
    "[containers]",
    'default_ulimits = ["nofile=20000:20000", "nproc=4096:4096"]',
    "[engine]",
    'runtime = "runc"',
    "[network]",
    'network_backend = "cni"',
    `network_config_dir = "${join(folder, "networks")}"`,
    'cni_plugin_dirs = ["/usr/lib/cni"]',
  ];
  const storage = [
    "[storage]",
    'driver = "overlay"',
    `graphroot = "${join(folder, "store")}"`,
    `runroot = "${join(folder, "run")}"`,
  ];
  const env = {
    CONTAINERS_CONF: join(folder, "containers.conf"),
    CONTAINERS_STORAGE_CONF: join(folder, "storage.conf"),
  };
  await Deno.writeTextFile(env.CONTAINERS_CONF, containers.join("\n") + "\n");
  await Deno.writeTextFile(env.CONTAINERS_STORAGE_CONF, storage.join("\n") + "\n");
  return env;
}

/** Waits until no other run uses the folder, and takes away what one that was killed left behind. */
async function takeOver(folder: string, env: Record<string, string>): Promise<void> {
  const lock = await Deno.open(join(folder, "lock"), { create: true, write: true });
  await lock.lock(true); // until this process ends
  await run("podman", ["pod", "rm", "--all", "--force", "--time", "0"], env);
  await run("podman", ["network", "prune", "--force"], env);
}

/** Kept from run to run, since the base images seldom change. */
function cacheFolder(): string {
  const cache = Deno.env.get("XDG_CACHE_HOME") ?? join(Deno.env.get("HOME") ?? "/tmp", ".cache");
  return join(cache, "kvs-build", "containers");
}

/** Sees to it that both base images are there; returns the version of Deno in the first one. */
async function baseImages(env: Record<string, string>): Promise<string> {
  const version = /^ARG DENO_VERSION=(\S+)$/m.exec(await Deno.readTextFile(`${ROOT}Dockerfile`))
    ?.[1];
  const wanted = [`${DENO_IMAGE}:${version}`, BASE_IMAGE];
  if (version !== undefined && await pulled(wanted, env)) return version;
  console.error("The base images cannot be pulled: stand-ins take their place");
  const { deno, denort, version: npmVersion } = await npmToolchain();
  const toolchain = { DENO_VERSION: npmVersion, DENO_BIN: deno, DENORT_BIN: denort };
  await must("tools/base_images.sh", [], { ...env, ...toolchain });
  return npmVersion;
}

async function pulled(images: readonly string[], env: Record<string, string>): Promise<boolean> {
  for (const image of images) {
    if ((await run("podman", ["image", "exists", image], env)).success) continue;
    const { success } = await new Deno.Command("podman", {
      args: ["pull", "--quiet", image],
      env,
      stdin: "null",
      stdout: "null",
      stderr: "null",
      signal: AbortSignal.timeout(PULL_TIMEOUT_MS),
    }).output();
    if (!success) return false;
  }
  return true;
}

/** Builds the image; says how large it is and how long it took. */
async function build(env: Record<string, string>): Promise<void> {
  const begin = performance.now();
  const version = await baseImages(env);
  // The host's network: Deno takes its dependencies from the registry that this machine reaches.
  // deno-fmt-ignore
  await must("buildah", ["bud", "--quiet", "--pull-never", "--network", "host",
    "--build-arg", `DENO_VERSION=${version}`, "--tag", "kvs", "."], env);
  // What the build before this one made.
  await run("podman", ["image", "prune", "--force"], env);
  const bytes = Number(await must("podman", ["inspect", "--format", "{{.Size}}", "kvs"], env));
  const seconds = ((performance.now() - begin) / 1000).toFixed(0);
  console.error(
    `Built the image kvs with Deno ${version}: ${(bytes / 1e6).toFixed(1)} MB, ${seconds} s`,
  );
}

async function main(): Promise<number> {
  const installs = Deno.args[0] === "--install";
  const [program, ...args] = installs ? Deno.args.slice(1) : Deno.args;
  if (installs) await installPackages(DEBIAN_PACKAGES);
  const folder = cacheFolder();
  const env = await configure(folder);
  if ((await run("podman", ["info", "--format", "podman {{.Version.Version}}"], env)).success) {
    await takeOver(folder, env);
    await build(env);
  } else {
    console.error("podman is not installed, or cannot run here: no image is built");
  }
  if (program === undefined) return 0;
  // `deno` means the one that runs this, as it does in a task.
  const command = program === "deno" ? Deno.execPath() : program;
  return (await new Deno.Command(command, { args, env, cwd: ROOT }).spawn().status).code;
}

try {
  Deno.exit(await main());
} catch (error) {
  if (!(error instanceof Error)) throw error;
  console.error(`Cannot make the image: ${error.message}`);
  Deno.exit(1);
}
