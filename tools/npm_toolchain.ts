/**
 * A Deno and its base binary (denort) from npm, for machines that reach an npm registry and nothing
 * else. Images and releases do not use this: they compile the ordinary way.
 *
 * npm has Deno itself but no package of denort alone. The package `@vltpkg/cli-linux-x64` holds a
 * program made by `deno compile`, which is the official denort, byte for byte, followed by that
 * program's own section. So its beginning is cut off, and a checksum says that it is denort.
 *
 * @module
 */

import { encodeHex } from "@std/encoding/hex";
import { ensureDir } from "@std/fs/ensure-dir";
import { dirname, join } from "@std/path";

/** The programs of one Deno version, by path. */
export interface Toolchain {
  version: string;
  deno: string;
  denort: string;
}

interface Program {
  /** Path below `node_modules`. */
  source: string;
  /** Length of its beginning that is kept. */
  bytes: number;
  /** Of these bytes. Anything else is refused. */
  sha256: string;
}

const VERSION = "2.4.2";
const TARGET = "x86_64-unknown-linux-gnu";
const PACKAGES = [`@deno/linux-x64-glibc@${VERSION}`, "@vltpkg/cli-linux-x64@0.0.0-18"];
const DENO: Program = {
  source: "@deno/linux-x64-glibc/deno",
  bytes: 111_684_104,
  sha256: "1d6580e813252f6b27a41d97d2e3725a408baa2e765a86e45f65b228d3e93ad6",
};
const DENORT: Program = {
  source: "@vltpkg/cli-linux-x64/vlt",
  bytes: 85_186_368,
  sha256: "2705685d7478610b98dcd43acecd457a19810146323041c8af8a88f7dd0b5e82",
};

/**
 * Returns the toolchain, from the cache of this user or else from npm.
 *
 * @throws {Error} If this machine has no npm or is not linux x64 with glibc, or if what npm
 * delivers is not what it should be.
 */
export async function npmToolchain(): Promise<Toolchain> {
  if (Deno.build.target !== TARGET) {
    throw new Error(
      `the way through npm exists only for ${TARGET}, and this is ${Deno.build.target}`,
    );
  }
  const folder = join(cacheFolder(), `deno-${VERSION}`);
  const toolchain = {
    version: VERSION,
    deno: join(folder, "deno"),
    denort: join(folder, "denort"),
  };
  if (await isIntact(toolchain)) return toolchain;
  await Deno.remove(folder, { recursive: true }).catch(ignoreNotFound);
  try {
    await fetchInto(folder);
  } catch (error) {
    // Another compile may have put the same there in the meantime.
    if (!await isIntact(toolchain)) throw error;
  }
  return toolchain;
}

/** Outside the repository, so that a fresh clone does not fetch again. */
function cacheFolder(): string {
  const home = Deno.env.get("HOME");
  const cache = Deno.env.get("XDG_CACHE_HOME") ?? (home && join(home, ".cache"));
  if (!cache) throw new Error("no folder to cache in: set HOME or XDG_CACHE_HOME");
  return join(cache, "kvs-build");
}

async function isIntact({ deno, denort }: Toolchain): Promise<boolean> {
  try {
    // Checked on each use, which costs a third of a second: a disk that was full once must not end
    // up as a kvs that fails in some other place.
    return await sha256(await Deno.readFile(deno)) === DENO.sha256 &&
      await sha256(await Deno.readFile(denort)) === DENORT.sha256;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}

async function fetchInto(folder: string): Promise<void> {
  console.error(`Fetching ${PACKAGES.join(" and ")} from npm, about 230 MB, once`);
  await ensureDir(dirname(folder));
  // Beside its destination, because a rename does not cross file systems.
  const temporary = await Deno.makeTempDir({ dir: dirname(folder), prefix: "fetch-" });
  // Ctrl-C ends npm as well: this process goes on just long enough to clean up.
  const ignore = () => {};
  Deno.addSignalListener("SIGINT", ignore);
  try {
    await npmInstall(temporary);
    const modules = join(temporary, "node_modules");
    const result = join(temporary, "result");
    await Deno.mkdir(result);
    await cut(DENO, modules, join(result, "deno"));
    await cut(DENORT, modules, join(result, "denort"));
    // Complete or absent, whatever interrupts this.
    await Deno.rename(result, folder);
  } finally {
    Deno.removeSignalListener("SIGINT", ignore);
    await Deno.remove(temporary, { recursive: true });
  }
}

function ignoreNotFound(error: unknown): void {
  if (!(error instanceof Deno.errors.NotFound)) throw error;
}

async function npmInstall(folder: string): Promise<void> {
  // deno-fmt-ignore
  const args = [
    "install", "--prefix", folder, "--ignore-scripts", "--no-save", "--no-package-lock",
    "--no-audit", "--no-fund", "--loglevel=error", ...PACKAGES,
  ];
  try {
    const npm = new Deno.Command("npm", { args, cwd: folder, stdin: "null", stdout: "null" });
    const { success } = await npm.spawn().status;
    if (!success) throw new Error(`npm could not install ${PACKAGES.join(" and ")}`);
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
    throw new Error("npm was not found, and there is no other way to a base binary");
  }
}

/** Writes the beginning of an installed file as a program of its own. */
async function cut(program: Program, modules: string, target: string): Promise<void> {
  const bytes = (await Deno.readFile(join(modules, program.source))).subarray(0, program.bytes);
  const actual = await sha256(bytes);
  if (actual !== program.sha256) {
    throw new Error(
      `${program.source} is not what it should be: ` +
        `its SHA-256 is ${actual} instead of ${program.sha256}`,
    );
  }
  await Deno.writeFile(target, bytes, { mode: 0o755 });
}

async function sha256(bytes: Uint8Array<ArrayBuffer>): Promise<string> {
  return encodeHex(await crypto.subtle.digest("SHA-256", bytes));
}
